//! One statement on a lane: waits for its place if it must, runs, teaches its pace, and leaves nothing behind when
//! dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};
use futures_core::future::BoxFuture;
use futures_util::stream;
use tokio::time::Instant;

use super::desk::Place;
use super::learned::Known;
use super::line::Line;
use crate::backend::Backend;
use crate::class::ErrorClass;
use crate::error::AcquireError;

/// What a statement on a lane loads: all rows are there, as whoever lets rows wait would hold up all others.
pub(crate) type Rows<R> = stream::Iter<std::vec::IntoIter<QueryResult<R>>>;
/// What the backend makes of a statement.
pub(crate) type Answer<'conn, R> = BoxFuture<'conn, QueryResult<Vec<QueryResult<R>>>>;
pub(super) type Queueing = BoxFuture<'static, Result<Place, AcquireError>>;

/// A statement on a lane; dropping it leaves the lane as it was, and the answer to nobody.
#[expect(
    unnameable_types,
    reason = "an associated type that nobody needs to name"
)]
pub struct Reading<'conn, B: Backend>(Step<'conn, B>);

enum Step<'conn, B: Backend> {
    /// It will not run; the reason until it was told.
    Refused(Option<Error>),
    /// On a connection that nobody shares.
    Alone(Answer<'conn, B::Row>),
    Shared(Statement<'conn, B>),
}

pub(super) struct Statement<'conn, B: Backend> {
    line: &'conn Arc<Line<B>>,
    answer: Answer<'conn, B::Row>,
    known: Arc<Known>,
    turn: Turn,
}

/// How far a statement is.
pub(super) enum Turn {
    Queueing(Queueing),
    Ready(Place),
    /// Sent; also while the answer is being read.
    Running(Place),
    Over,
}

impl<'conn, B: Backend> Reading<'conn, B> {
    pub(super) fn refused(error: Error) -> Self {
        Self(Step::Refused(Some(error)))
    }

    pub(super) fn alone(answer: Answer<'conn, B::Row>) -> Self {
        Self(Step::Alone(answer))
    }

    pub(super) fn shared(statement: Statement<'conn, B>) -> Self {
        Self(Step::Shared(statement))
    }
}

impl<B: Backend> Future for Reading<'_, B> {
    type Output = QueryResult<Rows<B::Row>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let rows = match &mut self.get_mut().0 {
            Step::Refused(error) => {
                return error
                    .take()
                    .map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
            Step::Alone(answer) => ready!(answer.as_mut().poll(cx)),
            Step::Shared(statement) => ready!(statement.poll(cx)),
        };
        Poll::Ready(rows.map(stream::iter))
    }
}

impl<'conn, B: Backend> Statement<'conn, B> {
    pub(super) fn new(
        line: &'conn Arc<Line<B>>,
        answer: Answer<'conn, B::Row>,
        known: Arc<Known>,
        turn: Turn,
    ) -> Self {
        Self {
            line,
            answer,
            known,
            turn,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<QueryResult<Vec<QueryResult<B::Row>>>> {
        if let Turn::Queueing(queueing) = &mut self.turn {
            match ready!(queueing.as_mut().poll(cx)) {
                Ok(place) => self.turn = Turn::Ready(place),
                Err(error) => {
                    self.turn = Turn::Over;
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        self.turn = match std::mem::replace(&mut self.turn, Turn::Over) {
            Turn::Ready(place) => {
                self.line.pace.begin(Instant::now());
                Turn::Running(place)
            }
            other => other,
        };
        let result = ready!(self.answer.as_mut().poll(cx));
        let now = Instant::now();
        let since = self.line.pace.end(now);
        self.known.learn(now.duration_since(since));
        self.turn = Turn::Over;
        Poll::Ready(self.explain(result))
    }

    /// Replaces "connection closed" by the reason, and by what can be done.
    fn explain(
        &self,
        result: QueryResult<Vec<QueryResult<B::Row>>>,
    ) -> QueryResult<Vec<QueryResult<B::Row>>> {
        let lost = |error: &Error| ErrorClass::of(error) == ErrorClass::ConnectionLost;
        if !result.as_ref().is_err_and(lost) {
            return result;
        }
        let why = self
            .line
            .fault()
            .unwrap_or_else(|| "the connection was closed".to_owned());
        let text = format!("the lane was lost: {why}; the statement only reads, so try again");
        Err(Error::DatabaseError(
            DatabaseErrorKind::ClosedConnection,
            Box::new(text),
        ))
    }
}

impl<B: Backend> Drop for Statement<'_, B> {
    fn drop(&mut self) {
        if let Turn::Running(place) = std::mem::replace(&mut self.turn, Turn::Over) {
            self.line.orphan(place);
        }
    }
}

impl<B: Backend> fmt::Debug for Reading<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}
