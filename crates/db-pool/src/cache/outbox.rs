//! Tables that other processes have yet to hear of: filled by whoever commits, emptied by the task that talks to the
//! bus.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::knowledge::Tables;
use super::ledger::Writing;

#[derive(Default)]
pub(super) struct Outbox {
    /// Without a bus nobody would ever empty it.
    open: AtomicBool,
    waiting: Mutex<Option<Writing>>,
    filled: Notify,
}

impl Outbox {
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    pub(super) fn tell(&self, writing: &Writing) {
        if !self.open.load(Ordering::Acquire) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all = waiting.get_or_insert_with(Writing::nothing);
        all.add(writing);
        if matches!(&all.tables, Tables::Only(names) if names.len() > NAMES_MAX) {
            all.tables = Tables::All;
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Everything told since the last call; waits for something.
    ///
    /// Cancel-safe: taking is the last step.
    pub(super) async fn take(&self) -> Writing {
        loop {
            let filled = self.filled.notified();
            let taken = self
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(writing) = taken {
                return writing;
            }
            filled.await;
        }
    }
}

/// More than that are told as "all tables".
const NAMES_MAX: usize = 500;
