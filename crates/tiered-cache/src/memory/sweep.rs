//! Expired entries leave in slices: a walk over the tier that stops wherever its caller has had enough.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::{
    Entries,
    kept::{Kept, Totals},
};
use crate::key::CacheKey;

/// The walk and what it is told.
///
/// quick_cache's iterator borrows the cache, so it cannot be kept beside it. It can be kept inside an
/// async block, which is paused at each slice's end and never waits for anything.
pub(super) struct Sweep<K, V> {
    walk: Mutex<Option<Walk>>,
    order: Arc<Order>,
    of: std::marker::PhantomData<fn(K, V)>,
}

type Walk = Pin<Box<dyn Future<Output = Infallible> + Send>>;

/// Used under the lock of the walk only.
#[derive(Debug, Default)]
struct Order {
    now_ms: AtomicU64,
    left: AtomicUsize,
    removed: AtomicUsize,
}

impl<K: CacheKey, V: Send + Sync + 'static> Sweep<K, V> {
    pub(super) fn slice(
        &self,
        entries: &Arc<Entries<K, V>>,
        totals: &Arc<Totals>,
        now_ms: u64,
        at_most: usize,
    ) -> usize {
        let mut place = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        let order = &self.order;
        order.now_ms.store(now_ms, Ordering::Relaxed);
        order.left.store(at_most.max(1), Ordering::Relaxed);
        order.removed.store(0, Ordering::Relaxed);
        // Taken out meanwhile: should a key's or value's own code panic, the next call begins anew.
        let mut current = place.take().unwrap_or_else(|| {
            Box::pin(walk(
                Arc::clone(entries),
                Arc::clone(totals),
                Arc::clone(order),
            ))
        });
        let paused = current
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        debug_assert!(paused.is_pending());
        *place = Some(current);
        order.removed.load(Ordering::Relaxed)
    }
}

async fn walk<K: CacheKey, V: Send + Sync + 'static>(
    entries: Arc<Entries<K, V>>,
    totals: Arc<Totals>,
    order: Arc<Order>,
) -> Infallible {
    loop {
        for (key, kept) in entries.iter() {
            let now_ms = order.now_ms.load(Ordering::Relaxed);
            let expired = |kept: &Kept<V>| kept.slot().meta().times.over(now_ms);
            if expired(&kept)
                // Only if it still is: a fresh one may have come in meanwhile.
                && let Some((_, removed)) = entries.remove_if(&key, expired)
            {
                totals.subtract(&removed);
                order.removed.fetch_add(1, Ordering::Relaxed);
            }
            // Not kept over the pause: the value is not the walk's.
            drop((key, kept));
            if order.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                pause().await;
            }
        }
        pause().await;
    }
}

async fn pause() {
    let mut paused = false;
    poll_fn(|_| {
        if std::mem::replace(&mut paused, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

impl<K, V> Default for Sweep<K, V> {
    fn default() -> Self {
        Self {
            walk: Mutex::default(),
            order: Arc::default(),
            of: std::marker::PhantomData,
        }
    }
}
