//! How one cache keeps, refreshes and loads its values: the settings, and the pure decisions on them.

mod errors;
mod freshness;
mod loaded;
mod times;
mod validate;

pub use errors::ErrorAction;
pub(crate) use errors::{AfterError, OnError};
pub(crate) use freshness::{Freshness, freshness, may_refresh_early};
pub(crate) use loaded::Content;
pub use loaded::{EntryOptions, Loaded};

use std::time::Duration;

pub(crate) use crate::codec::Compression;

/// How one cache keeps and loads its values. Every field has a default, so name what differs:
///
/// ```
/// use std::time::Duration;
/// use tiered_cache::Policy;
///
/// let policy = Policy {
///     ttl: Duration::from_secs(600),
///     stale_while_revalidate: Duration::from_secs(60),
///     stale_if_error: Duration::from_secs(3600),
///     negative_ttl: Duration::from_secs(30),
///     ..Policy::default()
/// };
/// assert!(policy.validate().is_ok());
/// ```
///
/// A value is *fresh* for `ttl` after it was loaded. Then it is *stale*: for `stale_while_revalidate`
/// it is still answered at once while one load replaces it, and for `stale_if_error` it stands in for
/// a loader that fails or is too slow. Both are counted from the end of `ttl`; when the longer one is
/// over, the value is gone. An invalidation that expires a value ends its freshness early; one that
/// removes it ends everything.
///
/// Durations are kept in milliseconds. What an entry has of its own
/// ([`EntryOptions`], [`Loaded`]) comes before what stands here.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How long a value is fresh after it was loaded or inserted: 1 ms to 10 years. Default: 1 hour.
    ///
    /// Long enough that most reads are hits, short enough that a change which nobody invalidated is
    /// seen the same day. Where every change is invalidated, it may be far longer.
    pub ttl: Duration,
    /// Each value gets up to this share less than `ttl`, so that values which were loaded together do
    /// not expire together: 0 to 0.5. Default: 0.05.
    pub ttl_jitter: f64,
    /// How long the memory tier uses its copy before it asks the tiers below again, counted from when
    /// the copy was loaded or promoted: 1 ms to `ttl`. Default: `None` (`ttl`).
    ///
    /// After it the copy is no more than a fallback. Without tiers below it has no effect.
    pub memory_ttl: Option<Duration>,
    /// Sliding expiry: a value that was not read for so long expires, and `ttl` is the hard cap that no
    /// read extends: 1 ms to `ttl`. Default: `None`.
    ///
    /// Reads count in the memory of this process only; another replica's reads keep nothing alive here.
    pub idle_ttl: Option<Duration>,
    /// For how long after `ttl` the old value is answered at once while one load replaces it; up to
    /// 10 years. Default: zero (off).
    ///
    /// Callers may see values older than `ttl` by this much; [`Lookup::Stale`](crate::Lookup::Stale)
    /// says so.
    pub stale_while_revalidate: Duration,
    /// For how long after `ttl` the old value may stand in for a loader that fails, or that is slower
    /// than the timeouts; up to 10 years. Default: zero (off).
    ///
    /// Values take room in all tiers until then.
    pub stale_if_error: Duration,
    /// After a load failed while there was an old value, for how long the loader is not asked again:
    /// a dead source is asked once in this time for each key and process. Default: 30 s.
    ///
    /// Zero asks at every read. Expiring the value meanwhile does not end the pause; removing it does.
    pub error_throttle: Duration,
    /// With an old value in hand, how long a caller waits for the loader before it gets that value; the
    /// load goes on and its value is kept. Shorter than `load_timeout`. Default: `None` (it waits).
    pub soft_timeout: Option<Duration>,
    /// How long a loader may run, its wait for a turn included. Then it is dropped, its callers get
    /// the old value or [`LoadError::TimedOut`](crate::LoadError::TimedOut), and the key is free again:
    /// 1 ms to 1 day. Default: 30 s.
    pub load_timeout: Duration,
    /// How many loaders of this cache run at once, at least 1; more wait for their turn within
    /// `load_timeout`. Default: 256.
    ///
    /// Set it near what the source can take, such as the size of a connection pool.
    pub loads_max: usize,
    /// The share of `ttl` after which a read starts a load in the background, so that values in use
    /// never expire: above 0, below 1. Default: `None`.
    ///
    /// 0.8 makes about a quarter more loads of what is read all the time, and none of the rest.
    pub refresh_ahead: Option<f64>,
    /// The beta of probabilistic early refresh (XFetch): a read `gap` before the end of `ttl` starts a
    /// load in the background with probability `exp(-gap / (beta * load time))`; above 0, up to 100.
    /// 1.0 is the published optimum, more refreshes earlier. Default: `None` (off).
    ///
    /// It keeps replicas from loading the same value at the same moment without any lock between them.
    pub early_refresh: Option<f64>,
    /// How long "there is none" is remembered; up to 10 years. Default: zero (not at all).
    ///
    /// It protects the source from being asked for what does not exist. Insert or invalidate when such
    /// a key comes into being, else it stays absent for this long.
    pub negative_ttl: Duration,
    /// How long an error is answered without asking the loader again, where no old value stands in; up
    /// to 10 years. Default: zero (not at all).
    ///
    /// For errors by class see [`ErrorAction`].
    pub error_ttl: Duration,
    /// How much the memory tier holds. Default: 10,000 entries.
    pub capacity: Capacity,
    /// Values whose encoding has at least this many bytes are held compressed in memory and decoded at
    /// each read: less memory, slower hits. Default: `None` (never).
    pub pack_above: Option<usize>,
    /// How encoded values are compressed. Default: LZ4.
    pub compression: Compression,
    /// Encodings of fewer bytes are never compressed. Default: 1,024.
    pub compress_above: usize,
    /// Values with a longer encoding are returned but kept in no tier: 1 byte to 64 MiB.
    /// Default: 1 MiB.
    ///
    /// It also bounds what is allocated to decompress bytes found in Redis. A cache in memory alone
    /// encodes nothing and ignores it.
    pub max_value_bytes: usize,
    /// An entry with more tags than this is returned but kept in no tier: up to 1,024. Default: 32.
    ///
    /// Each tag makes every hit check one more floor and takes 8 bytes.
    pub max_tags: usize,
    /// One loader per key among all replicas: the others wait for the holder of a lease in Redis, at
    /// most this long, before they load themselves. Shorter than `load_timeout`. Default: `None` (each
    /// replica loads).
    ///
    /// It costs a command to Redis for each load and key. A load of many keys waits only where others hold
    /// the leases of all of them; else it loads them all, so that no two wait for one another.
    pub lease: Option<Duration>,
    /// Raise it when `V` keeps its name but changes its fields: entries of other schemas are
    /// misses. Default: 0.
    pub schema: u32,
}

/// How much the memory tier of one cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capacity {
    /// So many entries, 1 to 4,294,967,295.
    Entries(usize),
    /// So many bytes, by the cache's weigher plus a fixed overhead for each entry; up to 1 PiB.
    Bytes(u64),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            ttl_jitter: 0.05,
            memory_ttl: None,
            idle_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            error_throttle: Duration::from_secs(30),
            soft_timeout: None,
            load_timeout: Duration::from_secs(30),
            loads_max: 256,
            refresh_ahead: None,
            early_refresh: None,
            negative_ttl: Duration::ZERO,
            error_ttl: Duration::ZERO,
            capacity: Capacity::Entries(10_000),
            pack_above: None,
            compression: Compression::Lz4,
            compress_above: 1024,
            max_value_bytes: 1 << 20,
            max_tags: 32,
            lease: None,
            schema: 0,
        }
    }
}
