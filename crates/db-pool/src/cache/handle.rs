//! The query cache of a pool as a whole: setting it up, emptying it, and what it has done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::bus;
use super::config::{CacheError, QueryCacheConfig};
use super::knowledge::Tables;
use super::ledger::Writing;
use super::results::Results;
use super::stats::QueryCacheStats;
use super::tokens::normal;
use crate::backend::Backend;
use crate::pool::Pool;

/// The query cache of a pool; a cheap clone of a shared handle, made by [`Pool::query_cache`].
#[derive(Clone)]
pub struct QueryCache(Arc<Results>);

impl QueryCache {
    /// What it has done so far.
    pub fn stats(&self) -> QueryCacheStats {
        self.0.stats()
    }

    /// Makes every result invalid that depends on one of `tables`, here and, with a bus, in all processes.
    ///
    /// For what was written past this pool. Views, cascades and partitions are followed.
    pub fn invalidate<T: AsRef<str>>(&self, tables: impl IntoIterator<Item = T>) {
        let named = tables
            .into_iter()
            .map(|name| normal(name.as_ref()))
            .collect();
        let ledger = &self.0.ledger;
        let tables = match ledger.knowledge().relations() {
            Some(known) => known.written(&named),
            None => Tables::All,
        };
        let schema = false;
        ledger.raise(Writing { tables, schema });
    }

    /// Makes every result invalid, here and, with a bus, in all processes, and reads the schema anew.
    pub fn clear(&self) {
        let (tables, schema) = (Tables::All, true);
        self.0.ledger.raise(Writing { tables, schema });
        self.0.clear();
    }
}

impl fmt::Debug for QueryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueryCache").field(&self.stats()).finish()
    }
}

impl<B: Backend> Pool<B> {
    /// The query cache as a whole; see [`Pool::cached`] for reading through it.
    pub fn query_cache(&self) -> QueryCache {
        QueryCache(Arc::clone(self.results()))
    }

    /// Sets the query cache up; without this it begins with the default at the first cached read.
    ///
    /// With a bus it spawns a task that ends with the pool.
    ///
    /// # Errors
    /// [`CacheError::InUse`] if it has begun already.
    pub fn configure_query_cache(
        &self,
        config: QueryCacheConfig,
    ) -> Result<QueryCache, CacheError> {
        let ledger = &self.shared().ledger;
        let results = Arc::new(Results::new(Arc::clone(ledger), config));
        if ledger.results.set(Arc::clone(&results)).is_err() {
            return Err(CacheError::InUse);
        }
        if let (Some(bus), Some(link)) = (&results.config.bus, &results.link) {
            ledger.outbox.open();
            let shared = Arc::downgrade(self.shared());
            let (bus, link) = (Arc::clone(bus), Arc::clone(link));
            let running = bus::run(bus, link, Arc::downgrade(ledger), shared);
            self.shared().runtime.spawn(running);
        }
        Ok(QueryCache(results))
    }

    pub(super) fn results(&self) -> &Arc<Results> {
        let ledger = &self.shared().ledger;
        let default = || {
            Arc::new(Results::new(
                Arc::clone(ledger),
                QueryCacheConfig::default(),
            ))
        };
        ledger.results.get_or_init(default)
    }

    /// Reads the schema if that has not been done since it changed; `again` also if a name is unknown.
    pub(super) async fn know_schema(&self, again: bool) -> Result<(), CacheError> {
        let results = self.results();
        let ledger = &results.ledger;
        let knows = |age_max| {
            let knowledge = ledger.knowledge();
            knowledge.relations().is_some() && knowledge.age() < age_max
        };
        let age_max = if again { AGAIN } else { AGE_MAX };
        if knows(age_max) {
            return Ok(());
        }
        let _alone = results.reading_schema.lock().await;
        if knows(age_max) {
            return Ok(()); // somebody else has done it
        }
        let Some(stamp) = ledger.schema_stamp() else {
            return Ok(()); // it changes right now
        };
        let mut lane = self.read().await?;
        let mut relations = B::relations(&mut lane).await?;
        for (table, written) in &results.config.triggers {
            relations.declare(table, written.iter().map(String::as_str));
        }
        ledger.learn(relations, stamp);
        Ok(())
    }
}

/// How often the schema is read although nobody is known to have changed it.
const AGE_MAX: Duration = Duration::from_secs(600);

/// How often it is read for the sake of a name that it does not know.
const AGAIN: Duration = Duration::from_secs(1);
