//! What the tiers below memory have in common: bytes under keys, and the steps of an invalidation.

use std::{fmt::Debug, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{old_lookup::TierKind, status::CachesStatus};

/// The name of one entry below memory.
#[derive(Debug, Clone)]
pub(crate) struct EntryKey {
    /// The cache's name; holds no `:` and no glob characters.
    pub(crate) cache: std::sync::Arc<str>,
    /// The hash of cache and key.
    pub(crate) hash: u64,
    /// The key's text.
    pub(crate) text: String,
}

/// What an invalidation is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// One key. Its text is absent when it is too long to be kept below memory.
    Key {
        hash: u64,
        entry: Option<&'a EntryKey>,
    },
    Cache {
        name: &'a str,
        hash: u64,
    },
}

/// What a read of a tier gave.
#[derive(Debug)]
pub(crate) enum Read {
    Found(Bytes),
    Absent,
    /// The tier may not be asked now (an unconfirmed removal, or it is switched off).
    Bypassed,
    Failed,
}

/// A tier below memory. No call fails a read: errors are counted, logged once, and answered as
/// misses. Every await inside has a deadline.
///
/// An invalidation is `announce` (before the floor rises), `record` (after it rose; both without an
/// await, so that a caller who goes away leaves nothing half-done in this process), then `settle`.
pub(crate) trait Tier: Debug + Send + Sync {
    fn kind(&self) -> TierKind;

    /// Whether entries that another process wrote may be served.
    fn shared(&self) -> bool;

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Read>;

    /// Keeps the bytes. A `ticket` says that this write stands for the `settle` of an insertion.
    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        bytes: Bytes,
        ttl: Duration,
        ticket: Option<u64>,
    ) -> BoxFuture<'a, bool>;

    /// From here until it is settled, reads may not see what the tier holds of the target now.
    fn announce(&self, target: Target<'_>) -> u64;

    /// Makes the invalidation durable where the tier is.
    fn record(&self, target: Target<'_>, version: u64);

    /// Takes the target out of the tier.
    fn settle<'a>(&'a self, target: Target<'a>, ticket: u64) -> BoxFuture<'a, ()>;

    fn status(&self, status: &mut CachesStatus);

    /// Flushes and stops; the caller bounds it.
    fn close(&self) -> BoxFuture<'_, ()>;
}
