//! foyer's block engine as this crate uses it: raw bytes under a hash, nothing of its memory cache.
//!
//! What foyer 0.22 does that no caller may meet, and what is done about it: its queue drops silently
//! when it is full (the writer never gives it more than one buffer), an older version stays in the
//! index when the newer one is dropped (the older one is deleted first), its write queue hands out
//! what was deleted (our queue is asked before it), a restart forgets deletions (every hit is checked
//! against floors that have a log of their own), undecodable bytes are an error on each read (they are
//! deleted here).

use std::{fmt, io, panic::AssertUnwindSafe, path::Path, sync::Arc};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, EngineConfig, Error, ErrorKind, FsDeviceBuilder, HybridCache,
    HybridCacheBuilder, HybridCachePolicy, HybridCacheProperties, Load, Location,
    PsyncIoEngineConfig, RecoverMode,
};
use futures_util::FutureExt;

use super::config::Geometry;
use crate::error::BoxError;

/// Makes foyer's engine from its settings; a test puts faults in between.
pub(super) type Shape =
    Arc<dyn Fn(Settings) -> Box<dyn EngineConfig<u64, Bytes, Properties>> + Send + Sync>;
pub(super) type Settings = BlockEngineConfig<u64, Bytes, Properties>;
pub(super) type Properties = HybridCacheProperties;

/// What a read gave.
#[derive(Debug)]
pub(super) enum Loaded {
    Found(Bytes),
    Absent,
    /// There were bytes that cannot be what was written; they are deleted.
    Damaged,
    /// The system refused.
    Failed(BoxError),
}

/// One open folder of blocks, with everything small.
///
/// On two cores that others kept busy (`examples/footprint.rs`, through the whole cache): an empty folder
/// opens in 13 to 22 ms and adds 4 to 5.5 MiB of resident memory, the floors among them; 5,000 entries
/// are taken in within 21 ms, 50,000 within 76 ms, a million within 2.4 s and 120 MiB. A write of 1 KB
/// takes 23 us, of 64 KB 380 us (167 MB/s); a read of 1 KB 31 us, of 64 KB 95 us, a miss 1.5 us.
pub(super) struct Engine(HybridCache<u64, Bytes>);

impl Engine {
    /// Opens the blocks and takes in what is there.
    pub(super) async fn open(
        blocks: &Path,
        geometry: Geometry,
        shape: &Shape,
    ) -> Result<Self, BoxError> {
        // Files are set to their length without being written, so they take space as they fill.
        let device = FsDeviceBuilder::new(blocks)
            .with_capacity(geometry.capacity)
            .build()?;
        let settings = BlockEngineConfig::new(device)
            .with_block_size(geometry.block)
            .with_indexer_shards(16)
            .with_recover_concurrency(RECOVER_CONCURRENCY)
            .with_flushers(1)
            .with_buffer_pool_size(geometry.buffer)
            // Never reached: the writer paces itself by the buffer.
            .with_submit_queue_size_threshold(2 * geometry.buffer);
        let cache = HybridCacheBuilder::new()
            .with_name("tiered-cache")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            // Nothing is ever kept there: values go by it to the disk.
            .memory(1)
            .with_shards(1)
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(shape(settings))
            // Damaged blocks are skipped; what is read is checked again by our envelope.
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await?;
        Ok(Self(cache))
    }

    pub(super) async fn load(&self, hash: u64) -> Loaded {
        // Nothing of ours is changed inside.
        let loading = AssertUnwindSafe(self.0.storage().load(&hash)).catch_unwind();
        let Ok(loaded) = loading.await else {
            tracing::warn!("disk engine panicked over an entry, which is deleted");
            self.delete(hash);
            return Loaded::Damaged;
        };
        let error = match loaded {
            Ok(Load::Entry { value, .. }) => return Loaded::Found(value),
            Ok(Load::Piece { piece, .. }) => return Loaded::Found(piece.value().clone()),
            Ok(Load::Miss | Load::Throttled) => return Loaded::Absent,
            Err(error) => error,
        };
        if by_the_system(&error) {
            return Loaded::Failed(error.into());
        }
        tracing::debug!(%error, "damaged entry on disk deleted");
        self.delete(hash);
        Loaded::Damaged
    }

    /// Hands the bytes to foyer's queue, in place of what was there; whether it kept them is known
    /// after [`flushed`](Self::flushed).
    pub(super) fn replace(&self, hash: u64, bytes: Bytes) {
        self.delete(hash);
        let properties = Properties::default().with_location(Location::OnDisk);
        drop(self.0.insert_with_properties(hash, bytes, properties));
    }

    pub(super) fn delete(&self, hash: u64) {
        // Each deletion takes a place in a queue of foyer's without a bound: none for nothing.
        if self.holds(hash) {
            self.0.storage().delete(&hash);
        }
    }

    /// Whether there is an entry, flushed or not.
    pub(super) fn holds(&self, hash: u64) -> bool {
        self.0.storage().may_contains(&hash)
    }

    /// Waits until all that was handed over is written or given up. After a failed write foyer may
    /// panic here, as it does in tasks of its own: then nothing more can be known.
    pub(super) async fn flushed(&self) {
        // Nothing of ours is changed inside.
        let flushed = AssertUnwindSafe(self.0.storage().wait()).catch_unwind();
        if flushed.await.is_err() {
            tracing::warn!("disk engine in disorder after a failed write");
        }
    }

    pub(super) async fn close(&self) {
        match AssertUnwindSafe(self.0.close()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "disk tier not closed"),
            Err(_) => tracing::warn!("disk engine in disorder after a failed write"),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// What foyer takes of its buffer and of the disk for a value: whole pages, with a header, the key and
/// the length in front.
pub(super) fn footprint(bytes: usize) -> usize {
    (bytes + HEADER).next_multiple_of(PAGE)
}

/// The largest value that always finds room in an empty buffer and an empty block.
pub(super) fn entry_max(geometry: Geometry) -> usize {
    geometry.buffer.min(geometry.block - PAGE) - HEADER
}

/// Whether the system gave the error, or foyer did for bytes that it cannot decode. A file that is too
/// short is damage, although the system says so.
fn by_the_system(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Io => {
            let source = error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>());
            source.is_some_and(|source| source.raw_os_error().is_some())
        }
        ErrorKind::ChannelClosed
        | ErrorKind::TaskCancelled
        | ErrorKind::Join
        | ErrorKind::NoSpace
        | ErrorKind::Closed => true,
        _ => false,
    }
}

pub(super) const PAGE: usize = 4 << 10;
/// foyer's own header (36), the length of the value (8), the key (8).
const HEADER: usize = 52;
const RECOVER_CONCURRENCY: usize = 4;
