//! diesel-async's PostgreSQL connection, watched: what was abandoned, whether the socket lives, and how to repair it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{CacheSize, Instrumentation};
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, Query, QueryFragment, QueryId};
use diesel::result::{ConnectionError, ConnectionResult, DatabaseErrorKind, Error};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection,
    SimpleAsyncConnection, TransactionManager,
};
use futures_util::future::join;
use tokio::time::timeout;

use super::again::{Again, Uncached};
use super::cancel::{Cancel, NotCancelled};
use super::commit::insert_lsn;
use super::driver::{Driver, State};
use super::ear::Ear;
use super::settings::Settings;
use super::statement::Watched;
use crate::backend::Condition;
use crate::class::ErrorClass;
use crate::lsn::Lsn;
use crate::observe::{Recorder, Tap, Ticket};

/// A PostgreSQL connection for diesel-async.
///
/// It derefs to `AsyncPgConnection` for reading, so statements can be pipelined through `&*conn`. What is dropped
/// unfinished is noticed either way, and the connection repaired before it is lent again.
///
/// A cached plan that a change of the schema made stale is made anew without an error, outside of transactions and for
/// statements that are not pipelined.
pub struct PgConnection {
    inner: AsyncPgConnection,
    driver: Driver,
    cancel: Cancel,
    settings: Arc<Settings>,
    server_version: u32,
    cache_size: CacheSize,
    /// The count of stale plans in the pool that this connection's cache of statements takes account of.
    plans: u64,
    /// The doubts of the pool, and the count of answers, when this connection last proved to be alive.
    doubts: u64,
    answered: u64,
    recorder: Option<Arc<Recorder>>,
    /// Whether the next COMMIT asks for its place in the log, and the answer.
    track_lsn: bool,
    lsn: Option<Lsn>,
}

/// The rows of one statement, as they come.
type Rows = <AsyncPgConnection as AsyncConnectionCore>::Stream<'static, 'static>;

impl PgConnection {
    pub(super) fn new(
        inner: AsyncPgConnection,
        driver: Driver,
        cancel: Cancel,
        settings: Arc<Settings>,
        server_version: u32,
    ) -> Self {
        let doubts = settings.doubts.load(Ordering::Acquire);
        Self {
            inner,
            plans: driver.wire().plans(),
            answered: driver.wire().answered(),
            driver,
            cancel,
            settings,
            server_version,
            cache_size: CacheSize::Unbounded,
            doubts,
            recorder: None,
            track_lsn: false,
            lsn: None,
        }
    }

    /// Lets `recorder` hear every statement, in front of what the user sets.
    pub(super) fn listen(&mut self, recorder: Arc<Recorder>) {
        self.hear_with(Tap::new(Arc::clone(&recorder)));
        self.recorder = Some(recorder);
    }

    fn hear_with(&mut self, next: impl Instrumentation) {
        let state = Arc::clone(self.driver.state());
        self.inner.set_instrumentation(Ear { state, next });
    }

    /// Whether the server follows a primary and only reads, by its own last word; no round trip. PostgreSQL 14 and
    /// newer say so at login and when they are promoted; older ones count as primaries.
    pub fn is_standby(&self) -> bool {
        self.driver.is_standby()
    }

    /// The server's version as it counts: 150018 is 15.18. 0 if it did not say. No round trip.
    pub fn server_version(&self) -> u32 {
        self.server_version
    }

    /// The number of the server's process for this session, as in `pg_stat_activity`.
    pub fn backend_pid(&self) -> i32 {
        self.cancel.process
    }

    pub(super) fn condition(&mut self) -> Condition {
        if self.driver.fault().is_some() {
            return Condition::Broken;
        }
        let wire = self.driver.wire();
        let unsettled = wire.in_flight() > 0 || !wire.is_settled() || wire.in_transaction();
        if unsettled || AnsiTransactionManager::is_broken_transaction_manager(self) {
            return Condition::Dirty;
        }
        self.freshen();
        let answered = self.driver.wire().answered();
        if answered != self.answered {
            self.answered = answered;
            self.doubts = self.settings.doubts.load(Ordering::Acquire);
        }
        Condition::Clean
    }

    /// Waits behind abandoned statements, has the server stop them after a while, and ends what is open.
    pub(super) async fn recover(&mut self) -> QueryResult<()> {
        let wire = Arc::clone(self.driver.wire());
        if wire.in_flight() > 0 || !wire.is_settled() {
            self.drain().await?;
        }
        if wire.in_transaction() {
            self.inner.batch_execute("ROLLBACK").await?;
        }
        wire.take_failure();
        wire.nothing_in_flight();
        *self.inner.transaction_state() = AnsiTransactionManager::default();
        Ok(())
    }

