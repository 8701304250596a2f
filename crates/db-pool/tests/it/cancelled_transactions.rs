//! A transaction dropped at each of its awaits: nothing leaks, nothing stays open, hooks are told exactly once and
//! rightly.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use db_pool::{Backend, Pool};
use diesel::QueryResult;
use futures_util::future::BoxFuture;

use crate::hooks_support::Told;
use crate::support::eventually;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Polls `future` at most `polls` times, each time after it asked for it, then drops it: right after the last poll,
/// or, `late`, when it asked for the next one. Whether it ended.
async fn poll<T>(
    mut future: Pin<Box<impl Future<Output = T> + ?Sized>>,
    polls: usize,
    late: bool,
) -> bool {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    for polled in 1..=polls {
        if future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            return true;
        }
        if polled < polls || late {
            eventually("the future wants to be polled", || {
                woken.0.swap(false, Ordering::AcqRel)
            })
            .await;
        }
    }
    false
}

/// What one transaction needs for the test: it enlists a hook, notes that in `enlisted`, and inserts a row.
struct Case<'a> {
    transaction: &'a (dyn Fn(Told, Told) -> BoxFuture<'a, QueryResult<()>> + Sync),
    rows: &'a (dyn Fn() -> BoxFuture<'a, i64> + Sync),
    /// What hooks are told at least once.
    seen: &'a [&'a str],
}

/// Drops one transaction after each number of polls until one ends; what the hooks were told.
async fn sweep<B: Backend>(pool: &Pool<B>, case: &Case<'_>, late: bool) -> Vec<String> {
    let mut seen = Vec::new();
    let mut polls = 0;
    loop {
        let before = (case.rows)().await;
        let (told, enlisted) = (Told::default(), Told::default());
        let transaction = (case.transaction)(told.clone(), enlisted.clone());
        let ended = poll(transaction, polls, late).await;
        eventually("the hooks are told and nothing is lent", || {
            let status = pool.status();
            let quiet = status.in_use == 0 && status.recovering == 0;
            quiet && told.ends() >= enlisted.all().len()
        })
        .await;
        let told = told.all();
        let end = told.iter().filter(|what| *what != "prepare").count();
        assert_eq!(end, enlisted.all().len(), "{told:?} after {polls} polls");
        let stored = (case.rows)().await - before;
        match told.last().map(String::as_str) {
            Some("committed") => assert_eq!(stored, 1, "after {polls} polls"),
            Some("rolled back") | None => assert_eq!(stored, 0, "after {polls} polls"),
            Some(_) => assert!(stored <= 1, "unknown, after {polls} polls"),
        }
        seen.extend(told);
        if ended {
            assert_eq!(seen.last().map(String::as_str), Some("committed"));
            break;
        }
        polls += 1;
        assert!(polls < 1_000, "it never ends");
    }
    seen
}

