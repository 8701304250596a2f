//! What the disk tier needs to know.

use std::{path::PathBuf, time::Duration};

use super::engine::PAGE;
use crate::error::ConfigError;

/// Where and how much the disk tier keeps; every field has a default.
///
/// An entry takes whole pages of 4 KiB on the disk, so a value of 1 KB takes four times its size, and
/// about 120 bytes of memory for its place in the index, which is built anew at each start (2.4 s for a
/// million entries on two busy cores). A read takes 30 us, so the tier pays for values that are large or
/// slow to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The folder; made if it is not there, used by one process at a time. Default: `cache`.
    pub path: PathBuf,
    /// How much it may hold, in bytes, rounded to blocks; the files grow as they are filled.
    /// 16 MiB to 1 TiB. Default: 256 MiB.
    pub capacity_bytes: u64,
    /// The unit in which old entries make room, in bytes; each block is one open file. An entry is
    /// never larger than a block. 0 takes a 128th of the capacity, but at least 4 MiB and at most
    /// 2 GiB. Default: 0.
    pub block_bytes: u64,
    /// How much is written at once, in bytes; memory is taken for it twice. An entry is never larger
    /// than this. 64 KiB to 1 GiB. Default: 4 MiB.
    pub buffer_bytes: usize,
    /// How many bytes may wait to be written; what finds no room is dropped and counted.
    /// Default: 16 MiB.
    pub queue_bytes: usize,
    /// How many entries may wait to be written. Default: 16,384.
    pub queue_entries: usize,
    /// How long an insertion waits for room in the queue before it is dropped; what a loader gave
    /// never waits. At most an hour. Default: 100 ms.
    pub insert_wait: Duration,
    /// How long one read may take before it counts as an error; at most an hour. Default: 250 ms.
    pub read_timeout: Duration,
    /// How long the build waits for the index of what is there. After that the caches are built, and
    /// the tier serves nothing until it is ready. Default: 10 s.
    pub open_wait: Duration,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("cache"),
            capacity_bytes: 256 << 20,
            block_bytes: 0,
            buffer_bytes: 4 << 20,
            queue_bytes: 16 << 20,
            queue_entries: 16 << 10,
            insert_wait: Duration::from_millis(100),
            read_timeout: Duration::from_millis(250),
            open_wait: Duration::from_secs(10),
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
            return bad(
                "disk.capacity_bytes",
                &self.capacity_bytes,
                "use 16 MiB to 1 TiB",
            );
        }
        let blocks = BLOCK_MIN..=BLOCK_MAX.min(self.capacity_bytes / BLOCKS_MIN);
        if self.block_bytes != 0 && !blocks.contains(&self.block_bytes) {
            return bad(
                "disk.block_bytes",
                &self.block_bytes,
                "use 0, or 1 MiB to 2 GiB and at most a quarter of the capacity",
            );
        }
        if !(BUFFER_MIN..=BUFFER_MAX).contains(&self.buffer_bytes) {
            return bad(
                "disk.buffer_bytes",
                &self.buffer_bytes,
                "use 64 KiB to 1 GiB",
            );
        }
        if self.queue_bytes == 0 {
            return bad("disk.queue_bytes", &0, "use more than zero");
        }
        if self.queue_entries == 0 {
            return bad("disk.queue_entries", &0, "use more than zero");
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

    pub(super) fn geometry(&self) -> Geometry {
        let block = match self.block_bytes {
            0 => (self.capacity_bytes / BLOCKS).clamp(BLOCK_DEFAULT_MIN, BLOCK_MAX),
            bytes => bytes,
        };
        let whole = |bytes: u64| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            bytes - bytes % PAGE
        };
        Geometry {
            capacity: whole(self.capacity_bytes),
            block: whole(block),
            buffer: whole(self.buffer_bytes as u64),
        }
    }
}

/// The sizes as foyer takes them, in whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) capacity: usize,
    pub(super) block: usize,
    pub(super) buffer: usize,
}

fn bad(
    field: &'static str,
    value: &dyn ToString,
    expected: &'static str,
) -> Result<(), ConfigError> {
    Err(ConfigError::Value {
        field,
        value: value.to_string(),
        expected,
    })
}

const CAPACITY_MIN: u64 = 16 << 20;
const CAPACITY_MAX: u64 = 1 << 40;
const BLOCK_MIN: u64 = 1 << 20;
const BLOCK_DEFAULT_MIN: u64 = 4 << 20;
/// foyer addresses a place in a block by 32 bits.
const BLOCK_MAX: u64 = 2 << 30;
/// One is being written, one is kept clean, and the rest must hold something.
const BLOCKS_MIN: u64 = 4;
const BLOCKS: u64 = 128;
const BUFFER_MIN: usize = 64 << 10;
const BUFFER_MAX: usize = 1 << 30;
