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
#[derive(Debug)]
pub(crate) struct Floors {
    version: AtomicU64,
    keys: Box<[Mutex<Stripe>]>,
    caches: Mutex<HashMap<u64, Arc<RwLock<u64>>>>,
}

/// The floors of the keys whose hashes end alike: the latest few each by itself, all older ones as
/// one.
///
/// An invalidation that is forgotten raises the common floor, which turns away older copies of the
/// other keys too. That costs a reload, never a wrong value. (With one floor for all keys of a
/// stripe, 5,000 insertions made 7 % of each other's copies on disk unservable.)
#[derive(Debug, Clone, Default)]
struct Stripe {
    common: u64,
    recent: [Floor; RECENT],
}

/// Version 0 stands for an empty place.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    hash: u64,
    version: u64,
}

impl Stripe {
    fn of(&self, hash: u64) -> u64 {
        let own = self.recent.iter().find(|floor| floor.hash == hash);
        own.map_or(self.common, |floor| floor.version.max(self.common))
    }

    fn raise(&mut self, hash: u64, version: u64) {
        if let Some(own) = self.recent.iter_mut().find(|floor| floor.hash == hash) {
            own.version = version.max(own.version);
            return;
        }
        let Some(oldest) = self.recent.iter_mut().min_by_key(|floor| floor.version) else {
            return;
        };
        // A replay may bring one that is older than all that are known.
        let forgotten = version.min(oldest.version);
        if version > oldest.version {
            *oldest = Floor { hash, version };
        }
        self.common = forgotten.max(self.common);
    }
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
            keys: (0..stripes).map(|_| Mutex::default()).collect(),
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

    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
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
    /// By hash.
    pub(crate) keys: Vec<(u64, u64)>,
    /// By the index of the stripe.
    pub(crate) stripes: Vec<(u64, u64)>,
    /// By the hash of the cache.
    pub(crate) caches: Vec<(u64, u64)>,
}

/// What a log needs to bring the floors back, and to shorten itself.
#[cfg(feature = "disk")]
impl Floors {
    /// How many floors there can be, those of whole caches aside.
    pub(crate) fn capacity(&self) -> usize {
        self.keys.len() * (RECENT + 1)
    }

    pub(crate) fn replay_key(&self, hash: u64, version: u64) {
        self.version.fetch_max(version, Ordering::SeqCst);
        self.stripe(hash).raise(hash, version);
    }

    pub(crate) fn replay_stripe(&self, index: u64, version: u64) {
        self.version.fetch_max(version, Ordering::SeqCst);
        let mut stripe = self.stripe(index);
        stripe.common = version.max(stripe.common);
    }

    pub(crate) fn replay_cleared(&self, cache: u64, version: u64) {
        self.version.fetch_max(version, Ordering::SeqCst);
        let cleared = self.cleared(cache);
        let mut floor = cleared.write().unwrap_or_else(PoisonError::into_inner);
        *floor = version.max(*floor);
    }

    /// Leaves out that many versions.
    pub(crate) fn skip(&self, versions: u64) {
        self.version.fetch_add(versions, Ordering::SeqCst);
    }

    /// Every floor above zero.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (mut keys, mut stripes) = (Vec::new(), Vec::new());
        for index in 0..self.keys.len() as u64 {
            let stripe = self.stripe(index);
            stripes.push((index, stripe.common));
            keys.extend(
                stripe
                    .recent
                    .iter()
                    .map(|floor| (floor.hash, floor.version)),
            );
        }
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let caches = caches.iter().map(|(cache, floor)| {
            (
                *cache,
                *floor.read().unwrap_or_else(PoisonError::into_inner),
            )
        });
        let mut caches: Vec<_> = caches.collect();
        for floors in [&mut keys, &mut stripes, &mut caches] {
            floors.retain(|(_, version)| *version > 0);
        }
        Snapshot {
            keys,
            stripes,
            caches,
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
        let _stripe = self.shared.stripe(hash);
        self.shared.version.load(Ordering::SeqCst)
    }

    /// Whether nothing that covers the key was invalidated after `version`.
    pub(crate) fn allows(&self, hash: u64, version: u64) -> bool {
        let cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        version >= *cleared && version >= self.shared.stripe(hash).of(hash)
    }

