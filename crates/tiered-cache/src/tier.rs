//! The trait of a tier below memory: bytes under keys. Nothing of it is served before our own envelope
//! and the floors have passed it, so a tier that loses, repeats or mixes up what it holds costs misses
//! and never gives a wrong value.

use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};

use crate::{
    cached::TierKind,
    coherence::{Effect, Version},
    error::BoxError,
};

/// The name of one entry below memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EntryKey {
    /// The cache's name: 1 to 64 of the characters `A-Z a-z 0-9 . _ -`.
    pub cache: Arc<str>,
    /// The hash of namespace, cache and key, the same in every process.
    pub hash: u64,
    /// The key's text, at most 1,024 bytes.
    pub text: Arc<str>,
}

/// The bytes of an entry, with the version of its fill.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sealed {
    /// The envelope: opaque to the tier.
    pub bytes: Bytes,
    /// The version of the fill, on the tier's own scale: the shared log's for a shared tier, this
    /// process's for a private one.
    pub version: Version,
    /// Whether it stands for an insertion, which is newer than everything before `version`; else it is
    /// a fill, to be dropped when the tier has been told of a later invalidation.
    pub insertion: bool,
}

/// Whom a tier serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierScope {
    /// This process alone. What an earlier process left is served only if there is a disk folder too,
    /// whose record says what was invalidated meanwhile.
    Process,
    /// Every replica. It needs the log in Redis, by which replicas hear of invalidations: without it
    /// such a tier is neither read nor written.
    Shared,
}

/// Why a tier gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TierError {
    /// It is known to be away, so it was not asked.
    #[error("the tier is not available now")]
    Unavailable,
    /// It did not answer in time.
    #[error("the tier did not answer in time")]
    TimedOut,
    /// It answered with an error.
    #[error("the tier failed")]
    Failed(#[source] BoxError),
}

/// A tier below memory. Implementations bound every await themselves; the cache puts a breaker before
/// each, and a dropped future must leave nothing half-written that could be read as whole.
pub trait Tier: Debug + Send + Sync + 'static {
    /// Under which name its reads are counted.
    fn kind(&self) -> TierKind;

    /// Whether other replicas read and write it too.
    fn scope(&self) -> TierScope;

    /// The bytes under the key; `None` when there are none.
    ///
    /// # Errors
    /// [`TierError`]; the read goes on to the next tier.
    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>>;

    /// Reads several keys, answered in their order; one after the other all at once unless the tier
    /// has something better.
    fn read_many<'a>(
        &'a self,
        keys: &'a [EntryKey],
    ) -> BoxFuture<'a, Vec<Result<Option<Bytes>, TierError>>> {
        join_all(keys.iter().map(|key| self.read(key))).boxed()
    }

    /// Keeps the bytes for at most `keep_for`; `false` when the tier knows something newer or has no
    /// room.
    ///
    /// # Errors
    /// [`TierError`]; the value is then only in the other tiers.
    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>>;

    /// Makes what the tier holds under the key older than `version` unservable: gone, or stale.
    ///
    /// Asked of shared tiers. What a private one holds is kept from readers by this process's own
    /// record of invalidations, and leaves when its room is needed.
    ///
    /// # Errors
    /// [`TierError`]; the cache tries again, and does not read the key from this tier until then.
    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>>;

    /// Flushes and stops; the caller waits 5 s for it.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// How long `Caches::close` waits for each thing that it closes.
pub(crate) const CLOSE_WITHIN: Duration = Duration::from_secs(5);
