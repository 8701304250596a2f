//! One request in flight: counted in when made, counted out exactly once, whatever happens.

use std::sync::Arc;

use tokio::time::Instant;

use super::endpoint::{Endpoint, Outcome};
use super::store::Store;

/// The proof that a request was counted in. Dropping it counts the request out.
#[derive(Debug)]
pub(crate) struct InFlight {
    store: Arc<Store>,
    endpoint: Arc<Endpoint>,
    method: usize,
    started: Instant,
    /// The status that was sent; `None` before the head.
    status: Option<u16>,
    /// Set while foreign code runs: still set in `drop`, it means that this code panicked.
    ///
    /// `std::thread::panicking` would not do: a layer outside that catches panics drops the future
    /// after the unwinding.
    is_inside: bool,
    is_counted: bool,
}

impl InFlight {
    pub(crate) fn new(store: Arc<Store>, method: usize, route: &str) -> Self {
        let endpoint = store.begin(method, route);
        Self {
            store,
            endpoint,
            method,
            started: Instant::now(),
            status: None,
            is_inside: false,
            is_counted: false,
        }
    }

    /// Runs foreign code that may panic.
    pub(crate) fn run<T>(&mut self, foreign: impl FnOnce() -> T) -> T {
        self.is_inside = true;
        let result = foreign();
        self.is_inside = false;
        result
    }

    pub(crate) fn head_sent(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Counts the request out; a second call does nothing.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let status = self.status.unwrap_or(match outcome {
            Outcome::Aborted => CLIENT_CLOSED_REQUEST,
            _ => INTERNAL_SERVER_ERROR,
        });
        let took = self.started.elapsed();
        self.store
            .end(&self.endpoint, self.method, status, outcome, took);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.finish(if self.is_inside {
            Outcome::Panic
        } else {
            Outcome::Aborted
        });
    }
}

/// The status that nginx made usual for a client that went away before the answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// What a client sees, or would see, of a failed service.
const INTERNAL_SERVER_ERROR: u16 = 500;
