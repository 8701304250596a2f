//! A method, a key made of two parameters, early returns and `?` in the body.

use tiered_cache::{LoadError, Lookup, Policy, TieredCache, cached};

struct Service {
    pages: TieredCache<String, Vec<u8>>,
}

impl Service {
    #[cached(cache = self.pages, key = "{site}/{number:03}")]
    pub async fn page(
        &self,
        site: String,
        number: u32,
    ) -> Result<Option<Vec<u8>>, std::num::ParseIntError> {
        if site.is_empty() {
            return Ok(None);
        }
        let offset: u32 = site.parse()?;
        Ok(Some(vec![0; (offset + number) as usize]))
    }
}

fn main() {
    let pages = TieredCache::memory("pages", Policy::default()).unwrap();
    let service = Service { pages };
    let page = async { service.page("1".to_owned(), 2).await };
    let _typed: &dyn Future<Output = Result<Lookup<Vec<u8>>, LoadError>> = &page;
    let _gone = service.invalidate_page("1".to_owned(), 2);
}
