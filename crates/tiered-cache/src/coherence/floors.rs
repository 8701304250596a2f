//! Floors: what decides, on every read, whether an entry is older than an invalidation that covers it.
//!
//! A floor has marks in two spaces: the count of this process, for entries of memory and disk, and the
//! version of the shared log, for entries of Redis. Marks only rise.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Effect, Standing, Target, Token, Version};

/// All floors of one `Caches`: a bounded table, never a map per key.
#[derive(Debug)]
pub(crate) struct Floors {
    /// The last number given out; tokens are read from it.
    count: AtomicU64,
    /// The last record of the shared log that was applied.
    applied: AtomicU64,
    /// The epoch of the log that `applied` belongs to.
    origin: AtomicU64,
    stripes: Box<[Stripe]>,
    caches: Mutex<CacheFloors>,
}

/// The floors of whole caches, by the hash of the cache's name.
#[derive(Debug, Default)]
struct CacheFloors {
    named: BTreeMap<u64, Arc<CacheFloor>>,
    /// The floor of everything: what newly made caches start with.
    all: Marks,
}

/// The floors of the keys and tags whose hashes end alike.
#[derive(Debug, Default)]
struct Stripe {
    /// The highest local mark of the stripe, readable without its lock.
    highest: AtomicU64,
    exact: Mutex<Exact>,
}

/// The latest few floors each by itself, all older ones as one.
///
/// An invalidation that is forgotten raises the common floor, which turns away older copies of the
/// other keys too. That costs a reload, never a wrong value.
#[derive(Debug, Default)]
struct Exact {
    common: Marks,
    recent: [(u64, Marks); RECENT],
}

/// Entries below a mark are removed or expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) removed: u64,
    pub(crate) expired: u64,
    pub(crate) removed_shared: Version,
    pub(crate) expired_shared: Version,
}

/// What marks that are kept across a restart belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    /// A key or tag.
    Hash(u64),
    /// All that a stripe has forgotten, by its index.
    Stripe(u64),
    Cache(u64),
    All,
}

/// The floor of one whole cache.
#[derive(Debug, Default)]
pub(crate) struct CacheFloor {
    highest: AtomicU64,
    marks: Mutex<Marks>,
}

impl From<Target> for Saved {
    fn from(target: Target) -> Self {
        match target {
            Target::Key(hash) | Target::Tag(hash) => Self::Hash(hash),
            Target::Cache(cache) => Self::Cache(cache),
            Target::All => Self::All,
        }
    }
}

impl Marks {
    /// Those of one invalidation of this process.
    pub(super) fn local_only(effect: Effect, number: u64) -> Self {
        let mut marks = Self::default();
        marks.rise(effect, number, Version(0));
        marks
    }

