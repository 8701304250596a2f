//! diesel-async's connection traits on top of a worker thread.
//!
//! diesel-async's own wrapper blocks when a future is dropped, panics on a current-thread runtime, and locks the
//! connection on the caller's thread for each query; this one does none of it, because the thread owns the
//! connection and the transaction state lives on the caller's side.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::QueryResult;
use diesel::backend::Backend as DieselBackend;
use diesel::connection::{
    CacheSize, DebugQuery, DynInstrumentation, Instrumentation, InstrumentationEvent,
    LoadConnection, SimpleConnection, StrQueryHelper,
};
use diesel::query_builder::{
    AsQuery, CollectedQuery, MoveableBindCollector, QueryBuilder, QueryFragment, QueryId,
};
use diesel::result::{ConnectionError, ConnectionResult, Error};
use diesel::row::IntoOwnedRow;
use diesel::sqlite::{Sqlite as Db, SqliteQueryBuilder};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncConnectionCore, SimpleAsyncConnection,
    TransactionManager,
};
use futures_core::future::BoxFuture;
use futures_util::stream;

use super::worker::Worker;
use crate::backend::{Condition, Role};
use crate::class::{ErrorClass, Failure};
use crate::observe::{Recorder, Tap, Ticket};
use crate::transaction_text::MaybeOpen;

/// A SQLite connection for diesel-async; it lives on a thread of its own.
///
/// Dropping the future of a statement never blocks: a statement that has begun runs to its end on the thread, and the
/// next one queues behind it. On the writer a transaction always begins with `BEGIN IMMEDIATE`.
pub struct SqliteConnection {
    worker: Worker,
    role: Role,
    transactions: AnsiTransactionManager,
    maybe_open: Arc<MaybeOpen>,
    instrumentation: Relay,
    recorder: Option<Arc<Recorder>>,
    failure: Failure,
}

type SyncRow<'conn, 'query> = <diesel::SqliteConnection as LoadConnection>::Row<'conn, 'query>;
type OwnedRow = <SyncRow<'static, 'static> as IntoOwnedRow<'static, Db>>::OwnedRow;
type Binds<'a> = <Db as DieselBackend>::BindCollector<'a>;
type BindData = <Binds<'static> as MoveableBindCollector<Db>>::BindData;
type Rows = stream::Iter<std::vec::IntoIter<QueryResult<OwnedRow>>>;

impl SqliteConnection {
    pub(super) fn new(worker: Worker, role: Role) -> Self {
        Self {
            worker,
            role,
            transactions: AnsiTransactionManager::default(),
            maybe_open: Arc::default(),
            instrumentation: Relay::default(),
            recorder: None,
            failure: Failure::default(),
        }
    }

    /// Runs `work` with diesel's own connection on its thread: many statements for one hop between threads.
    ///
    /// Dropping the future withdraws `work` if it has not begun, and lets it run to its end if it has. A panic in it
    /// closes the connection when it goes back; a transaction that it leaves open is rolled back then.
    ///
    /// # Errors
    /// What `work` returns, or a database error if it panicked.
    pub async fn with_sync<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut diesel::SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> QueryResult<R> {
        let maybe_open = Arc::clone(&self.maybe_open);
        let _working = self.recorder.as_ref().map(Recorder::working);
        let call = self.worker.call(move |connection| {
            let result = work(connection);
            maybe_open.set(in_transaction(connection));
            result
        });
        self.failure.note(call.await)
    }

    pub(super) fn take_failure(&mut self) -> Option<ErrorClass> {
        self.failure.take()
    }

    pub(super) fn listen(&mut self, recorder: Arc<Recorder>) {
        self.instrumentation = Relay::new(Tap::new(Arc::clone(&recorder)));
        self.recorder = Some(recorder);
    }

    pub(super) fn condition(&mut self) -> Condition {
        if self.worker.has_panicked() {
            return Condition::Broken;
        }
        let unsettled = self.worker.is_busy()
            || self.maybe_open.get()
            || AnsiTransactionManager::is_broken_transaction_manager(self);
        if unsettled {
            Condition::Dirty
        } else {
            Condition::Clean
        }
    }

    /// Queues a rollback behind whatever still runs.
    pub(super) async fn recover(&mut self) -> QueryResult<()> {
        self.worker.call(roll_back).await?;
        self.maybe_open.set(false);
        self.transactions = AnsiTransactionManager::default();
        Ok(())
    }

    pub(super) async fn ping(&mut self) -> QueryResult<()> {
        self.worker
            .call(|connection| connection.batch_execute("SELECT 1"))
            .await
    }

    /// Runs one statement and fetches its rows.
    pub(super) fn read<T>(
        &self,
        query: &T,
    ) -> BoxFuture<'static, QueryResult<Vec<QueryResult<OwnedRow>>>>
    where
        T: QueryFragment<Db> + QueryId,
    {
        self.run(query, |connection, query| {
            let mut cache = <SyncRow<'_, '_> as IntoOwnedRow<'_, Db>>::Cache::default();
            let mut rows = Vec::new();
            for row in LoadConnection::load(connection, query)? {
                rows.push(Ok(row?.into_owned(&mut cache)));
            }
            Ok(rows)
        })
    }

