//! What lanes know of each statement: its text, whether it may run, and how long it usually takes.

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use diesel::QueryResult;

use super::sql;

/// The statements of one pool; bounded.
#[derive(Default)]
pub(crate) struct Learned {
    /// Statements whose text follows from their type: looked at once.
    types: RwLock<HashMap<TypeId, Arc<Known>>>,
    texts: RwLock<HashMap<Arc<str>, Arc<Known>>>,
}

/// One statement.
pub(crate) struct Known {
    pub(crate) sql: Arc<str>,
    /// Why it must not run.
    pub(crate) refusal: Option<&'static str>,
    /// The moving average of what the server took for it.
    nanos: AtomicU64,
}

impl Learned {
    /// The statement with this query id, or else with this text; `text` is called at most once.
    pub(crate) fn know(
        &self,
        id: Option<TypeId>,
        text: impl FnOnce() -> QueryResult<String>,
    ) -> QueryResult<Arc<Known>> {
        let Some(id) = id else {
            let sql = text()?;
            let known = get(&self.texts, &*sql);
            return Ok(known.unwrap_or_else(|| {
                let known = Arc::new(Known::new(sql.into()));
                put(&self.texts, Arc::clone(&known.sql), &known);
                known
            }));
        };
        if let Some(known) = get(&self.types, &id) {
            return Ok(known);
        }
        let known = Arc::new(Known::new(text()?.into()));
        put(&self.types, id, &known);
        Ok(known)
    }
}

fn get<K, Q>(map: &RwLock<HashMap<K, Arc<Known>>>, key: &Q) -> Option<Arc<Known>>
where
    K: Hash + Eq + std::borrow::Borrow<Q>,
    Q: Hash + Eq + ?Sized,
{
    let map = map.read().unwrap_or_else(PoisonError::into_inner);
    map.get(key).map(Arc::clone)
}

fn put<K: Hash + Eq>(map: &RwLock<HashMap<K, Arc<Known>>>, key: K, known: &Arc<Known>) {
    let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= MOST {
        // Programs with so many make them up as they go; what is still in use is learned again at once.
        map.clear();
    }
    map.insert(key, Arc::clone(known));
}

impl Known {
    fn new(sql: Arc<str>) -> Self {
        let refusal = sql::refusal(&sql);
        Self {
            sql,
            refusal,
            nanos: AtomicU64::new(0),
        }
    }

    /// Whether it usually takes longer than `limit`.
    pub(crate) fn is_slow(&self, limit: Duration) -> bool {
        u128::from(self.nanos.load(Ordering::Relaxed)) > limit.as_nanos()
    }

    /// Learns that it took `took` this time.
    pub(crate) fn learn(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.nanos.load(Ordering::Relaxed);
        // A lost update costs one sample.
        let after = before - before / WEIGHT + took / WEIGHT;
        self.nanos.store(after, Ordering::Relaxed);
    }
}

/// The most statements of each kind.
const MOST: usize = 1024;
/// A sample counts for an eighth, so that one hiccup makes no statement slow.
const WEIGHT: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_type_is_made_once() {
        let learned = Learned::default();
        let id = Some(TypeId::of::<u8>());
        let first = learned
            .know(id, || Ok("SELECT 1".to_owned()))
            .expect("known");
        let again = learned
            .know(id, || Err(diesel::result::Error::NotFound))
            .expect("known");
        assert!(Arc::ptr_eq(&first, &again));
        let refused = learned
            .know(None, || Ok("BEGIN".to_owned()))
            .expect("known");
        assert!(refused.refusal.is_some());
    }

    #[test]
    fn texts_beyond_the_bound_are_forgotten() {
        let learned = Learned::default();
        for n in 0..=MOST {
            assert!(learned.know(None, || Ok(format!("SELECT {n}"))).is_ok());
        }
        assert_eq!(learned.texts.read().map(|texts| texts.len()).ok(), Some(1));
    }

    #[test]
    fn a_statement_becomes_slow_by_habit_and_fast_again() {
        let known = Known::new("SELECT 1".into());
        let limit = Duration::from_millis(20);
        known.learn(Duration::from_millis(100));
        assert!(!known.is_slow(limit), "once is no habit");
        for _ in 0..3 {
            known.learn(Duration::from_millis(100));
        }
        assert!(known.is_slow(limit));
        for _ in 0..20 {
            known.learn(Duration::from_millis(1));
        }
        assert!(!known.is_slow(limit));
    }
}
