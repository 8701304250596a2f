//! The disk tier: foyer's block engine for the bytes, a log of our own for what was invalidated.
//!
//! foyer alone may bring removed values back: from its write queue, when it drops a newer version,
//! and after a restart. So nothing of it is served before its version was checked against the
//! floors, and the floors outlive the process in the log.

mod config;
#[allow(dead_code, reason = "filled in next")]
mod engine;
#[allow(dead_code, reason = "filled in next")]
pub(crate) mod folder;
mod log;
#[allow(dead_code, reason = "filled in next")]
mod queue;
#[allow(dead_code, reason = "filled in next")]
mod shared;
#[cfg(test)]
mod tests;
#[allow(dead_code, reason = "filled in next")]
pub(crate) mod tier;
#[allow(dead_code, reason = "filled in next")]
mod writer;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, PsyncIoEngineConfig, RecoverMode,
};
use futures_util::{FutureExt, future::BoxFuture};

use self::log::Log;
use crate::{
    error::{BoxError, BuildError},
    old_floors::Floors,
    old_lookup::TierKind,
    old_tier::{EntryKey, Read, Target, Tier},
    status::{CachesStatus, DiskStatus},
};

pub use config::DiskConfig;

/// The folder below memory; used by one process at a time.
pub(crate) struct DiskTier {
    engine: HybridCache<u64, Bytes>,
    log: Mutex<Log>,
    floors: Arc<Floors>,
    read_timeout: Duration,
    /// Cleared for good by a failed log or by `close`.
    open: AtomicBool,
    failure: Mutex<Option<String>>,
    origin: u64,
    /// Held for as long as the tier lives.
    _lock: File,
}

impl DiskTier {
    pub(crate) async fn open(
        config: &DiskConfig,
        namespace: &str,
        floors: &Arc<Floors>,
    ) -> Result<Arc<Self>, BuildError> {
        config.validate()?;
        let path = config.path.clone();
        let unusable = |source: BoxError| BuildError::Folder {
            path: path.clone(),
            source,
        };
        // CANCEL: dropped here, the prepared folder and its lock are given back when the blocking
        // task ends.
        let prepare = {
            let (path, namespace, floors) =
                (path.clone(), namespace.to_owned(), Arc::clone(floors));
            tokio::task::spawn_blocking(move || prepare(&path, &namespace, &floors))
        };
        let (lock, log) = prepare.await.map_err(|error| unusable(error.into()))??;
        let engine = engine(&blocks(&path), config.capacity_bytes)
            .await
            .map_err(unusable)?;
        Ok(Arc::new(Self {
            engine,
            origin: log.id(),
            log: Mutex::new(log),
            floors: Arc::clone(floors),
            read_timeout: config.read_timeout,
            open: AtomicBool::new(true),
            failure: Mutex::default(),
            _lock: lock,
        }))
    }

    /// The name of all processes that wrote to this folder one after the other.
    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// An invalidation that is not on record would be undone by a restart: serve nothing more, and
    /// leave no log, so that the next start takes nothing of this folder.
    fn fail(&self, log: &Log, error: &std::io::Error) {
        self.open.store(false, Ordering::Release);
        log.discard();
        tracing::error!(%error, "invalidation log not written: the disk tier is off");
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| format!("the invalidation log: {error}"));
    }
}

impl Tier for DiskTier {
    fn kind(&self) -> TierKind {
        TierKind::Disk
    }

