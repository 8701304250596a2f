//! What the disk tier needs to know.

use std::{path::PathBuf, time::Duration};

use crate::error::ConfigError;

/// Where and how much the disk tier keeps; every field has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The folder; made if it is not there, used by one process at a time. Default: `cache`.
    pub path: PathBuf,
    /// How much it may hold, in bytes, rounded to blocks of a few MiB; the files grow as they are
    /// filled. At least 16 MiB. Default: 256 MiB.
    pub capacity_bytes: u64,
    /// How long one read may take before it counts as an error. Default: 250 ms.
    pub read_timeout: Duration,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("cache"),
            capacity_bytes: 256 << 20,
            read_timeout: Duration::from_millis(250),
        }
    }
}

impl DiskConfig {
    /// Checks every field without opening anything; `build` does so as well.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(CAPACITY_MIN..=CAPACITY_MAX).contains(&self.capacity_bytes) {
            return Err(ConfigError::Value {
                field: "disk.capacity_bytes",
                value: self.capacity_bytes.to_string(),
                expected: "use 16 MiB to 16 TiB",
            });
        }
        if self.read_timeout.is_zero() {
            return Err(ConfigError::Value {
                field: "disk.read_timeout",
                value: format!("{:?}", self.read_timeout),
                expected: "use more than zero",
            });
        }
        Ok(())
    }
}

const CAPACITY_MIN: u64 = 16 << 20;
const CAPACITY_MAX: u64 = 16 << 40;
