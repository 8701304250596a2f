//! Loads by key that are asked for one by one and fetched together: one query for all that gathered meanwhile.

mod batch;
mod error;
mod gather;
mod options;
mod pool;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;

use self::batch::Seat;
pub use self::error::LoaderError;
use self::gather::Gathering;
pub use self::options::LoaderOptions;
pub use self::pool::AsyncFetch;

/// Loads values by key, many keys per query; a cheap clone of a shared handle.
///
/// Keys that are asked for in the same moment, or while earlier batches are under way, are fetched together; each key
/// once. Made by [`Pool::loader`](crate::Pool::loader) for queries, or by [`Loader::new`] for anything. One per
/// process suits most; one per request, with [`LoaderOptions::memo`], also answers repeated loads from memory.
pub struct Loader<K, V> {
    gathering: Arc<Gathering<K, V>>,
}

impl<K, V> Loader<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// A loader on top of `fetch`, which gets keys without duplicates, at most `batch_max` of them, and returns what
    /// it finds in any order; keys that it leaves out are missing.
    ///
    /// `fetch` runs on tasks of its own, so it goes on when those who asked have gone.
    pub fn new<F, Fut, R, E>(options: LoaderOptions, fetch: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: IntoIterator<Item = (K, V)>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let fetch = move |keys| {
            let fetched = fetch(keys);
            let fetched = async move {
                match fetched.await {
                    Ok(rows) => Ok(rows.into_iter().collect::<HashMap<K, V>>()),
                    Err(error) => Err(LoaderError::failed(error.into())),
                }
            };
            fetched.boxed()
        };
        Self {
            gathering: Gathering::new(options, Box::new(fetch)),
        }
    }

    /// The value of `key`; `None` if there is none.
    ///
    /// It is not called `load`, because diesel-async's `RunQueryDsl` puts a method of that name on every type.
    ///
    /// Nothing happens before the first poll, which must be inside a Tokio runtime. Dropping the future withdraws
    /// nothing: the key is fetched for nobody.
    ///
    /// # Errors
    /// [`LoaderError`], the same for all loads of a batch.
    pub fn load_one(&self, key: K) -> Load<K, V> {
        Load(Step::Asking(Arc::clone(&self.gathering), key))
    }

    /// The values of `keys` in their order, `None` for each that is missing.
    ///
    /// # Errors
    /// As [`load_one`](Self::load_one): the first error of a batch that any of the keys is in.
    pub async fn load_many(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<V>>, LoaderError> {
        let asked: Vec<Load<K, V>> = keys
            .into_iter()
            .map(|key| {
                self.gathering
                    .ask(key)
                    .map(|seat| Load(Step::Waiting(seat)))
            })
            .collect::<Result<_, _>>()?;
        let mut values = Vec::with_capacity(asked.len());
        // They are all under way; waiting for one after the other takes no longer.
        for load in asked {
            values.push(load.await?);
        }
        Ok(values)
    }

    /// Forgets what [`LoaderOptions::memo`] has kept, for instance after a write.
    pub fn forget(&self) {
        self.gathering.forget();
    }
}

/// A load under way.
pub struct Load<K, V>(Step<K, V>);

enum Step<K, V> {
    Asking(Arc<Gathering<K, V>>, K),
    Waiting(Seat<K, V>),
    Over,
}

impl<K, V> Future for Load<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Output = Result<Option<V>, LoaderError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let step = &mut self.get_mut().0;
        if let Step::Asking(..) = step
            && let Step::Asking(gathering, key) = std::mem::replace(step, Step::Over)
        {
            match gathering.ask(key) {
                Ok(seat) => *step = Step::Waiting(seat),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let Step::Waiting(seat) = step else {
            return Poll::Pending;
        };
        let value = ready!(seat.poll(cx));
        *step = Step::Over;
        Poll::Ready(value)
    }
}

/// Nothing in it is ever pinned.
impl<K, V> Unpin for Load<K, V> {}

impl<K, V> Clone for Loader<K, V> {
    fn clone(&self) -> Self {
        Self {
            gathering: Arc::clone(&self.gathering),
        }
    }
}

impl<K, V> fmt::Debug for Loader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for Load<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").finish_non_exhaustive()
    }
}