    /// The server answers in order: when an empty query is answered, all before it is over.
    async fn drain(&mut self) -> QueryResult<()> {
        let mut patience = self.settings.cancel_after;
        let mut cancelled = false;
        let mut empty = Box::pin(self.inner.batch_execute(""));
        let drained = loop {
            match timeout(patience, &mut empty).await {
                Ok(drained) => break drained,
                Err(_) => {
                    // Waits until the server has passed it on; another one goes out if there are more statements.
                    if let Err(NotCancelled { error, may_arrive }) = self.cancel.run().await {
                        tracing::debug!(%error, "an abandoned statement could not be cancelled");
                        if may_arrive {
                            return Err(lost(
                                "a cancel may yet stop a statement of the next borrower",
                            ));
                        }
                    }
                    cancelled = true;
                    patience = CANCEL_AGAIN;
                }
            }
        };
        drop(empty);
        unless_cancelled(drained)?;
        if cancelled {
            // The statement may have ended just before the signal came: this one takes it instead.
            unless_cancelled(self.inner.batch_execute("").await)?;
        }
        Ok(())
    }

    /// An empty query: one round trip, nothing to plan.
    ///
    /// When another connection of the pool has just failed to answer, this one is given little time.
    pub(super) async fn ping(&mut self) -> QueryResult<()> {
        let settings = Arc::clone(&self.settings);
        let doubts = settings.doubts.load(Ordering::Acquire);
        let limit = if doubts == self.doubts {
            NO_LIMIT
        } else {
            DOUBTFUL_PING
        };
        let unanswered = Doubt(Some(&settings));
        let Ok(answer) = timeout(limit, self.batch_execute("")).await else {
            return Err(lost(
                "the connection did not answer; another one had not either",
            ));
        };
        unanswered.dispel();
        if answer.is_ok() {
            self.doubts = doubts;
        }
        answer
    }

    /// Asks the server to stop a statement that nobody waits for. Harmless when late: nobody uses the session again.
    pub(super) fn abandon(&mut self) {
        let wire = self.driver.wire();
        if (wire.in_flight() == 0 && wire.is_settled()) || self.driver.fault().is_some() {
            return;
        }
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            if let Err(NotCancelled { error, .. }) = cancel.run().await {
                tracing::debug!(%error, "an abandoned statement could not be cancelled on the server");
            }
        });
    }

    /// The class of the last failure since this was asked: the server's code, or the end of the connection.
    pub(super) fn take_failure(&mut self) -> Option<ErrorClass> {
        let told = self.driver.wire().take_failure();
        self.driver.fault_class().or(told)
    }

    /// Commits what diesel's transaction manager has open; with `track_lsn` also learns its place in the log.
    pub(super) async fn commit_at(&mut self, track_lsn: bool) -> QueryResult<Option<Lsn>> {
        self.track_lsn = track_lsn;
        let result = AnsiTransactionManager::commit_transaction(self).await;
        self.track_lsn = false;
        let lsn = self.lsn.take();
        result.map(|()| lsn)
    }

    /// After a failed statement PostgreSQL answers COMMIT by rolling back, and calls that a success.
    async fn commit(&mut self) -> QueryResult<()> {
        let wire = Arc::clone(self.driver.wire());
        let known = wire.in_flight() == 0 && wire.is_settled();
        // In a failed transaction the first of the two is refused.
        let text = if known { COMMIT } else { "SELECT 1; COMMIT" };
        let mut pipeline = &self.inner;
        let result = if known && wire.has_failed_transaction() {
            Err(aborted())
        } else if self.track_lsn {
            // Sent together, answered in order: the place is that of this commit or a later one.
            let commit = pipeline.batch_execute(text);
            let (result, lsn) = join(commit, insert_lsn(&self.inner)).await;
            self.lsn = lsn.ok();
            result
        } else {
            pipeline.batch_execute(text).await
        };
        if result.is_err() && wire.in_transaction() && self.driver.fault().is_none() {
            // The error matters more than what becomes of this; an open transaction is noticed later.
            drop(self.inner.batch_execute("ROLLBACK").await);
        }
        result
    }

    /// Empties the cache of statements when a plan went stale somewhere in the pool, or when it has grown too large:
    /// each statement costs memory on the server, and those of varying shape are never used again.
    fn freshen(&mut self) {
        let wire = self.driver.wire();
        let (plans, statements) = (wire.plans(), wire.statements());
        if (plans == self.plans && statements <= MAX_STATEMENTS) || wire.in_flight() > 0 {
            return;
        }
        wire.forget_statements();
        self.plans = plans;
        self.inner
            .set_prepared_statement_cache_size(CacheSize::Disabled);
        self.inner
            .set_prepared_statement_cache_size(self.cache_size);
    }

    /// Whether a statement may be sent again when its plan is stale: nothing else is under way or open.
    fn may_send_again(&self, query: &impl QueryFragment<Pg>) -> bool {
        self.driver.wire().in_flight() == 0 && self.is_cached(query)
    }

    /// Whether a statement may have a plan (if only since a moment), and no transaction that a failure would spoil.
    fn is_cached(&self, query: &impl QueryFragment<Pg>) -> bool {
        let wire = self.driver.wire();
        !wire.in_transaction() && matches!(query.is_safe_to_cache_prepared(&Pg), Ok(true))
    }

    /// Sends a read through a shared reference, beside others.
    pub(super) fn read<'conn, T>(&'conn self, source: T) -> Watched<'conn, Rows>
    where
        T: AsQuery,
        T::Query: QueryFragment<Pg> + QueryId,
    {
        let query = source.as_query();
        let mut inner: &'conn AsyncPgConnection = &self.inner;
        let again = self.is_cached(&query).then(|| self.load_again(&query));
        let statement = AsyncConnectionCore::load(&mut inner, query);
        Watched::new(self.driver.state(), self.started(), again, statement)
    }

    fn load_again<Q>(&self, query: &Q) -> Again<'_, Rows>
    where
        Q: QueryFragment<Pg> + QueryId + Query,
    {
        let mut inner = &self.inner;
        Again::new(inner, query, |mut inner, anew| {
            AsyncConnectionCore::load(&mut inner, anew)
        })
        .or_made(|| AsyncConnectionCore::load(&mut inner, Uncached(query)))
    }

    fn execute_again<Q>(&self, query: &Q) -> Again<'_, usize>
    where
        Q: QueryFragment<Pg> + QueryId,
    {
        let mut inner = &self.inner;
        Again::new(inner, query, |mut inner, anew| {
            AsyncConnectionCore::execute_returning_count(&mut inner, anew)
        })
        .or_made(|| AsyncConnectionCore::execute_returning_count(&mut inner, Uncached(query)))
    }

    /// Stands for the statement that this thread sent last; dropped, the recorder waits for it no longer.
    fn started(&self) -> Option<Ticket> {
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
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        // Left alone, the driver would wait for the end of the abandoned statement.
        let wire = self.driver.wire();
        if wire.in_flight() > 0 || !wire.is_settled() {
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
        // Dropped, it tells that the statement is over, answered or not.
        let _ticket = self.recorder.as_ref().map(Recorder::next_ticket);
        let result = match (query, &self.settings.transaction_limits) {
            (COMMIT, _) => self.commit().await,
            (begin, Some(limits)) if begin.starts_with("BEGIN") && !begin.contains(';') => {
                let begin = format!("{begin}{limits}");
                self.inner.batch_execute(&begin).await
            }
            _ => self.inner.batch_execute(query).await,
        };
        self.driver.state().explain(result)
    }
}

