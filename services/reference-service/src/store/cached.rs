//! Listings through the pool's query cache, if it is switched on.
//!
//! The pool sees every statement of this process, so a write ends what it makes outdated before its
//! caller learns of it. On PostgreSQL replicas tell each other by `NOTIFY`; while that is cut, all ask the
//! database. A SQLite file has one process.

use std::{pin::Pin, sync::Arc, time::Duration};

use db_pool::{
    Backend, CacheError, InvalidationBus, Lane, PgNotifyBus, Pool, QueryCacheConfig, ResultStore,
};
use diesel::query_builder::{AsQuery, QueryFragment};
use diesel_async::{AsyncConnectionCore, methods::LoadQuery};
use serde::{Serialize, de::DeserializeOwned};

use super::{Pools, Store, error::StoreError};

/// Reads through the cache: `cached!(self, ttl, query)`; the rows come in an `Arc`.
///
/// The enclosing function must be able to turn a [`CacheError`] into its error by `?`.
macro_rules! cached {
    ($store:expr, $ttl:expr, $query:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite(pool) => {
                $crate::store::cached::load(pool, $ttl, $query).await?
            }
            $crate::store::Pools::Postgres(pool) => {
                $crate::store::cached::load(pool, $ttl, $query).await?
            }
            $crate::store::Pools::Replicated(servers) => {
                let pool = $crate::store::primary(servers)?;
                $crate::store::cached::load(&pool, $ttl, $query).await?
            }
        }
    };
}

/// One cached read. Boxed, so that a caller need not prove for a query's lifetimes that it is `Send`.
pub(super) fn load<'q, B, Q, U>(pool: &'q Pool<B>, ttl: Duration, query: Q) -> Loading<'q, U>
where
    B: Backend,
    Q: AsQuery,
    Q::Query: QueryFragment<Dialect<B>> + LoadQuery<'q, Lane<B>, U> + Send + 'q,
    U: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Box::pin(pool.cached(query).ttl(ttl).load())
}

type Loading<'q, U> = Pin<Box<dyn Future<Output = Result<Arc<Vec<U>>, CacheError>> + Send + 'q>>;
type Dialect<B> = <<B as Backend>::Connection as AsyncConnectionCore>::Backend;

impl Store {
    /// From now on the first pages of listings are remembered for at most `ttl`; only the first call counts.
    ///
    /// `shared` is where replicas share results. On PostgreSQL it opens one more connection, for `LISTEN`.
    ///
    /// # Errors
    /// [`StoreError::Open`] for a setting that cannot work.
    pub fn cache_listings(
        &self,
        ttl: Duration,
        max_entries: usize,
        shared: Option<Arc<dyn ResultStore>>,
    ) -> Result<(), StoreError> {
        let config = QueryCacheConfig {
            max_entries,
            ttl,
            store: shared,
            ..QueryCacheConfig::default()
        };
        match &self.pools {
            Pools::Sqlite(pool) => drop(pool.configure_query_cache(config)?),
            Pools::Postgres(pool) => {
                let bus =
                    PgNotifyBus::new(pool.config(), CHANNEL).map_err(db_pool::OpenError::from)?;
                let bus: Arc<dyn InvalidationBus> = Arc::new(bus);
                drop(pool.configure_query_cache(QueryCacheConfig {
                    bus: Some(bus),
                    ..config
                })?);
            }
            // The configuration refuses it: each server would need a cache, and a bus, of its own.
            Pools::Replicated(_) => return Ok(()),
        }
        // Last: whoever sees it reads through a cache that is set up.
        let _ = self.listings_ttl.set(ttl);
        Ok(())
    }

    /// What the query cache has done so far; nothing when it is off.
    #[must_use]
    pub fn query_cache_stats(&self) -> Option<db_pool::QueryCacheStats> {
        self.listings_ttl.get()?;
        Some(match &self.pools {
            Pools::Sqlite(pool) => pool.query_cache().stats(),
            Pools::Postgres(pool) => pool.query_cache().stats(),
            Pools::Replicated(_) => return None,
        })
    }
}

impl From<CacheError> for StoreError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Acquire(error) => error.into(),
            CacheError::Query(error) => error.into(),
            error => Self::Unavailable(Box::new(error)),
        }
    }
}

/// All replicas on one database hear each other on it.
const CHANNEL: &str = "reference_service_query_cache";
