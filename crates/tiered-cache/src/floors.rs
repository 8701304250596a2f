//! Versions and floors: what decides whether a value that was read or loaded may still be kept.
//!
//! Every invalidation takes the next version and raises a floor to it; floors only rise. Every fill
//! takes a token (the current version) before it reads anything, and is kept only while no floor
//! that covers its key is above the token.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The floors of the keys of all caches that share them: a bounded table, never a map per key.
///
/// Keys that share a stripe share its floor: an invalidation of one also turns away older copies
/// of the other on disk and its loads in flight. That costs a reload, never a wrong value.
#[derive(Debug)]
pub(crate) struct Floors {
    version: AtomicU64,
    keys: Box<[Mutex<u64>]>,
    caches: Mutex<HashMap<u64, Arc<RwLock<u64>>>>,
}

/// The floors as one cache sees them.
#[derive(Debug, Clone)]
pub(crate) struct CacheFloors {
    shared: Arc<Floors>,
    cleared: Arc<RwLock<u64>>,
}

impl Floors {
    /// `stripes` must be a power of two.
    pub(crate) fn new(stripes: usize) -> Self {
        debug_assert!(
            stripes.is_power_of_two(),
            "the stripe is a mask of the hash"
        );
        Self {
            version: AtomicU64::new(0),
            keys: (0..stripes).map(|_| Mutex::new(0)).collect(),
            caches: Mutex::default(),
        }
    }

    pub(crate) fn of_cache(self: &Arc<Self>, cache: u64) -> CacheFloors {
        CacheFloors {
            shared: Arc::clone(self),
            cleared: self.cleared(cache),
        }
    }

    fn cleared(&self, cache: u64) -> Arc<RwLock<u64>> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(caches.entry(cache).or_default())
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, u64> {
        // The mask keeps the index inside the table, on 32-bit targets too.
        let index = hash as usize & (self.keys.len() - 1);
        self.keys[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// What was invalidated, each with its floor.
#[cfg(feature = "disk")]
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// By stripe, whose index stands for the hashes in it.
    pub(crate) keys: Vec<(u64, u64)>,
    pub(crate) caches: Vec<(u64, u64)>,
}

/// What a log needs to bring the floors back, and to shorten itself.
#[cfg(feature = "disk")]
impl Floors {
    pub(crate) fn stripes(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn replay_key(&self, hash: u64, version: u64) {
        self.version.fetch_max(version, Ordering::SeqCst);
        let mut floor = self.stripe(hash);
        *floor = version.max(*floor);
    }

    pub(crate) fn replay_cleared(&self, cache: u64, version: u64) {
        self.version.fetch_max(version, Ordering::SeqCst);
        let cleared = self.cleared(cache);
        let mut floor = cleared.write().unwrap_or_else(PoisonError::into_inner);
        *floor = version.max(*floor);
    }

    /// Every floor above zero.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let keys = (0..self.keys.len() as u64).map(|hash| (hash, *self.stripe(hash)));
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let caches = caches.iter().map(|(cache, floor)| {
            (
                *cache,
                *floor.read().unwrap_or_else(PoisonError::into_inner),
            )
        });
        Snapshot {
            keys: keys.filter(|(_, floor)| *floor > 0).collect(),
            caches: caches.filter(|(_, floor)| *floor > 0).collect(),
        }
    }
}

impl CacheFloors {
    /// The token of a fill; take it before reading anything.
    ///
    /// The locks order it against [`raise`](Self::raise): a token is either below the new floor, or
    /// its holder sees the new floor in whatever it reads next.
    pub(crate) fn token(&self, hash: u64) -> u64 {
        let _cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        let _floor = self.shared.stripe(hash);
        self.shared.version.load(Ordering::SeqCst)
    }

    /// Whether nothing that covers the key was invalidated after `version`.
    pub(crate) fn allows(&self, hash: u64, version: u64) -> bool {
        let cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        version >= *cleared && version >= *self.shared.stripe(hash)
    }

    /// Runs `keep` if the token still holds, so that no invalidation falls between the two.
    pub(crate) fn publish(&self, hash: u64, token: u64, keep: impl FnOnce()) -> bool {
        let cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        let floor = self.shared.stripe(hash);
        let holds = token >= *cleared && token >= *floor;
        if holds {
            keep();
        }
        holds
    }

    /// Raises the floor of the key, and runs `change` (the memory tier's part) before anyone can
    /// take a token above it. Returns the new version.
    pub(crate) fn raise(&self, hash: u64, change: impl FnOnce()) -> u64 {
        let _cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        let mut floor = self.shared.stripe(hash);
        *floor = self.shared.next();
        change();
        *floor
    }

    /// As [`raise`](Self::raise), for every key of the cache.
    pub(crate) fn raise_all(&self, change: impl FnOnce()) -> u64 {
        let mut cleared = self.cleared.write().unwrap_or_else(PoisonError::into_inner);
        *cleared = self.shared.next();
        change();
        *cleared
    }
}