impl AsyncConnectionCore for PgConnection {
    type ExecuteFuture<'conn, 'query> = Watched<'conn, usize>;
    type LoadFuture<'conn, 'query> = Watched<'conn, Self::Stream<'conn, 'query>>;
    type Stream<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        self.freshen();
        let query = source.as_query();
        let state: &'conn State = self.driver.state();
        let mut inner: &'conn AsyncPgConnection = &self.inner;
        let again = self.may_send_again(&query).then(|| self.load_again(&query));
        let ticket = self.recorder.as_ref().map(Recorder::next_ticket);
        let statement = AsyncConnectionCore::load(&mut inner, query);
        Watched::new(state, ticket, again, statement)
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        self.freshen();
        let state: &'conn State = self.driver.state();
        let mut inner: &'conn AsyncPgConnection = &self.inner;
        let again = self
            .may_send_again(&source)
            .then(|| self.execute_again(&source));
        let ticket = self.recorder.as_ref().map(Recorder::next_ticket);
        let statement = AsyncConnectionCore::execute_returning_count(&mut inner, source);
        Watched::new(state, ticket, again, statement)
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
            Some(recorder) => self.hear_with(Tap::with(Arc::clone(recorder), instrumentation)),
            None => self.hear_with(instrumentation),
        }
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.cache_size = size;
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

/// Spreads the doubt that an unanswered question raises, unless dispelled.
struct Doubt<'a>(Option<&'a Settings>);

impl Doubt<'_> {
    fn dispel(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(settings) = self.0 {
            settings.doubts.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn unless_cancelled(result: QueryResult<()>) -> QueryResult<()> {
    match result {
        Err(error) if ErrorClass::of(&error) == ErrorClass::Cancelled => Ok(()),
        result => result,
    }
}

/// The server's words for it.
fn aborted() -> Error {
    let text = "current transaction is aborted, commands ignored until end of transaction block";
    Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned()))
}

fn lost(text: &str) -> Error {
    let text = Box::new(text.to_owned());
    Error::DatabaseError(DatabaseErrorKind::ClosedConnection, text)
}

/// What diesel's transaction manager sends.
const COMMIT: &str = "COMMIT";

/// When a cancelled statement is followed by another one that was abandoned as well.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// For an answer on a connection whose neighbour has just failed to give one.
const DOUBTFUL_PING: Duration = Duration::from_millis(100);

/// Whoever asks sets the real limit.
const NO_LIMIT: Duration = Duration::from_secs(3600);

/// Kept in the cache of one connection: far more than a program has queries, unless their shapes vary without bound.
const MAX_STATEMENTS: u32 = 1_000;
