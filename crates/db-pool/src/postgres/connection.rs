//! diesel-async's PostgreSQL connection, watched: what was abandoned, whether the socket lives, and how to repair it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{CacheSize, Instrumentation};
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{ConnectionError, ConnectionResult, DatabaseErrorKind, Error};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection,
    SimpleAsyncConnection, TransactionManager,
};
use futures_core::future::BoxFuture;
use futures_util::future::join;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::commit::insert_lsn;
use super::driver::Driver;
use crate::backend::Condition;
use crate::class::{ErrorClass, Failure};
use crate::lsn::Lsn;
use crate::observe::{Recorder, Tap, Ticket};
use crate::transaction_text::MaybeOpen;

/// A PostgreSQL connection for diesel-async.
///
/// It derefs to `AsyncPgConnection` for reading, so statements can be pipelined through `&*conn`; those are not
/// watched: if they are dropped unfinished, the next borrower waits for them.
pub struct PgConnection {
    inner: AsyncPgConnection,
    driver: Driver,
    tls: MakeRustlsConnect,
    abandoned: Arc<AtomicBool>,
    maybe_open: MaybeOpen,
    recorder: Option<Arc<Recorder>>,
    failure: Failure,
    /// Whether the next COMMIT asks for its place in the log, and the answer.
    track_lsn: bool,
    lsn: Option<Lsn>,
}

impl PgConnection {
    pub(super) fn new(inner: AsyncPgConnection, driver: Driver, tls: MakeRustlsConnect) -> Self {
        Self {
            inner,
            driver,
            tls,
            abandoned: Arc::default(),
            maybe_open: MaybeOpen::default(),
            recorder: None,
            failure: Failure::default(),
            track_lsn: false,
            lsn: None,
        }
    }

    pub(super) fn listen(&mut self, recorder: Arc<Recorder>) {
        self.inner
            .set_instrumentation(Tap::new(Arc::clone(&recorder)));
        self.recorder = Some(recorder);
    }

    pub(super) fn condition(&mut self) -> Condition {
        if self.driver.fault().is_some() {
            return Condition::Broken;
        }
        let unsettled = self.abandoned.load(Ordering::Acquire) || self.in_transaction();
        if unsettled {
            Condition::Dirty
        } else {
            Condition::Clean
        }
    }

    fn in_transaction(&mut self) -> bool {
        self.maybe_open.get() || AnsiTransactionManager::is_broken_transaction_manager(self)
    }

    /// Waits behind an abandoned statement, then ends what is open.
    pub(super) async fn recover(&mut self) -> QueryResult<()> {
        let sql = if self.in_transaction() {
            "ROLLBACK"
        } else {
            ""
        };
        self.inner.batch_execute(sql).await?;
        self.abandoned.store(false, Ordering::Release);
        self.maybe_open.set(false);
        *self.inner.transaction_state() = AnsiTransactionManager::default();
        Ok(())
    }

    /// An empty query: one round trip, nothing to plan.
    pub(super) async fn ping(&mut self) -> QueryResult<()> {
        self.batch_execute("").await
    }

    /// Asks the server to stop a statement that nobody waits for. Harmless when late: nobody uses the session again.
    pub(super) fn abandon(&mut self) {
        if !self.abandoned.load(Ordering::Acquire) || self.driver.fault().is_some() {
            return;
        }
        let (cancel, tls) = (self.inner.cancel_token(), self.tls.clone());
        tokio::spawn(async move {
            if !matches!(
                tokio::time::timeout(CANCEL_LIMIT, cancel.cancel_query(tls)).await,
                Ok(Ok(()))
            ) {
                tracing::debug!("an abandoned statement could not be cancelled on the server");
            }
        });
    }

    pub(super) fn take_failure(&mut self) -> Option<ErrorClass> {
        self.failure.take()
    }

    /// Commits what diesel's transaction manager has open; with `track_lsn` also learns its place in the log.
    pub(super) async fn commit_at(&mut self, track_lsn: bool) -> QueryResult<Option<Lsn>> {
        self.track_lsn = track_lsn;
        let result = AnsiTransactionManager::commit_transaction(self).await;
        self.track_lsn = false;
        let lsn = self.lsn.take();
        result.map(|()| lsn)
    }

    /// After a failed statement PostgreSQL answers COMMIT by rolling back, and calls that a success. Anything else it
    /// refuses then, so something else goes first, in the same message.
    async fn commit(&mut self) -> QueryResult<()> {
        let mut pipeline = &self.inner;
        let commit = pipeline.batch_execute("SELECT 1; COMMIT");
        let result = if self.track_lsn {
            // Sent together, answered in order: the place is that of this commit or a later one.
            let (result, lsn) = join(commit, insert_lsn(&self.inner)).await;
            self.lsn = lsn.ok();
            result
        } else {
            commit.await
        };
        if result.is_err() && self.inner.batch_execute("ROLLBACK").await.is_ok() {
            // Over, as it is after a COMMIT of any outcome.
            self.maybe_open.set(false);
        }
        result
    }

