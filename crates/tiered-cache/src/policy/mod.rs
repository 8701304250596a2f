//! How one cache keeps, refreshes and loads its values: the settings, and the pure decisions on them.

mod loaded;

pub(crate) use loaded::Content;
pub use loaded::{EntryOptions, Loaded};

use std::time::Duration;

use crate::error::ConfigError;

/// How one cache keeps and loads its values; every field has a default.
///
/// A value passes through up to four phases, each counted from its fill: *fresh* for `ttl`, then
/// served *while it is revalidated* for `stale_while_revalidate`, then only a *fallback* when the
/// loader fails for `stale_if_error`, then gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The longest time a value is fresh after it was loaded or inserted. Default: 1 hour.
    pub ttl: Duration,
    /// Each value gets up to this share less than `ttl`, so that values loaded together do not
    /// expire together; 0 to 0.5. Default: 0.05.
    pub ttl_jitter: f64,
    /// A shorter TTL for the memory tier; `None` is `ttl`. Default: `None`.
    pub memory_ttl: Option<Duration>,
    /// A value not read for so long expires before its `ttl`, which stays the hard cap. Counted in
    /// this process's memory. Default: `None`.
    pub idle_ttl: Option<Duration>,
    /// How long after `ttl` an old value is answered at once while one caller's loader refreshes it.
    /// Default: zero (off).
    pub stale_while_revalidate: Duration,
    /// How long after `ttl` an old value may stand in for a loader that fails or is too slow.
    /// Default: zero (off).
    pub stale_if_error: Duration,
    /// After a fallback was served, for how long the loader is not asked again. Default: 30 s.
    pub error_throttle: Duration,
    /// With a fallback in hand, how long a caller waits for the loader before it gets the old value;
    /// the load goes on. Default: `None` (as long as the loader takes).
    pub soft_timeout: Option<Duration>,
    /// How long a loader may run before its waiters get the fallback or an error, and the key is free
    /// again. Default: 30 s.
    pub load_timeout: Duration,
    /// How many loaders of this cache run at once; more wait for their turn within `load_timeout`.
    /// Default: 256.
    pub loads_max: usize,
    /// The share of `ttl` after which a read refreshes a fresh value in the background; 0 to 1.
    /// Default: `None`.
    pub refresh_ahead: Option<f64>,
    /// The beta of probabilistic early refresh (XFetch): 1.0 is the published optimum, more refreshes
    /// earlier. Default: `None` (off).
    pub early_refresh: Option<f64>,
    /// How long "there is none" is remembered; zero remembers nothing. Default: zero.
    pub negative_ttl: Duration,
    /// How long an error of the loader is answered without asking it again, when there is no fallback;
    /// see `Loaded` for errors by class. Default: zero.
    pub error_ttl: Duration,
    /// How much the memory tier holds. Default: 10,000 entries.
    pub capacity: Capacity,
    /// Encoded values of at least this many bytes are held compressed in memory, and decoded at each
    /// read; `None` never. Default: `None`.
    pub pack_above: Option<usize>,
    /// How values are packed for Redis and disk. Default: LZ4.
    pub compression: Compression,
    /// Encoded values of fewer bytes are never compressed. Default: 1,024.
    pub compress_above: usize,
    /// Values whose encoding is longer are returned but not kept in any tier. Only caches with a
    /// Redis or disk tier encode their values, so a cache in memory alone ignores it. Default: 1 MiB.
    pub max_value_bytes: usize,
    /// An entry with more tags than this is returned but not kept. Default: 32.
    pub max_tags: usize,
    /// One loader per key among all replicas: others wait for the holder of a lease in Redis, at most
    /// this long, before they load themselves. Default: `None` (each replica loads).
    pub lease: Option<Duration>,
    /// Raise it when `V` keeps its name but changes its fields: entries of other schemas are
    /// misses. Default: 0.
    pub schema: u32,
}

/// How much the memory tier of one cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capacity {
    /// So many entries.
    Entries(usize),
    /// So many bytes, by the cache's weigher plus a fixed overhead for each entry.
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

/// How values are packed for Redis and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// As encoded.
    None,
    /// LZ4 blocks (pure Rust), kept only where they are smaller.
    #[default]
    Lz4,
}

impl Policy {
    /// Checks every field without opening anything; making a cache does so as well.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field, value: String, expected| {
            Err(ConfigError::Value {
                field,
                value,
                expected,
            })
        };
        let range = TTL_MIN..=TTL_MAX;
        if !range.contains(&self.ttl) {
            return bad("ttl", format!("{:?}", self.ttl), "use 1 ms to 10 years");
        }
        if matches!(self.capacity, Capacity::Entries(0) | Capacity::Bytes(0)) {
            return bad("capacity", "0".into(), "use at least 1 entry or byte");
        }
        if !range.contains(&self.load_timeout) {
            let value = format!("{:?}", self.load_timeout);
            return bad("load_timeout", value, "use 1 ms to 10 years");
        }
        if !(1..=VALUE_BYTES_MAX).contains(&self.max_value_bytes) {
            let value = self.max_value_bytes.to_string();
            return bad("max_value_bytes", value, "use 1 byte to 64 MiB");
        }
        Ok(())
    }
}

const TTL_MIN: Duration = Duration::from_millis(1);
/// Far enough for everyone, near enough that no sum of a time and a TTL overflows.
const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
const VALUE_BYTES_MAX: usize = 64 << 20;
