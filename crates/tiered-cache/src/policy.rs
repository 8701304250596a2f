//! How one cache behaves: lifetimes, sizes, compression.

use std::time::Duration;

use crate::error::ConfigError;

/// How one cache keeps and loads its values; every field has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The longest time a value is served after it was loaded or inserted; each value gets up to
    /// 5 % less, so that values loaded together do not expire together. Default: 1 hour.
    pub ttl: Duration,
    /// How many values the memory tier holds. Default: 10,000.
    pub memory_capacity: usize,
    /// How long a loader may run before its waiters get an error. Default: 30 s.
    pub load_timeout: Duration,
    /// How values are packed for Redis and disk; memory holds them as they are. Default: LZ4.
    pub compression: Compression,
    /// Encoded values of fewer bytes are never compressed. Default: 1,024.
    pub compress_above: usize,
    /// Values whose encoding is longer are returned but not kept in any tier. Only caches with a
    /// Redis or disk tier encode their values, so a cache in memory alone ignores it. Default: 1 MiB.
    pub max_value_bytes: usize,
    /// Raise it when `V` keeps its name but changes its fields: entries of other schemas are
    /// misses. Default: 0.
    pub schema: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            memory_capacity: 10_000,
            load_timeout: Duration::from_secs(30),
            compression: Compression::Lz4,
            compress_above: 1024,
            max_value_bytes: 1 << 20,
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
        if self.memory_capacity == 0 {
            return bad("memory_capacity", "0".into(), "use at least 1 entry");
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
