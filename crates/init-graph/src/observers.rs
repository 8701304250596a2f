//! Hands events to the observers, and keeps their panics away from the graph.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::{Event, Observer};

#[derive(Default)]
pub(crate) struct Observers {
    list: Vec<Entry>,
}

struct Entry {
    observer: Box<dyn Observer>,
    panicked: AtomicBool,
}

impl Observers {
    pub(crate) fn push(&mut self, observer: impl Observer) {
        self.list.push(Entry {
            observer: Box::new(observer),
            panicked: AtomicBool::new(false),
        });
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        for entry in &self.list {
            if entry.panicked.load(Ordering::Relaxed) {
                continue;
            }
            // It is never called again after a panic, so nobody sees what the panic left half done.
            if catch_unwind(AssertUnwindSafe(|| entry.observer.on_event(event))).is_err() {
                entry.panicked.store(true, Ordering::Relaxed);
                tracing::warn!("an observer of the graph panicked and is not called again");
            }
        }
    }
}
