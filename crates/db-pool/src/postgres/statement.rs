//! One statement under way: noticed when it is dropped unfinished, and sent once more when only its plan was stale.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use futures_core::future::BoxFuture;

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
    /// The same, to be planned anew.
    again: Option<BoxFuture<'conn, QueryResult<R>>>,
    begun: bool,
    /// Dropped, it tells that the statement is over, answered or not.
    _ticket: Option<Ticket>,
}

impl<'conn, R> Watched<'conn, R> {
    /// `again` is the statement once more, made by [`in_reserve`], where sending it twice is safe and may be needed.
    pub(super) fn new(
        state: &'conn State,
        ticket: Option<Ticket>,
        again: Option<BoxFuture<'conn, QueryResult<R>>>,
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
}

impl<R> Future for Watched<'_, R> {
    type Output = QueryResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.begun = true;
        let mut result = std::task::ready!(this.statement.as_mut().poll(cx));
        // The server refused the plan before it did anything, so nothing is done twice.
        if let Err(error) = &result
            && this.again.is_some()
            && is_stale(&this.state.wire, error)
            && let Some(again) = this.again.take()
        {
            this.state.wire.end_healing();
            this.statement = again;
            result = std::task::ready!(this.statement.as_mut().poll(cx));
        }
        Poll::Ready(this.state.explain(result))
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

/// Makes a statement that may never be sent, so that nobody is told of it.
pub(super) fn in_reserve<R>(make: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_RESERVE.set(false);
        }
    }
    IN_RESERVE.set(true);
    let _reset = Reset;
    make()
}

/// Whether this thread is inside of [`in_reserve`].
pub(super) fn is_in_reserve() -> bool {
    IN_RESERVE.get()
}

thread_local! {
    static IN_RESERVE: Cell<bool> = const { Cell::new(false) };
}

/// A query that is prepared for itself alone, whatever the cache of statements holds.
pub(super) struct Uncached<'a, Q>(pub(super) &'a Q);

impl<Q: Query> Query for Uncached<'_, Q> {
    type SqlType = Q::SqlType;
}

impl<Q> QueryId for Uncached<'_, Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Uncached<'_, Q> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> Result<(), Error> {
        pass.unsafe_to_cache_prepared();
        self.0.walk_ast(pass.reborrow())
    }
}
