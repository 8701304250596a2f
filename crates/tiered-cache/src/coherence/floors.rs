//! Floors: what decides, on every read, whether an entry is older than an invalidation that covers it.
//!
//! A floor has marks in two spaces: the count of this process, for entries of memory and disk, and the
//! version of the shared log, for entries of Redis. Marks only rise.

use std::{collections::BTreeMap, fmt};

use super::{
    Effect, Marks, Standing, Target, Token, Version,
    marks::{Exact, Kinds, RECENT, Saved},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// All floors of one `Caches`: a bounded table, never a map per key.
pub(crate) struct Floors {
    /// The last number given out; tokens are read from it.
    count: AtomicU64,
    /// The last record of the shared log that was applied.
    applied: AtomicU64,
    /// The epoch of the log that `applied` belongs to.
    origin: AtomicU64,
    /// The highest local mark of each stripe: the keys and tags whose hashes end alike. Apart from the
    /// rest of the stripe, so that what every hit reads lies close together.
    highest: Box<[AtomicU64]>,
    exact: Box<[Mutex<Exact>]>,
    caches: Mutex<CacheFloors>,
}

/// The floors of whole caches, by the hash of the cache's name.
#[derive(Debug, Default)]
struct CacheFloors {
    named: BTreeMap<u64, Arc<CacheFloor>>,
    /// The floor of everything: what newly made caches start with.
    all: Marks,
}

/// The floor of one whole cache.
#[derive(Debug, Default)]
pub(crate) struct CacheFloor {
    highest: AtomicU64,
    marks: Mutex<Marks>,
}

impl Floors {
    /// `stripes` is rounded up to a power of two.
    pub(crate) fn new(stripes: usize) -> Self {
        let stripes = stripes.next_power_of_two();
        Self {
            count: AtomicU64::new(1),
            applied: AtomicU64::new(0),
            highest: (0..stripes).map(|_| AtomicU64::new(0)).collect(),
            exact: (0..stripes).map(|_| Mutex::default()).collect(),
            origin: AtomicU64::new(0),
            caches: Mutex::default(),
        }
    }

    /// The floor of the cache whose name has that hash.
    pub(crate) fn of_cache(&self, cache: u64) -> Arc<CacheFloor> {
        let mut caches = lock(&self.caches);
        let marks = caches.all;
        let floor = caches.named.entry(cache).or_insert_with(|| {
            Arc::new(CacheFloor {
                highest: AtomicU64::new(marks.highest()),
                marks: Mutex::new(marks),
            })
        });
        Arc::clone(floor)
    }

    /// The token of a fill; take it before reading anything.
    pub(crate) fn token(&self) -> Token {
        // The origin first: whoever sees an epoch sees at least the position at which it was adopted.
        let origin = self.origin.load(Ordering::SeqCst);
        Token {
            local: self.count.load(Ordering::SeqCst),
            shared: self.applied(),
            origin,
        }
    }

    /// Adopts an epoch of the shared log, after its position was set; 0 gives up the present one.
    pub(crate) fn set_origin(&self, epoch: u64) {
        self.origin.store(epoch, Ordering::SeqCst);
    }

    /// The last record of the shared log that was applied.
    pub(crate) fn applied(&self) -> Version {
        Version(self.applied.load(Ordering::SeqCst))
    }

    /// Says that all records up to `version` are applied.
    pub(crate) fn set_applied(&self, version: Version) {
        self.applied.fetch_max(version.0, Ordering::SeqCst);
    }

    /// Whether nothing that covers the entry was invalidated since `local`; `false` may be wrong, and
    /// [`standing`](Self::standing) then knows. One load while nothing at all was invalidated since; else
    /// one more for the cache, the key and each tag.
    #[inline]
    pub(crate) fn passes(&self, cache: &CacheFloor, key: u64, tags: &[u64], local: u64) -> bool {
        self.count.load(Ordering::Acquire) <= local
            || cache.highest.load(Ordering::Acquire) <= local
                && self.highest(key) <= local
                && tags.iter().all(|tag| self.highest(*tag) <= local)
    }

    /// As [`passes`](Self::passes), and notes in `local` up to where the entry has passed: after an
    /// invalidation of something else only the first hit looks at more than the count.
    #[inline]
    pub(crate) fn admits(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        local: &AtomicU64,
    ) -> bool {
        let passed = local.load(Ordering::Relaxed);
        // Read before the floors: those up to this number are visible by now.
        let count = self.count.load(Ordering::Acquire);
        if count <= passed {
            return true;
        }
        let passes = self.passes(cache, key, tags, passed);
        if passes {
            // Should another reader note less at the same time, that is true as well.
            local.store(count, Ordering::Relaxed);
        }
        passes
    }

    /// How an entry of memory or disk stands.
    pub(crate) fn standing(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        local: u64,
    ) -> Standing {
        self.worst(cache, key, tags, Exact::of_key, |marks| marks.local(local))
    }

    /// How an entry stands that was found in memory just now, and that had passed
    /// [`standing`](Self::standing) since it was put there: removals that were followed by an eviction
    /// from memory need not be remembered for it.
    pub(crate) fn standing_in_memory(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        local: u64,
    ) -> Standing {
        self.worst(cache, key, tags, Exact::of_held_key, |marks| {
            marks.local(local)
        })
    }

    /// How an entry of a shared tier stands.
    pub(crate) fn standing_shared(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        version: Version,
    ) -> Standing {
        self.worst(cache, key, tags, Exact::of_key, |marks| {
            marks.shared(version)
        })
    }

    /// Takes the next number for an invalidation of this process, and returns it.
    pub(crate) fn raise(&self, target: Target, effect: Effect) -> u64 {
        self.change(target, effect, Version(0), kinds_of(target))
    }

    /// As [`raise`](Self::raise), for a key that the caller takes out of memory when this has returned.
    pub(crate) fn raise_and_evict(&self, key: u64, effect: Effect) -> u64 {
        self.change(Target::Key(key), effect, Version(0), Kinds::EVICTED)
    }

    /// Applies a record of the shared log that another process wrote.
    pub(crate) fn apply(&self, target: Target, effect: Effect, version: Version) -> u64 {
        self.change(target, effect, version, kinds_of(target))
    }

    /// Notes the shared version of an invalidation that this process has raised before.
    pub(crate) fn confirm(&self, target: Target, effect: Effect, version: Version) {
        let mut marks = Marks::default();
        marks.rise(effect, 0, version);
        // Says nothing of memory: what it confirms did.
        let kinds = match target {
            Target::Key(_) => Kinds::EVICTED,
            other => kinds_of(other),
        };
        self.restore(target, marks, kinds);
    }

    /// Brings back marks that were kept across a restart.
    pub(super) fn restore_saved(&self, saved: Saved, marks: Marks) {
        match saved {
            Saved::Hash(hash) => self.restore(Target::Key(hash), marks, Kinds::ANY),
            Saved::Cache(cache) => self.restore(Target::Cache(cache), marks, Kinds::ANY),
            Saved::All => self.restore(Target::All, marks, Kinds::ANY),
            Saved::Stripe(index) => {
                let stripe = self.stripe(index);
                let mut exact = lock(&self.exact[stripe]);
                exact.forget(marks, Kinds::ANY);
                self.highest[stripe].fetch_max(marks.highest(), Ordering::SeqCst);
                self.count.fetch_max(marks.highest(), Ordering::SeqCst);
            }
        }
    }

    /// All marks of this process that are above zero.
    pub(super) fn saved(&self) -> Vec<(Saved, Marks)> {
        let mut saved = Vec::new();
        for (index, exact) in self.exact.iter().enumerate() {
            let exact = lock(exact);
            saved.push((Saved::Stripe(index as u64), exact.forgotten()));
            let recent = exact.recent.iter();
            saved.extend(recent.map(|own| (Saved::Hash(own.hash), own.marks)));
        }
        let caches = lock(&self.caches);
        saved.push((Saved::All, caches.all));
        for (cache, floor) in &caches.named {
            saved.push((Saved::Cache(*cache), *lock(&floor.marks)));
        }
        drop(caches);
        saved.retain(|(_, marks)| marks.highest() > 0);
        saved
    }

    /// Leaves out that many numbers.
    pub(super) fn skip(&self, numbers: u64) {
        self.count.fetch_add(numbers, Ordering::SeqCst);
    }

    /// The size of the table.
    pub(super) fn stripes(&self) -> usize {
        self.exact.len()
    }

    /// How many floors there can be, those of whole caches aside.
    pub(super) fn capacity(&self) -> usize {
        self.exact.len() * (RECENT + 1)
    }

    /// Raises floors without taking a number.
    fn restore(&self, target: Target, marks: Marks, kinds: Kinds) {
        match target {
            Target::Key(hash) | Target::Tag(hash) => {
                let stripe = self.stripe(hash);
                let mut exact = lock(&self.exact[stripe]);
                exact.rise(hash, marks, kinds);
                self.highest[stripe].fetch_max(marks.highest(), Ordering::SeqCst);
            }
            Target::Cache(cache) => self.of_cache(cache).rise(marks),
            Target::All => {
                let mut caches = lock(&self.caches);
                caches.all.merge(marks);
                for floor in caches.named.values() {
                    floor.rise(marks);
                }
            }
        }
        // Last, as in `number`: no token may reach a floor that is not visible.
        self.count.fetch_max(marks.highest(), Ordering::SeqCst);
    }

    fn change(&self, target: Target, effect: Effect, version: Version, kinds: Kinds) -> u64 {
        match target {
            Target::Key(hash) | Target::Tag(hash) => {
                let stripe = self.stripe(hash);
                let mut exact = lock(&self.exact[stripe]);
                self.number(|number| {
                    let mut marks = Marks::default();
                    marks.rise(effect, number, version);
                    exact.rise(hash, marks, kinds);
                    self.highest[stripe].fetch_max(number, Ordering::SeqCst);
                })
            }
            Target::Cache(cache) => {
                let floor = self.of_cache(cache);
                self.number(|number| floor.rise_to(effect, number, version))
            }
            Target::All => {
                let mut caches = lock(&self.caches);
                self.number(|number| {
                    caches.all.rise(effect, number, version);
                    for floor in caches.named.values() {
                        floor.rise_to(effect, number, version);
                    }
                })
            }
        }
    }

    /// Runs `rise` with a number that is above every token given out before `rise` was done.
    ///
    /// The floor is visible before any token reaches its number: whoever holds such a token sees the
    /// floor in whatever it reads next. If others took the number meanwhile, it is done again higher.
    fn number(&self, mut rise: impl FnMut(u64)) -> u64 {
        loop {
            let before = self.count.load(Ordering::SeqCst);
            rise(before + 1);
            let taken =
                self.count
                    .compare_exchange(before, before + 1, Ordering::SeqCst, Ordering::SeqCst);
            if taken.is_ok() {
                return before + 1;
            }
        }
    }

    fn worst(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        of_key: impl Fn(&Exact, u64) -> Marks,
        of: impl Fn(Marks) -> Standing,
    ) -> Standing {
        let key = of(of_key(&lock(&self.exact[self.stripe(key)]), key));
        let tags = tags
            .iter()
            .map(|tag| of(lock(&self.exact[self.stripe(*tag)]).of_tag(*tag)));
        tags.fold(of(*lock(&cache.marks)).max(key), Standing::max)
    }

    #[inline]
    fn highest(&self, hash: u64) -> u64 {
        self.highest[self.stripe(hash)].load(Ordering::Acquire)
    }

    #[inline]
    fn stripe(&self, hash: u64) -> usize {
        // The mask keeps the index inside both tables, on 32-bit targets too.
        hash as usize & (self.highest.len() - 1)
    }
}

impl CacheFloor {
    fn rise_to(&self, effect: Effect, local: u64, shared: Version) {
        let mut marks = Marks::default();
        marks.rise(effect, local, shared);
        self.rise(marks);
    }

    fn rise(&self, marks: Marks) {
        let mut own = lock(&self.marks);
        own.merge(marks);
        self.highest.fetch_max(marks.highest(), Ordering::SeqCst);
    }
}

impl fmt::Debug for Floors {
    /// Without the table: it has thousands of stripes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floors")
            .field("count", &self.count)
            .field("applied", &self.applied)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

fn kinds_of(target: Target) -> Kinds {
    match target {
        Target::Tag(_) => Kinds::TAG,
        Target::Key(_) | Target::Cache(_) | Target::All => Kinds::KEY,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
