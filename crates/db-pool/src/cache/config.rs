//! Settings of the query cache, and what its errors say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::bus::InvalidationBus;
use super::store::ResultStore;
use crate::error::AcquireError;

/// How a pool's query cache works; the default keeps 1,000 results for five minutes, in memory.
#[derive(Clone)]
pub struct QueryCacheConfig {
    /// The most results kept in memory. Default 1,000.
    pub max_entries: usize,

    /// The most bytes kept in memory, measured by the encoded size of the rows. Default `None`: only `max_entries`
    /// counts.
    ///
    /// Cost: every result is measured once, when it is put.
    pub max_bytes: Option<u64>,

    /// How long a result is good if its query does not say. Default 5 min, give or take a tenth at random, so that
    /// what was read together does not expire together.
    pub ttl: Duration,

    /// What the triggers of a table write: the key is the table, the value the tables that its triggers write.
    /// Default empty.
    ///
    /// Only needed for PostgreSQL triggers whose functions run dynamic SQL or call functions that may write: without
    /// an entry here a write to their table drops every result.
    pub triggers: BTreeMap<String, Vec<String>>,

    /// How far the clocks of processes that share `store` may be apart. Default 1 s.
    ///
    /// Danger: with clocks further apart a shared result may be used although a table has changed since.
    pub clock_skew: Duration,

    /// The longest wait for `store`, which then counts as failed. Default 100 ms.
    pub store_timeout: Duration,

    /// Where results are shared with other processes, as bytes. Default `None`.
    pub store: Option<Arc<dyn ResultStore>>,

    /// How processes tell each other what they have written. Default `None`: writes of other processes show after the
    /// TTL at the latest.
    ///
    /// While the bus is lost nothing is read from the cache, and when it is back the cache begins empty.
    pub bus: Option<Arc<dyn InvalidationBus>>,
}

impl Default for QueryCacheConfig {
    fn default() -> Self {
        Self {
            max_entries: 1_000,
            max_bytes: None,
            ttl: Duration::from_secs(300),
            triggers: BTreeMap::new(),
            clock_skew: Duration::from_secs(1),
            store_timeout: Duration::from_millis(100),
            store: None,
            bus: None,
        }
    }
}

impl fmt::Debug for QueryCacheConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryCacheConfig")
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .field("ttl", &self.ttl)
            .field("store", &self.store.is_some())
            .field("bus", &self.bus.is_some())
            .finish_non_exhaustive()
    }
}

/// A read through the query cache failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A duration that was given as text is none; nothing was read.
    #[error("`{text}` is no duration such as \"250ms\" or \"5m\": {problem}")]
    Duration {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No connection could be borrowed to ask the database.
    #[error("no connection for a read that the cache could not answer")]
    Acquire(#[from] AcquireError),
    /// The database refused the query, or there was no row where one was asked for.
    #[error("the query failed")]
    Query(#[from] diesel::result::Error),
    /// The cache was in use already when it was configured.
    #[error("the query cache is in use already; configure it before the first cached read")]
    InUse,
}

impl CacheError {
    /// Whether `first` found no row.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Query(diesel::result::Error::NotFound))
    }
}

/// A duration, or text that names one: `Duration::from_secs(300)` or `"5m"`.
pub trait IntoDuration: sealed::Sealed {
    #[doc(hidden)]
    fn into_duration(self) -> Result<Duration, CacheError>;
}

impl IntoDuration for Duration {
    fn into_duration(self) -> Result<Duration, CacheError> {
        Ok(self)
    }
}

impl IntoDuration for &str {
    fn into_duration(self) -> Result<Duration, CacheError> {
        humantime::parse_duration(self.trim()).map_err(|problem| CacheError::Duration {
            text: self.to_owned(),
            problem: problem.to_string(),
        })
    }
}

impl IntoDuration for String {
    fn into_duration(self) -> Result<Duration, CacheError> {
        self.as_str().into_duration()
    }
}

/// Any longer duration means this one: a century, with which clocks can still reckon.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

mod sealed {
    use std::time::Duration;

    #[expect(
        unnameable_types,
        reason = "the private path is what seals `IntoDuration`"
    )]
    pub trait Sealed {}

    impl Sealed for Duration {}
    impl Sealed for &str {}
    impl Sealed for String {}
}