    fn rise(&mut self, effect: Effect, local: u64, shared: Version) {
        match effect {
            Effect::Remove => {
                self.removed = self.removed.max(local);
                self.removed_shared = self.removed_shared.max(shared);
            }
            Effect::Expire => {
                self.expired = self.expired.max(local);
                self.expired_shared = self.expired_shared.max(shared);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.rise(Effect::Remove, other.removed, other.removed_shared);
        self.rise(Effect::Expire, other.expired, other.expired_shared);
    }

    fn highest(self) -> u64 {
        self.removed.max(self.expired)
    }

    /// Orders marks by when they were last raised; some have risen in the shared log only.
    fn age(self) -> (u64, Version) {
        let shared = self.removed_shared.max(self.expired_shared);
        (self.highest(), shared)
    }

    fn local(self, number: u64) -> Standing {
        standing(number < self.removed, number < self.expired)
    }

    fn shared(self, version: Version) -> Standing {
        standing(version < self.removed_shared, version < self.expired_shared)
    }
}

fn standing(removed: bool, expired: bool) -> Standing {
    match (removed, expired) {
        (true, _) => Standing::Removed,
        (false, true) => Standing::Expired,
        (false, false) => Standing::Valid,
    }
}

impl Exact {
    fn of(&self, hash: u64) -> Marks {
        let mut marks = self.common;
        if let Some((_, own)) = self.recent.iter().find(|(own, _)| *own == hash) {
            marks.merge(*own);
        }
        marks
    }

    fn rise(&mut self, hash: u64, marks: Marks) {
        if let Some((_, own)) = self.recent.iter_mut().find(|(own, _)| *own == hash) {
            own.merge(marks);
            return;
        }
        let oldest = self.recent.iter_mut().min_by_key(|(_, marks)| marks.age());
        let Some(oldest) = oldest else { return };
        // A replay may bring one that is older than all that are known.
        if marks.age() >= oldest.1.age() {
            let forgotten = std::mem::replace(oldest, (hash, marks)).1;
            self.common.merge(forgotten);
        } else {
            self.common.merge(marks);
        }
    }
}

impl Floors {
    /// `stripes` is rounded up to a power of two.
    pub(crate) fn new(stripes: usize) -> Self {
        let stripes = stripes.next_power_of_two();
        Self {
            count: AtomicU64::new(1),
            applied: AtomicU64::new(0),
            stripes: (0..stripes).map(|_| Stripe::default()).collect(),
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

    /// The epoch that entries of shared tiers must name; 0 while there is none to trust.
    pub(crate) fn origin(&self) -> u64 {
        self.origin.load(Ordering::SeqCst)
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
    /// [`standing`](Self::standing) then knows. One load for the cache, the key and each tag.
    #[inline]
    pub(crate) fn passes(&self, cache: &CacheFloor, key: u64, tags: &[u64], local: u64) -> bool {
        cache.highest.load(Ordering::Acquire) <= local
            && self.highest(key) <= local
            && tags.iter().all(|tag| self.highest(*tag) <= local)
    }

    /// How an entry of memory or disk stands.
    pub(crate) fn standing(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        local: u64,
    ) -> Standing {
        self.worst(cache, key, tags, |marks| marks.local(local))
    }

    /// How an entry of a shared tier stands.
    pub(crate) fn standing_shared(
        &self,
        cache: &CacheFloor,
        key: u64,
        tags: &[u64],
        version: Version,
    ) -> Standing {
        self.worst(cache, key, tags, |marks| marks.shared(version))
    }

    /// Takes the next number for an invalidation of this process, and returns it.
    pub(crate) fn raise(&self, target: Target, effect: Effect) -> u64 {
        self.change(target, effect, Version(0))
    }

    /// Applies a record of the shared log that another process wrote.
    pub(crate) fn apply(&self, target: Target, effect: Effect, version: Version) -> u64 {
        self.change(target, effect, version)
    }

    /// Notes the shared version of an invalidation that this process has raised before.
    pub(crate) fn confirm(&self, target: Target, effect: Effect, version: Version) {
        let mut marks = Marks::default();
        marks.rise(effect, 0, version);
        self.restore(target, marks);
    }

    /// Brings back marks that were kept across a restart.
    pub(super) fn restore_saved(&self, saved: Saved, marks: Marks) {
        match saved {
            Saved::Hash(hash) => self.restore(Target::Key(hash), marks),
            Saved::Cache(cache) => self.restore(Target::Cache(cache), marks),
            Saved::All => self.restore(Target::All, marks),
            Saved::Stripe(index) => {
                self.count.fetch_max(marks.highest(), Ordering::SeqCst);
                let stripe = self.stripe(index);
                let mut exact = lock(&stripe.exact);
                exact.common.merge(marks);
                stripe.highest.fetch_max(marks.highest(), Ordering::SeqCst);
            }
        }
    }

    /// All marks of this process that are above zero.
    pub(super) fn saved(&self) -> Vec<(Saved, Marks)> {
        let mut saved = Vec::new();
        for (index, stripe) in self.stripes.iter().enumerate() {
            let exact = lock(&stripe.exact);
            saved.push((Saved::Stripe(index as u64), exact.common));
            let recent = exact.recent.iter();
            saved.extend(recent.map(|(hash, marks)| (Saved::Hash(*hash), *marks)));
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
        self.stripes.len()
    }

    /// How many floors there can be, those of whole caches aside.
    pub(super) fn capacity(&self) -> usize {
        self.stripes.len() * (RECENT + 1)
    }

    /// Raises floors without taking a number.
    fn restore(&self, target: Target, marks: Marks) {
        self.count.fetch_max(marks.highest(), Ordering::SeqCst);
        match target {
            Target::Key(hash) | Target::Tag(hash) => {
                let stripe = self.stripe(hash);
                let mut exact = lock(&stripe.exact);
                exact.rise(hash, marks);
                stripe.highest.fetch_max(marks.highest(), Ordering::SeqCst);
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
    }

    fn change(&self, target: Target, effect: Effect, version: Version) -> u64 {
        match target {
            Target::Key(hash) | Target::Tag(hash) => {
                let stripe = self.stripe(hash);
                let mut exact = lock(&stripe.exact);
                self.number(|number| {
                    let mut marks = Marks::default();
                    marks.rise(effect, number, version);
                    exact.rise(hash, marks);
                    stripe.highest.fetch_max(number, Ordering::SeqCst);
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
        of: impl Fn(Marks) -> Standing,
    ) -> Standing {
        let hashes = std::iter::once(key).chain(tags.iter().copied());
        let floors = hashes.map(|hash| of(lock(&self.stripe(hash).exact).of(hash)));
        floors.fold(of(*lock(&cache.marks)), Standing::max)
    }

    #[inline]
    fn highest(&self, hash: u64) -> u64 {
        self.stripe(hash).highest.load(Ordering::Acquire)
    }

    #[inline]
    fn stripe(&self, hash: u64) -> &Stripe {
        // The mask keeps the index inside the table, on 32-bit targets too.
        &self.stripes[hash as usize & (self.stripes.len() - 1)]
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Floors of single keys and tags per stripe.
const RECENT: usize = 4;
