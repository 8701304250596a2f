//! One entry as memory holds it: the value with all that decides whether it may be served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::coherence::Version;

/// A value and its facts, shared by the memory tier and every caller that holds a
/// [`Cached`](crate::Cached).
// In this order, so that the counts of the `Arc` and all that a hit looks at fill 64 bytes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry<V> {
    pub(crate) meta: Meta,
    held: Held<V>,
}

/// A value whose time began anew (the loader said "not modified") stays where it is: callers hold it.
#[derive(Debug)]
enum Held<V> {
    Own(V),
    Of(Arc<Entry<V>>),
}

/// What the memory tier has under a key.
#[derive(Debug)]
pub(crate) enum Slot<V> {
    Value(Arc<Entry<V>>),
    /// Known not to exist.
    Absent(Arc<Entry<()>>),
    /// A large value, encoded and compressed; decoded at each read.
    Packed(Arc<Entry<bytes::Bytes>>),
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Meta {
    /// Up to which number no floor kept a reader of memory from it; what hits compare.
    pub(crate) seen: AtomicU64,
    /// The stable hash of cache and key.
    pub(crate) key: u64,
    /// The hashes of its tags, implicit ones (prefixes, patterns) among them.
    pub(crate) tags: Box<[u64]>,
    pub(crate) times: Times,
    /// The shared version of the fill.
    pub(crate) shared: Version,
    pub(crate) validator: Option<Box<str>>,
    /// For sliding expiry: when it was read last, on the scale of `times`.
    pub(crate) read: AtomicU64,
    /// The local number at which the fill began; raised when a check against all floors has passed.
    pub(crate) local: AtomicU64,
    /// Whether it has passed such a check since it was put into memory. Whoever removes its key later
    /// takes it out of there.
    pub(crate) settled: AtomicBool,
    /// How many bytes the value's encoding has, uncompressed; 0 where it has none.
    pub(crate) bytes: usize,
}

/// When an entry passes from one phase to the next: unix milliseconds as `Clock::now_ms` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Times {
    /// From here on a read refreshes it ahead; `u64::MAX` never.
    pub(crate) refresh_from: u64,
    /// Fresh before this.
    pub(crate) fresh_until: u64,
    /// When its fill began.
    pub(crate) filled: u64,
    /// Served while it is revalidated before this (`>= fresh_until`).
    pub(crate) revalidate_until: u64,
    /// A fallback before this (`>= revalidate_until`); gone from here on.
    pub(crate) keep_until: u64,
    /// Expires when not read for so long; 0 never.
    pub(crate) idle_ms: u64,
    /// How long its load took (XFetch's delta).
    pub(crate) cost_ms: u32,
}

impl<V> Entry<V> {
    pub(crate) fn new(value: V, meta: Meta) -> Self {
        Self {
            held: Held::Own(value),
            meta,
        }
    }

    /// The same value under new facts.
    pub(crate) fn renewed(self: &Arc<Self>, meta: Meta) -> Self {
        // Never more than one step away from the value, however often it is renewed.
        let origin = match &self.held {
            Held::Own(_) => self,
            Held::Of(origin) => origin,
        };
        Self {
            held: Held::Of(Arc::clone(origin)),
            meta,
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> &V {
        match &self.held {
            Held::Own(value) => value,
            Held::Of(origin) => origin.value(),
        }
    }
}

impl Meta {
    /// The same facts at other times, for an entry that is not in memory yet.
    pub(crate) fn with_times(&self, times: Times) -> Self {
        let local = self.local.load(Ordering::Relaxed);
        Self {
            times,
            // Not what readers of memory saw: that counts while the entry is there.
            seen: AtomicU64::new(local),
            local: AtomicU64::new(local),
            settled: AtomicBool::new(false),
            shared: self.shared,
            key: self.key,
            tags: self.tags.clone(),
            validator: self.validator.clone(),
            read: AtomicU64::new(self.read.load(Ordering::Relaxed)),
            bytes: self.bytes,
        }
    }
}

impl<V> Slot<V> {
    pub(crate) fn meta(&self) -> &Meta {
        match self {
            Self::Value(entry) => &entry.meta,
            Self::Absent(entry) => &entry.meta,
            Self::Packed(entry) => &entry.meta,
        }
    }
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(entry) => Self::Value(Arc::clone(entry)),
            Self::Absent(entry) => Self::Absent(Arc::clone(entry)),
            Self::Packed(entry) => Self::Packed(Arc::clone(entry)),
        }
    }
}