    /// Runs `keep` if the token still holds, so that no invalidation falls between the two.
    pub(crate) fn publish(&self, hash: u64, token: u64, keep: impl FnOnce()) -> bool {
        let cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        let stripe = self.shared.stripe(hash);
        let holds = token >= *cleared && token >= stripe.of(hash);
        if holds {
            keep();
        }
        holds
    }

    /// Raises the floor of the key, and runs `change` (the memory tier's part) before anyone can
    /// take a token above it. Returns the new version.
    pub(crate) fn raise(&self, hash: u64, change: impl FnOnce()) -> u64 {
        let _cleared = self.cleared.read().unwrap_or_else(PoisonError::into_inner);
        let mut stripe = self.shared.stripe(hash);
        let version = self.shared.next();
        stripe.raise(hash, version);
        change();
        version
    }

    /// As [`raise`](Self::raise), for every key of the cache.
    pub(crate) fn raise_all(&self, change: impl FnOnce()) -> u64 {
        let mut cleared = self.cleared.write().unwrap_or_else(PoisonError::into_inner);
        *cleared = self.shared.next();
        change();
        *cleared
    }
}

/// Floors of single keys per stripe; a stripe takes 80 bytes with them.
const RECENT: usize = 4;

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use super::Floors;
    use crate::hash::mix;

    /// Goal: a bounded table may say "too old" of a fill that is not, never the reverse. Method: far
    /// more keys than places, against a map that forgets nothing.
    #[test]
    fn an_invalidation_is_never_forgotten_however_many_follow() {
        let shared = Arc::new(Floors::new(8));
        let floors = shared.of_cache(1);
        let mut exact = HashMap::new();
        for round in 0..20_000_u64 {
            let hash = mix(round % 700);
            let version = floors.raise(hash, || {});
            assert!(floors.allows(hash, version), "its own version is allowed");
            exact.insert(hash, version);
            let probe = mix(round.wrapping_mul(31) % 700);
            if let Some(version) = exact.get(&probe) {
                assert!(
                    !floors.allows(probe, version - 1),
                    "older than its last invalidation"
                );
            }
        }
    }

    #[test]
    fn other_keys_of_a_stripe_keep_their_older_fills() {
        let shared = Arc::new(Floors::new(1));
        let floors = shared.of_cache(1);
        let token = floors.token(99);
        for hash in 0..4 {
            floors.raise(hash, || {});
        }
        assert!(floors.allows(99, token), "as many as there are places");
        floors.raise(4, || {});
        assert!(
            !floors.allows(99, token),
            "one more, and the oldest counts for all"
        );
    }

    #[test]
    fn a_token_taken_before_a_clear_does_not_hold_and_one_taken_after_does() {
        let shared = Arc::new(Floors::new(8));
        let (cleared, other) = (shared.of_cache(1), shared.of_cache(2));
        let (before, elsewhere) = (cleared.token(5), other.token(6));
        cleared.raise_all(|| {});
        assert!(!cleared.publish(5, before, || unreachable!("it does not hold")));
        assert!(
            other.publish(6, elsewhere, || {}),
            "another cache is not concerned"
        );
        assert!(cleared.publish(5, cleared.token(5), || {}));
    }

    #[cfg(feature = "disk")]
    #[test]
    fn a_replay_in_any_order_brings_every_floor_back() {
        let shared = Arc::new(Floors::new(4));
        let floors = shared.of_cache(1);
        let versions: Vec<_> = (0..200_u64)
            .map(|key| (mix(key), floors.raise(mix(key), || {})))
            .collect();
        let snapshot = shared.snapshot();
        let again = Arc::new(Floors::new(4));
        for (hash, version) in snapshot.keys.iter().rev() {
            again.replay_key(*hash, *version);
        }
        for (index, version) in snapshot.stripes {
            again.replay_stripe(index, version);
        }
        let replayed = again.of_cache(1);
        for (hash, version) in versions {
            assert_eq!(floors.allows(hash, version), replayed.allows(hash, version));
            assert!(!replayed.allows(hash, version - 1));
        }
        assert!(
            replayed.token(0) >= 200,
            "new versions are above all old ones"
        );
    }
}
