//! One observer: called with its panics caught and its time taken.

use std::cell::Cell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::event::{Event, Observer};
use crate::guard::quietly;

pub(super) struct Entry {
    observer: Box<dyn Observer>,
    name: &'static str,
    added_at: &'static Location<'static>,
    panicked: AtomicBool,
    named_slow: AtomicBool,
}

impl Entry {
    pub(super) fn new<O: Observer>(observer: O, added_at: &'static Location<'static>) -> Self {
        Self {
            observer: Box::new(observer),
            name: std::any::type_name::<O>(),
            added_at,
            panicked: AtomicBool::new(false),
            named_slow: AtomicBool::new(false),
        }
    }

    fn call(&self, event: &Event<'_>) {
        // It is never called again after a panic, so nobody sees what the panic left half done.
        let well = quietly(|| self.observer.on_event(event));
        if !well && !self.panicked.swap(true, Ordering::Relaxed) {
            self.warn("an observer of the graph panicked and is not called again");
        }
    }

    #[cold]
    fn is_slow(&self, took: Duration) {
        if !self.named_slow.swap(true, Ordering::Relaxed) {
            let (observer, added_at) = (self.name, self.added_at);
            let message = "an observer of the graph holds it up; more such calls are not named";
            quietly(|| warn!(observer, %added_at, ?took, "{message}"));
        }
    }

    #[cold]
    fn warn(&self, message: &str) {
        let (observer, added_at) = (self.name, self.added_at);
        quietly(|| warn!(observer, %added_at, "{message}"));
    }
}

/// Calls each of `list` in turn.
pub(super) fn call(list: &[Entry], event: &Event<'_>) {
    let mut before = Instant::now();
    for entry in list {
        if entry.panicked.load(Ordering::Relaxed) {
            continue;
        }
        entry.call(event);
        let after = Instant::now();
        let took = after.saturating_duration_since(before);
        if took > SLOW {
            entry.is_slow(took);
        }
        before = after;
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, code of observers runs on this thread.
pub(super) struct Inside(());

impl Inside {
    pub(super) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }

    /// Whether this thread runs code of an observer, which must wait for nothing that another observer may hold up.
    pub(super) fn is() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Longer than this, an observer holds up the start noticeably.
const SLOW: Duration = Duration::from_millis(1);