    /// A statement sent through a shared reference; dropped unfinished, it leaves the connection to be repaired.
    pub(super) fn watched<F>(&self, statement: F) -> Watched<F> {
        let mut watch = self.watch();
        watch.ticket = self.started();
        Watched { watch, statement }
    }

    /// Stands for the statement that this thread sent last; dropped, the recorder waits for it no longer.
    pub(super) fn started(&self) -> Option<Ticket> {
        self.recorder.as_ref().map(Recorder::ticket)
    }

    /// Why it has ended; `None` while it lives.
    pub(super) fn fault(&self) -> Option<String> {
        self.driver.fault().map(str::to_owned)
    }

    /// Closes the socket now.
    pub(super) fn hang_up(&self) {
        self.driver.abort();
    }

    fn watch(&self) -> Watch {
        Watch {
            driver: self.driver.clone(),
            abandoned: Arc::clone(&self.abandoned),
            running: false,
            ticket: self.recorder.as_ref().map(Recorder::next_ticket),
            failure: self.failure.clone(),
        }
    }
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        // Left alone, the driver would wait for the end of the abandoned statement.
        if self.abandoned.load(Ordering::Acquire) {
            self.driver.abort();
        }
    }
}

impl std::ops::Deref for PgConnection {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.inner
    }
}

impl SimpleAsyncConnection for PgConnection {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.maybe_open.sending(query);
        let mut watch = self.watch();
        watch.start();
        // Dropped here, `watch` marks the connection as abandoned.
        let result = match query {
            COMMIT => self.commit().await,
            _ => self.inner.batch_execute(query).await,
        };
        watch.finish();
        if result.is_ok() {
            self.maybe_open.confirmed(query);
        }
        watch.explain(result)
    }
}

impl AsyncConnectionCore for PgConnection {
    type ExecuteFuture<'conn, 'query> = Watched<BoxFuture<'conn, QueryResult<usize>>>;
    type LoadFuture<'conn, 'query> =
        Watched<BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>>;
    type Stream<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        let watch = self.watch();
        let statement = AsyncConnectionCore::load(&mut self.inner, source);
        Watched { watch, statement }
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        let watch = self.watch();
        let statement = AsyncConnectionCore::execute_returning_count(&mut self.inner, source);
        Watched { watch, statement }
    }
}

impl AsyncConnection for PgConnection {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection(
            "open it through `db_pool::Pool`".to_owned(),
        ))
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.inner.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.inner.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        match &self.recorder {
            Some(recorder) => {
                let tap = Tap::with(Arc::clone(recorder), instrumentation);
                self.inner.set_instrumentation(tap);
            }
            None => self.inner.set_instrumentation(instrumentation),
        }
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.inner.set_prepared_statement_cache_size(size);
    }
}

impl fmt::Debug for PgConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConnection")
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

/// One statement's share in the state of the connection.
struct Watch {
    driver: Driver,
    abandoned: Arc<AtomicBool>,
    running: bool,
    /// Dropped, it tells that the statement is over, answered or not.
    #[expect(dead_code, reason = "dropping it is all that it is for")]
    ticket: Option<Ticket>,
    failure: Failure,
}

impl Watch {
    fn start(&mut self) {
        self.running = true;
    }

    /// The server answers in order: an answer to this statement means that all before it are over too.
    fn finish(&mut self) {
        self.running = false;
        self.abandoned.store(false, Ordering::Release);
    }

    /// Replaces "connection closed" by the reason, which only the driver task has seen.
    fn explain<R>(&self, result: QueryResult<R>) -> QueryResult<R> {
        let result = match (result, self.driver.fault()) {
            (Err(Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, _)), Some(fault)) => {
                let text = Box::new(fault.to_owned());
                Err(Error::DatabaseError(
                    DatabaseErrorKind::ClosedConnection,
                    text,
                ))
            }
            (result, _) => result,
        };
        self.failure.note(result)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.running {
            self.abandoned.store(true, Ordering::Release);
        }
    }
}

/// A statement; dropping it unfinished leaves the connection to be repaired.
#[expect(
    unnameable_types,
    reason = "an associated type that nobody needs to name"
)]
pub struct Watched<F> {
    watch: Watch,
    statement: F,
}

impl<R, F> Future for Watched<F>
where
    F: Future<Output = QueryResult<R>> + Unpin,
{
    type Output = QueryResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.watch.start();
        let result = std::task::ready!(Pin::new(&mut this.statement).poll(cx));
        this.watch.finish();
        Poll::Ready(this.watch.explain(result))
    }
}

impl<F> fmt::Debug for Watched<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("running", &self.watch.running)
            .finish_non_exhaustive()
    }
}

/// What diesel's transaction manager sends.
const COMMIT: &str = "COMMIT";

/// How long to try to cancel an abandoned statement.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);
