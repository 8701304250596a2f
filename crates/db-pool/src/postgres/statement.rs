//! One statement under way: noticed when it is dropped unfinished, and sent again when only its plan was stale.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use diesel::QueryResult;
use diesel::result::Error;
use futures_core::future::BoxFuture;

use super::again::{Again, take_refused};
use super::driver::State;
use super::wire::Wire;
use crate::class::ErrorClass;
use crate::observe::Ticket;

/// A statement; dropping it unfinished leaves the connection to be repaired.
#[expect(
    unnameable_types,
    reason = "an associated type that nobody needs to name"
)]
pub struct Watched<'conn, R> {
    state: &'conn State,
    statement: BoxFuture<'conn, QueryResult<R>>,
    /// How to plan and send it anew, where sending it twice is safe and may be needed.
    again: Option<Again<'conn, R>>,
    begun: bool,
    /// Dropped, it tells that the statement is over, answered or not.
    _ticket: Option<Ticket>,
}

impl<'conn, R> Watched<'conn, R> {
    pub(super) fn new(
        state: &'conn State,
        ticket: Option<Ticket>,
        again: Option<Again<'conn, R>>,
        statement: BoxFuture<'conn, QueryResult<R>>,
    ) -> Self {
        if again.is_some() {
            state.wire.begin_healing();
        }
        Self {
            state,
            statement,
            again,
            begun: false,
            _ticket: ticket,
        }
    }

    /// The statement once more, if it has attempts left.
    fn once_more(&mut self, refused: Option<String>) -> Option<BoxFuture<'conn, QueryResult<R>>> {
        let next = self.again.as_mut()?.make(refused);
        if self.again.as_ref().is_some_and(Again::is_used_up) {
            self.again = None;
            // Its next failure is told.
            self.state.wire.end_healing();
        }
        next
    }
}

impl<R> Future for Watched<'_, R> {
    type Output = QueryResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.begun = true;
        loop {
            let result = std::task::ready!(this.statement.as_mut().poll(cx));
            // The server refused the plan before it did anything, so nothing is done twice.
            if let Err(error) = &result
                && this.again.is_some()
                && is_stale(&this.state.wire, error)
                && let Some(next) = this.once_more(take_refused())
            {
                this.statement = next;
                continue;
            }
            return Poll::Ready(this.state.explain(result));
        }
    }
}

impl<R> Drop for Watched<'_, R> {
    fn drop(&mut self) {
        if self.again.is_some() {
            self.state.wire.end_healing();
        }
        // It was announced when it was made, and never sent.
        if !self.begun {
            self.state.wire.finished();
        }
    }
}

impl<R> fmt::Debug for Watched<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

/// Whether a statement failed only because its plan was stale: by its text, and in other languages by what the server
/// said last.
pub(super) fn is_stale(wire: &Wire, error: &Error) -> bool {
    ErrorClass::of(error) == ErrorClass::StalePlan || wire.failed_by_stale_plan()
}