async fn drop_at_every_await<B: Backend>(pool: &Pool<B>, case: Case<'_>) {
    let mut seen: Vec<String> = Vec::new();
    for late in [false, true] {
        seen.extend(sweep(pool, &case, late).await);
    }
    for what in case.seen {
        assert!(seen.iter().any(|one| one == what), "never {what}");
    }
    assert_eq!(pool.status().discarded_total, 0, "{}", pool.status());
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_transaction_dropped_at_any_await_on_sqlite_leaks_nothing_and_tells_its_hooks_once() {
    use db_pool::TransactionOptions;
    use diesel::sql_query;
    use diesel_async::RunQueryDsl;

    use crate::hooks_support::Noting;
    use crate::sqlite_support::{INSERT, notes, sqlite};

    let (_folder, pool) = sqlite().await;
    let transaction = |told: Told, enlisted: Told| -> BoxFuture<'_, QueryResult<()>> {
        let body = async move |tx: &mut db_pool::Transaction<db_pool::Sqlite>| {
            tx.enlist(Noting::new(&told));
            enlisted.note("one");
            sql_query(INSERT).execute(tx).await?;
            Ok(())
        };
        Box::pin(pool.transaction(TransactionOptions::default(), body))
    };
    let rows = || -> BoxFuture<'_, i64> { Box::pin(notes(&pool)) };
    let case = Case {
        transaction: &transaction,
        rows: &rows,
        // Its thread may answer a COMMIT before it is first waited for, so that nobody can drop it in between; the
        // next test makes sure that somebody does.
        seen: &["prepare", "committed", "rolled back"],
    };
    drop_at_every_await(&pool, case).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_commit_on_sqlite_dropped_before_it_begins_stores_nothing_and_is_told_as_unknown() {
    use db_pool::{Sqlite, Transaction, TransactionOptions};
    use diesel::sql_query;
    use diesel_async::RunQueryDsl;
    use futures_util::FutureExt;

    use crate::hooks_support::Noting;
    use crate::sqlite_support::{INSERT, abandon_a_statement, notes, sqlite};

    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let (keep, mut kept) = tokio::sync::mpsc::channel(1);
    let mut transaction = Box::pin(pool.transaction(
        TransactionOptions::default(),
        async |tx: &mut Transaction<Sqlite>| {
            tx.enlist(Noting::new(&told));
            sql_query(INSERT).execute(tx).await?;
            // COMMIT waits behind it.
            let _ = keep.send(abandon_a_statement(tx).await).await;
            Ok::<_, diesel::result::Error>(())
        },
    ));
    eventually("the hook is asked", || {
        assert!(transaction.as_mut().now_or_never().is_none());
        told.all() == ["prepare"]
    })
    .await;
    // The hook yields once; then COMMIT is sent.
    for _ in 0..10 {
        assert!(transaction.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(transaction);
    kept.recv().await.unwrap().send(()).unwrap();
    eventually("the hook is told", || told.ends() == 1).await;
    assert_eq!(told.all(), ["prepare", "unknown"]);
    assert_eq!(notes(&pool).await, 0, "it was withdrawn");
    let status = pool.status();
    assert_eq!((status.in_use, status.recovering), (0, 0), "{status}");
    assert_eq!((status.recovered_total, status.discarded_total), (1, 0));
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_transaction_dropped_at_any_await_on_postgres_leaks_nothing_and_tells_its_hooks_once() {
    use db_pool::TransactionOptions;
    use diesel::sql_query;
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

    use crate::hooks_support::Noting;
    use crate::postgres_support::Database;
    use crate::support::Count;

    let Some(database) = Database::new().await else {
        return;
    };
    // One connection, so that each borrower gets what the one before left behind.
    let pool = database.pool(|config| config.max_size = 1).await;
    let create = "CREATE TABLE notes (id bigserial PRIMARY KEY)";
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(create).await.unwrap();
    drop(connection);
    let options = TransactionOptions {
        track_lsn: true,
        ..TransactionOptions::serializable()
    };
    let transaction = |told: Told, enlisted: Told| -> BoxFuture<'_, QueryResult<()>> {
        let body = async move |tx: &mut db_pool::Transaction<db_pool::Postgres>| {
            tx.enlist(Noting::new(&told));
            enlisted.note("one");
            sql_query("INSERT INTO notes DEFAULT VALUES")
                .execute(tx)
                .await?;
            Ok(())
        };
        Box::pin(pool.transaction(options, body))
    };
    let rows = || -> BoxFuture<'_, i64> {
        Box::pin(async {
            let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database AND state LIKE 'idle in%'";
            assert_eq!(database.count(open).await, 0, "no transaction is open");
            let mut next = pool.acquire().await.unwrap();
            let count = sql_query("SELECT count(*) AS n FROM notes");
            count.get_result::<Count>(&mut next).await.unwrap().n
        })
    };
    let case = Case {
        transaction: &transaction,
        rows: &rows,
        seen: &["prepare", "committed", "rolled back", "unknown"],
    };
    drop_at_every_await(&pool, case).await;
    assert_eq!(pool.status().connects_total, 1);
    pool.close().await;
}
