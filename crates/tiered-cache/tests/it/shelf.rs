//! A tier of the tests' own: a map that counts what it is asked for, and fails when it is told to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tiered_cache::{Effect, EntryKey, Sealed, Tier, TierError, TierKind, TierScope, Version};

#[derive(Debug)]
pub(crate) struct Shelf {
    kind: TierKind,
    entries: Mutex<HashMap<u64, Bytes>>,
    /// How many keys each call asked for.
    asked: Mutex<Vec<usize>>,
    reads: AtomicUsize,
    failing: AtomicBool,
}

impl Shelf {
    pub(crate) fn new(kind: TierKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            entries: Mutex::default(),
            asked: Mutex::default(),
            reads: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
        })
    }

    /// How many keys were asked for.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(SeqCst)
    }

    /// How many keys each call asked for since this was asked last.
    pub(crate) fn calls(&self) -> Vec<usize> {
        std::mem::take(&mut *lock(&self.asked))
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, SeqCst);
    }

    /// Puts other bytes in place of those of every entry.
    pub(crate) fn spoil(&self, spoiled: impl Fn(&[u8]) -> Vec<u8>) {
        for bytes in lock(&self.entries).values_mut() {
            *bytes = spoiled(bytes).into();
        }
    }

    fn look(&self, keys: &[EntryKey]) -> Vec<Result<Option<Bytes>, TierError>> {
        self.reads.fetch_add(keys.len(), SeqCst);
        lock(&self.asked).push(keys.len());
        let entries = lock(&self.entries);
        let one = |key: &EntryKey| {
            if self.failing.load(SeqCst) {
                return Err(TierError::TimedOut);
            }
            Ok(entries.get(&key.hash).cloned())
        };
        keys.iter().map(one).collect()
    }
}

impl Tier for Shelf {
    fn kind(&self) -> TierKind {
        self.kind
    }

    fn scope(&self) -> TierScope {
        TierScope::Process
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        async move { self.look(std::slice::from_ref(key)).swap_remove(0) }.boxed()
    }

    fn read_many<'a>(
        &'a self,
        keys: &'a [EntryKey],
    ) -> BoxFuture<'a, Vec<Result<Option<Bytes>, TierError>>> {
        async move { self.look(keys) }.boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        _: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        async move {
            lock(&self.entries).insert(key.hash, entry.bytes);
            Ok(true)
        }
        .boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        _: Effect,
        _: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        async move {
            lock(&self.entries).remove(&key.hash);
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
