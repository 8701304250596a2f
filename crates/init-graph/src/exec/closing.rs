//! Whether a start goes on: it is open, closed for good, or handed over to a running graph.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// Shared by all who may end a start, so that exactly one thing happens first.
#[derive(Default)]
pub(crate) struct Closing {
    state: AtomicU8,
    /// Cancelled with the first reason to begin nothing more.
    closed: CancellationToken,
    /// Drops what still runs at its current await.
    cut: CancellationToken,
    winding_down: AtomicBool,
}

impl Closing {
    /// One that tells by `closed` that nothing begins any more.
    pub(crate) fn of(closed: CancellationToken) -> Self {
        Self {
            closed,
            ..Self::default()
        }
    }

    /// Whether nothing begins any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state.load(Ordering::Acquire), CLOSED | ENDED)
    }

    /// Whether what fails now fails because of the end, and not the other way round.
    pub(crate) fn is_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == ENDED
    }

    /// Whether whoever waits for [`closed`](Self::closed) has been told, which may be a little earlier.
    pub(crate) fn is_told(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Lets nothing begin any more; false when the start was handed over before, which only
    /// [`close`](Self::close) ends.
    pub(crate) fn give_up(&self) -> bool {
        let before = self
            .state
            .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        if before == Err(HANDED_OVER) {
            return false;
        }
        self.closed.cancel();
        true
    }

    /// Lets the start go on without anybody who waits for it; false when it was given up before.
    pub(crate) fn hand_over(&self) -> bool {
        self.state
            .compare_exchange(OPEN, HANDED_OVER, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Lets nothing begin any more, also not in a running graph.
    pub(crate) fn close(&self) {
        self.state.store(ENDED, Ordering::Release);
        self.closed.cancel();
    }

    /// Waits until nothing begins any more.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// True for the first who asks.
    pub(crate) fn wind_down(&self) -> bool {
        !self.winding_down.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn cut_off(&self) {
        self.cut.cancel();
    }

    pub(crate) fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const HANDED_OVER: u8 = 2;
const ENDED: u8 = 3;
