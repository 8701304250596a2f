//! Keys that are fetched together: one answer that all who wait for it share, and one waker for each of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::error::LoaderError;

/// What became of a batch.
pub(super) type Answer<K, V> = Result<HashMap<K, V>, LoaderError>;

pub(super) struct Batch<K, V> {
    answer: OnceLock<Answer<K, V>>,
    wakers: Mutex<Vec<Waker>>,
}

impl<K, V> Batch<K, V> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: OnceLock::new(),
            wakers: Mutex::default(),
        })
    }

    /// Tells all who wait; the first answer stands.
    pub(super) fn tell(&self, answer: Answer<K, V>) {
        if self.answer.set(answer).is_err() {
            return;
        }
        // Set before: who comes now sees the answer and leaves no waker.
        let wakers = std::mem::take(&mut *self.wakers());
        for waker in wakers {
            waker.wake();
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.answer.get(), Some(Err(_)))
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for one key of a batch.
pub(super) struct Seat<K, V> {
    batch: Arc<Batch<K, V>>,
    key: K,
    /// Where the waker is.
    waker: Option<usize>,
}

impl<K: Eq + Hash, V: Clone> Seat<K, V> {
    pub(super) fn new(batch: Arc<Batch<K, V>>, key: K) -> Self {
        Self {
            batch,
            key,
            waker: None,
        }
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Option<V>, LoaderError>> {
        if self.batch.answer.get().is_none() {
            let mut wakers = self.batch.wakers();
            // Looked at again under the lock, after which the wakers are taken out.
            if self.batch.answer.get().is_none() {
                match self.waker.and_then(|at| wakers.get_mut(at)) {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => {
                        self.waker = Some(wakers.len());
                        wakers.push(cx.waker().clone());
                    }
                }
                return Poll::Pending;
            }
        }
        match self.batch.answer.get() {
            Some(Ok(values)) => Poll::Ready(Ok(values.get(&self.key).cloned())),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => Poll::Pending,
        }
    }
}
