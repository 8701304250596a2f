//! A lane of some server: measures how long its statements take and tells when the server fails.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use diesel::QueryResult;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::{AsyncConnectionCore, SimpleAsyncConnection};
use futures_core::future::BoxFuture;
use tokio::time::Instant;

use super::core::Core;
use crate::class::ErrorClass;
use crate::lane::Lane;
use crate::postgres::Postgres;

/// A lane of a replica, or of the primary where no replica could serve; it goes back when dropped.
///
/// Use it like a [`Lane`]; [`lane`](Self::lane) is the one behind it, whose statements are not measured.
pub struct ReplicaLane {
    // In this order: the lane is back before it counts as back.
    lane: Lane<Postgres>,
    lent: Lent,
}

impl ReplicaLane {
    pub(super) fn new(lane: Lane<Postgres>, lent: Lent) -> Self {
        Self { lane, lent }
    }

    /// The server that it leads to, as `HOST:PORT`.
    pub fn server(&self) -> &str {
        &self.lent.core.nodes[self.lent.server].name
    }

    /// The lane itself, for code that takes any lane. Failures on it are noticed by the watcher only.
    pub fn lane(&mut self) -> &mut Lane<Postgres> {
        &mut self.lane
    }
}

/// Counts as one read under way on a server.
pub(super) struct Lent {
    core: Arc<Core>,
    server: usize,
}

impl Lent {
    /// Takes over a count that `Servers::choose` began.
    pub(super) fn new(core: &Arc<Core>, server: usize) -> Self {
        Self {
            core: Arc::clone(core),
            server,
        }
    }

    fn heard<R>(&self, began: Instant, result: &QueryResult<R>) {
        let now = Instant::now();
        match result {
            Ok(_) => self.core.servers().served(self.server, now - began, now),
            Err(error) => {
                let told = matches!(
                    error,
                    Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
                );
                match ErrorClass::of(error) {
                    ErrorClass::NotReady => self.core.failed(self.server, &error.to_string()),
                    ErrorClass::ConnectionLost if told => {
                        self.core.failed(self.server, &error.to_string());
                    }
                    // Perhaps no more than a full queue: whoever asks the server will know.
                    ErrorClass::ConnectionLost => self.core.doubt(self.server),
                    _ => {}
                }
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.core.servers().ended(self.server);
    }
}

type Inner = Lane<Postgres>;

impl SimpleAsyncConnection for ReplicaLane {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.lane.batch_execute(query).await
    }
}

impl AsyncConnectionCore for ReplicaLane {
    type ExecuteFuture<'conn, 'query> =
        <Inner as AsyncConnectionCore>::ExecuteFuture<'conn, 'query>;
    type LoadFuture<'conn, 'query> = Measured<'conn, Self::Stream<'conn, 'query>>;
    type Stream<'conn, 'query> = <Inner as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <Inner as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = <Inner as AsyncConnectionCore>::Backend;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        Measured {
            lent: &self.lent,
            began: None,
            statement: Box::pin(self.lane.load(source)),
        }
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        self.lane.execute_returning_count(source)
    }
}

impl fmt::Debug for ReplicaLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaLane")
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}

/// A statement on a server; dropping it is as dropping the statement on a [`Lane`], and measures nothing.
#[expect(
    unnameable_types,
    reason = "an associated type that nobody needs to name"
)]
pub struct Measured<'conn, S> {
    lent: &'conn Lent,
    began: Option<Instant>,
    statement: BoxFuture<'conn, QueryResult<S>>,
}

impl<S> Future for Measured<'_, S> {
    type Output = QueryResult<S>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let began = *this.began.get_or_insert_with(Instant::now);
        let result = ready!(this.statement.as_mut().poll(cx));
        this.lent.heard(began, &result);
        Poll::Ready(result)
    }
}

impl<S> fmt::Debug for Measured<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").finish_non_exhaustive()
    }
}