    fn shared(&self) -> bool {
        false
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Read> {
        async move {
            if !self.open.load(Ordering::Acquire) {
                return Read::Bypassed;
            }
            match tokio::time::timeout(self.read_timeout, self.engine.get(&key.hash)).await {
                Ok(Ok(Some(entry))) => Read::Found(entry.value().clone()),
                Ok(Ok(None)) => Read::Absent,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "disk read failed");
                    Read::Failed
                }
                Err(_) => Read::Failed,
            }
        }
        .boxed()
    }

    /// Hands the bytes to foyer's queue; when that is full they are dropped, which is a miss later.
    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        bytes: Bytes,
        _ttl: Duration,
        _ticket: Option<u64>,
    ) -> BoxFuture<'a, bool> {
        let fits = bytes.len() <= ENTRY_BYTES_MAX && self.open.load(Ordering::Acquire);
        if fits {
            self.engine.insert(key.hash, bytes);
        }
        std::future::ready(fits).boxed()
    }

    fn announce(&self, _target: Target<'_>) -> u64 {
        0
    }

    /// One small write to the page cache: microseconds, so it is made right here. A kill of the
    /// process cannot undo it; a crash of the whole system is noticed at the next start.
    fn record(&self, target: Target<'_>, version: u64) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
        {
            return;
        }
        if let Err(error) = log.append(target, version, &self.floors) {
            self.fail(&log, &error);
        }
        drop(log);
        if let Target::Key { hash, .. } = target
            && self.open.load(Ordering::Acquire)
        {
            // Only to give the space back: the floor has made the entry unservable.
            self.engine.remove(&hash);
        }
    }

    fn settle<'a>(&'a self, _target: Target<'a>, _ticket: u64) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }

    fn status(&self, status: &mut CachesStatus) {
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        status.disk = match failure {
            Some(reason) => DiskStatus::Failed { reason },
            None if self.open.load(Ordering::Acquire) => DiskStatus::Ok,
            None => DiskStatus::Off,
        };
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if !self.open.swap(false, Ordering::AcqRel) {
                return;
            }
            if let Err(error) = self.engine.close().await {
                tracing::warn!(%error, "disk tier not flushed");
            }
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = log.close() {
                tracing::warn!(%error, "invalidation log not closed");
            }
        }
        .boxed()
    }
}

impl std::fmt::Debug for DiskTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskTier")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Takes the folder for this process and brings the floors back.
fn prepare(path: &Path, namespace: &str, floors: &Floors) -> Result<(File, Log), BuildError> {
    let unusable = |error: std::io::Error| BuildError::Folder {
        path: path.into(),
        source: error.into(),
    };
    fs::create_dir_all(path).map_err(unusable)?;
    let mut options = OpenOptions::new();
    let lock = options
        .create(true)
        .write(true)
        .truncate(false)
        .open(path.join("lock"));
    let lock = lock.map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(BuildError::FolderInUse { path: path.into() });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let (log, fresh) = Log::open(&path.join("floors.log"), namespace, floors).map_err(unusable)?;
    if fresh {
        // Nothing in there could be served: do not even read it.
        match fs::remove_dir_all(blocks(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unusable(error));
            }
            _ => {}
        }
    }
    Ok((lock, log))
}

fn blocks(path: &Path) -> PathBuf {
    path.join("blocks")
}

/// foyer with everything small.
///
/// `examples/footprint.rs` on two cores that others kept busy, 256 MiB: an empty folder opens in 4 to
/// 15 ms and adds 2.5 MiB of resident memory, 1.3 MiB of it the floors; after 5,000 values of 1 KB
/// were written and read it is 4.2 MiB. foyer's default buffers alone are 16 MiB. Blocks of 8 and
/// 16 MiB opened no faster.
async fn engine(path: &Path, capacity: u64) -> Result<HybridCache<u64, Bytes>, BoxError> {
    // Files are set to their length without being written, so they take space as they fill.
    let capacity = usize::try_from(capacity)?;
    let device = FsDeviceBuilder::new(path).with_capacity(capacity).build()?;
    let blocks = BlockEngineConfig::new(device)
        .with_block_size(BLOCK_BYTES)
        .with_indexer_shards(16)
        .with_recover_concurrency(4)
        .with_flushers(1)
        .with_buffer_pool_size(BUFFER_BYTES)
        .with_submit_queue_size_threshold(BUFFER_BYTES);
    let engine = HybridCacheBuilder::new()
        .with_name("tiered-cache")
        // On eviction, the newest version would be lost with the process.
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        // Our memory tier is the one above: this only bridges the way to the disk.
        .memory(MEMORY_BYTES)
        .with_shards(1)
        .with_weighter(|_key: &u64, value: &Bytes| value.len() + ENTRY_OVERHEAD_BYTES)
        .storage()
        .with_io_engine_config(PsyncIoEngineConfig::new())
        .with_engine_config(blocks)
        // Damaged blocks are skipped; what is read is checked again by our envelope.
        .with_recover_mode(RecoverMode::Quiet)
        .build()
        .await?;
    Ok(engine)
}

/// The unit in which foyer evicts, and the bound of one entry.
const BLOCK_BYTES: usize = 4 << 20;
const BUFFER_BYTES: usize = 4 << 20;
const MEMORY_BYTES: usize = 256 << 10;
const ENTRY_OVERHEAD_BYTES: usize = 100;
/// Half a buffer: what always finds room in it.
const ENTRY_BYTES_MAX: usize = 2 << 20;