    /// Runs one statement; nothing of it but its text and values may leave this thread.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        query: &impl QueryFragment<Db>,
        run: impl FnOnce(&mut diesel::SqliteConnection, CollectedQuery<BindData>) -> QueryResult<R>
        + Send
        + 'static,
    ) -> BoxFuture<'static, QueryResult<R>> {
        let started = self.start(&diesel::debug_query::<Db, _>(query));
        let maybe_open = Arc::clone(&self.maybe_open);
        let (sql, cached, binds) = match collect(query) {
            Ok(collected) => collected,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let text = sql.clone();
        let call = self.worker.call(move |connection| {
            maybe_open.sending(&sql);
            let query = CollectedQuery::new(sql.clone(), cached, binds);
            let result = run(connection, query)?;
            maybe_open.confirmed(&sql);
            Ok(result)
        });
        let failure = self.failure.clone();
        Box::pin(async move { failure.note(started.observe(&text, call).await) })
    }

    /// Tells that a statement begins; dropped, what is returned tells that nobody waits for it any more.
    fn start(&self, query: &dyn DebugQuery) -> Started {
        let relay = self.instrumentation.clone();
        relay.tell(InstrumentationEvent::start_query(query));
        Started {
            relay,
            _ticket: self.recorder.as_ref().map(Recorder::ticket),
        }
    }
}

impl SimpleAsyncConnection for SqliteConnection {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        // diesel's transaction manager sends exactly this; see `Driver::begin` for the reason.
        let query = match (query, self.role) {
            ("BEGIN", Role::Writer) => "BEGIN IMMEDIATE",
            _ => query,
        };
        let sql = query.to_owned();
        let maybe_open = Arc::clone(&self.maybe_open);
        let call = self.worker.call(move |connection| {
            maybe_open.sending(&sql);
            connection.batch_execute(&sql)?;
            maybe_open.confirmed(&sql);
            Ok(())
        });
        let started = self.start(&StrQueryHelper::new(query));
        let result = started.observe(query, call).await;
        self.failure.note(result)
    }
}

impl AsyncConnectionCore for SqliteConnection {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'query, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'query, QueryResult<Rows>>;
    type Stream<'conn, 'query> = Rows;
    type Row<'conn, 'query> = OwnedRow;
    type Backend = Db;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Db> + QueryId + 'query,
    {
        let rows = self.read(&source.as_query());
        Box::pin(async move { rows.await.map(stream::iter) })
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Db> + QueryId + 'query,
    {
        self.run(&source, |connection, query| {
            diesel::connection::Connection::execute_returning_count(connection, &query)
        })
    }
}

impl AsyncConnection for SqliteConnection {
    type TransactionManager = AnsiTransactionManager;

    async fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection(
            "open it through `db_pool::Pool`".to_owned(),
        ))
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        &mut self.transactions
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut self.instrumentation
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.instrumentation = match &self.recorder {
            Some(recorder) => Relay::new(Tap::with(Arc::clone(recorder), instrumentation)),
            None => Relay::new(instrumentation),
        };
    }

    fn set_prepared_statement_cache_size(&mut self, _: CacheSize) {
        // Would have to wait for the thread; `with_sync` can set it.
    }
}

impl fmt::Debug for SqliteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConnection")
            .field("role", &self.role)
            .field("busy", &self.worker.is_busy())
            .finish_non_exhaustive()
    }
}

/// Turns a query, which may not leave this thread, into text and values, which may.
fn collect<T: QueryFragment<Db>>(query: &T) -> QueryResult<(String, bool, BindData)> {
    let mut binds = Binds::default();
    query.collect_binds(&mut binds, &mut (), &Db)?;
    let mut builder = SqliteQueryBuilder::default();
    query.to_sql(&mut builder, &Db)?;
    Ok((
        builder.finish(),
        query.is_safe_to_cache_prepared(&Db)?,
        binds.moveable(),
    ))
}

/// Whether a transaction is open; diesel does not show what SQLite knows. Takes microseconds and no lock,
/// and stops at the BEGIN where one is open.
fn in_transaction(connection: &mut diesel::SqliteConnection) -> bool {
    connection.batch_execute("BEGIN; ROLLBACK").is_err()
}

fn roll_back(connection: &mut diesel::SqliteConnection) -> QueryResult<()> {
    match connection.batch_execute("ROLLBACK") {
        Err(Error::DatabaseError(_, info))
            if info.message().contains("no transaction is active") =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Instrumentation that statements still running can share with the connection.
#[derive(Clone)]
struct Relay(Arc<Mutex<DynInstrumentation>>);

/// A statement that has been told to begin.
struct Started {
    relay: Relay,
    _ticket: Option<Ticket>,
}

impl Started {
    async fn observe<R>(
        self,
        sql: &str,
        call: impl Future<Output = QueryResult<R>>,
    ) -> QueryResult<R> {
        let result = call.await;
        let error = result.as_ref().err();
        self.relay.tell(InstrumentationEvent::finish_query(
            &StrQueryHelper::new(sql),
            error,
        ));
        result
    }
}

impl Relay {
    fn new(instrumentation: impl Instrumentation) -> Self {
        Self(Arc::new(Mutex::new(instrumentation.into())))
    }

    fn tell(&self, event: InstrumentationEvent<'_>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .on_connection_event(event);
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(
            DynInstrumentation::default_instrumentation(),
        )))
    }
}

impl Instrumentation for Relay {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        self.tell(event);
    }
}
