//! Transactions that are run again, those that are not, and what their commits tell, on PostgreSQL.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_pool::{
    ErrorClass, HookError, Outcome, Pool, Postgres, Scope, TransactionError, TransactionHook,
    TransactionOptions,
};
use diesel::result::Error;
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::hooks_support::{Noting, Told};
use crate::postgres_support::Database;
use crate::proxy::Proxy;
use crate::support::{Count, eventually};

async fn accounts(database: &Database) -> Pool<Postgres> {
    let pool = database.pool(|_| {}).await;
    let create = "CREATE TABLE accounts (id int PRIMARY KEY, money int NOT NULL);
        INSERT INTO accounts VALUES (1, 0), (2, 0)";
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(create).await.unwrap();
    drop(connection);
    pool
}

async fn money(pool: &Pool<Postgres>) -> i64 {
    let sql = "SELECT sum(money) AS n FROM accounts";
    let mut connection = pool.acquire().await.unwrap();
    let sum: Count = sql_query(sql).get_result(&mut connection).await.unwrap();
    sum.n
}

#[tokio::test]
async fn a_serialization_failure_runs_the_closure_again() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = accounts(&database).await;
    let (told, runs) = (Told::default(), AtomicU32::new(0));
    let options = TransactionOptions::serializable();
    let attempt = pool
        .transaction(options, async |tx| {
            tx.enlist(Noting::new(&told));
            let read = sql_query("SELECT money::int8 AS n FROM accounts WHERE id = 1");
            let before: Count = read.get_result(tx).await?;
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                // Somebody else changes what was read, and commits first.
                let mut other = pool.acquire().await?;
                other
                    .batch_execute("UPDATE accounts SET money = 5 WHERE id = 1")
                    .await?;
            }
            let write = format!("UPDATE accounts SET money = {} WHERE id = 1", before.n + 1);
            sql_query(write).execute(tx).await?;
            Ok::<_, Error>(tx.attempt())
        })
        .await;
    assert_eq!(attempt, Ok(2));
    assert_eq!(money(&pool).await, 6, "nothing is lost");
    assert_eq!(told.all(), ["rolled back", "prepare", "committed"]);
    assert_eq!(pool.status().recovered_total, 0);
    pool.close().await;
}

#[tokio::test]
async fn a_transaction_once_is_not_run_again() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = accounts(&database).await;
    let mut runs = 0;
    let counted = &mut runs;
    let result = pool
        .transaction_once(TransactionOptions::serializable(), async |tx| {
            *counted += 1;
            tx.batch_execute("SELECT 1 FROM accounts").await?;
            let mut other = pool.acquire().await?;
            other.batch_execute("UPDATE accounts SET money = 5").await?;
            tx.batch_execute("UPDATE accounts SET money = 1").await
        })
        .await;
    assert_eq!(
        ErrorClass::of(&result.unwrap_err()),
        ErrorClass::Serialization
    );
    assert_eq!(runs, 1);
    pool.close().await;
}

#[tokio::test]
async fn of_two_transactions_that_wait_for_each_other_both_succeed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = accounts(&database).await;
    let met = tokio::sync::Barrier::new(2);
    let both = async |first: i32, second: i32| {
        pool.transaction(TransactionOptions::default(), async |tx| {
            let add = |id| format!("UPDATE accounts SET money = money + 1 WHERE id = {id}");
            sql_query(add(first)).execute(tx).await?;
            if tx.attempt() == 1 {
                met.wait().await;
            }
            sql_query(add(second)).execute(tx).await?;
            Ok::<_, Error>(tx.attempt())
        })
        .await
    };
    let (one, other) = tokio::join!(both(1, 2), both(2, 1));
    assert_eq!(one.unwrap() + other.unwrap(), 3, "one of them ran twice");
    assert_eq!(money(&pool).await, 4);
    pool.close().await;
}

#[tokio::test]
async fn a_closure_that_always_fails_is_run_max_attempts_times_and_retries_have_a_budget() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = accounts(&database).await;
    let runs = AtomicU32::new(0);
    let fail = async |max_attempts| {
        runs.store(0, Ordering::Relaxed);
        let options = TransactionOptions {
            max_attempts,
            ..Default::default()
        };
        let result = pool
            .transaction(options, async |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                let fail = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$";
                tx.batch_execute(fail).await
            })
            .await;
        assert_eq!(
            ErrorClass::of(&result.unwrap_err()),
            ErrorClass::Serialization
        );
        runs.swap(0, Ordering::Relaxed)
    };
    assert_eq!(fail(3).await, 3);
    assert_eq!(fail(1).await, 1);
    assert_eq!(fail(u32::MAX).await, 2, "one was left of three at once");
    pool.close().await;
}

#[tokio::test]
async fn the_timeout_covers_all_attempts_and_rolls_back() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = accounts(&database).await;
    let told = Told::default();
    let options = TransactionOptions {
        timeout: Some(Duration::from_millis(50)),
        ..Default::default()
    };
    let error = pool
        .transaction(options, async |tx| {
            tx.enlist(Noting::new(&told));
            tx.batch_execute("UPDATE accounts SET money = 1; SELECT pg_sleep(60)")
                .await
        })
        .await
        .unwrap_err();
    assert_eq!(
        TransactionError::of(&error),
        Some(TransactionError::TimedOut)
    );
    eventually("told", || told.ends() == 1).await;
    assert_eq!(told.all(), ["rolled back"]);
    assert_eq!(money(&pool).await, 0);
    pool.close().await;
}

#[tokio::test]
async fn a_commit_tells_its_place_in_the_log_to_the_scope_and_the_hooks() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = accounts(&database).await;
    let scope = Scope::new();
    let heard = Arc::new(Mutex::new(None));
    let write = async |options: TransactionOptions| {
        let heard = Arc::clone(&heard);
        let transaction = pool.transaction(options, async move |tx| {
            tx.on_end(move |outcome| {
                if let Outcome::Committed { lsn, .. } = outcome {
                    *heard.lock().unwrap() = lsn;
                }
            });
            tx.batch_execute("UPDATE accounts SET money = money + 1")
                .await
        });
        scope.run(transaction).await.unwrap();
    };
    write(TransactionOptions::default()).await;
    assert_eq!((scope.written(), *heard.lock().unwrap()), (None, None));
    let asking = TransactionOptions {
        track_lsn: true,
        ..Default::default()
    };
    write(asking).await;
    let first = scope.written().unwrap();
    assert_eq!(*heard.lock().unwrap(), Some(first));
    pool.track_lsn();
    write(TransactionOptions::default()).await;
    assert!(scope.written().unwrap() > first);
    assert_eq!(money(&pool).await, 6);
    pool.close().await;
}

/// From the moment before COMMIT on, nothing that the server says arrives.
struct Swallow(Arc<Proxy>);

impl TransactionHook for Swallow {
    async fn prepare(&mut self) -> Result<(), HookError> {
        self.0.swallow_answers();
        Ok(())
    }

    async fn finished(self, _: Outcome) {}
}

/// A transaction through a proxy that swallows the answer to COMMIT and then cuts the line.
async fn lose_the_answer(resolve_commit: bool) -> Option<(Result<u32, Error>, Vec<String>, i64)> {
    let database = Database::new().await?;
    let direct = accounts(&database).await;
    let proxy = Arc::new(Proxy::before(&database.url).await);
    let pool = database
        .pool_at(&proxy.url(&database.url), |config| {
            (config.lanes, config.keepalive) = (0, None);
        })
        .await;
    let told = Told::default();
    let options = TransactionOptions {
        resolve_commit,
        ..Default::default()
    };
    let runs = AtomicU32::new(0);
    let watcher = async {
        // The commit is visible to others while its answer is on its way.
        while money(&direct).await == 0 {
            tokio::task::yield_now().await;
        }
        proxy.reset();
        eventually("the line is cut", || proxy.open() == 0).await;
        proxy.forward();
    };
    let transaction = pool.transaction(options, async |tx| {
        runs.fetch_add(1, Ordering::Relaxed);
        tx.enlist(Noting::new(&told));
        tx.enlist(Swallow(Arc::clone(&proxy)));
        tx.batch_execute("UPDATE accounts SET money = 1 WHERE id = 1")
            .await?;
        Ok::<_, Error>(tx.attempt())
    });
    let (result, ()) = tokio::join!(transaction, watcher);
    assert_eq!(runs.swap(0, Ordering::Relaxed), 1, "never run again");
    let stored = money(&direct).await;
    pool.close().await;
    direct.close().await;
    Some((result, told.all(), stored))
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown_and_not_run_again() {
    let Some((result, told, stored)) = lose_the_answer(false).await else {
        return;
    };
    let error = result.unwrap_err();
    assert_eq!(
        TransactionError::of(&error),
        Some(TransactionError::CommitUnknown)
    );
    assert_eq!(told, ["prepare", "unknown"]);
    assert_eq!(stored, 1, "it took effect all the same");
}

#[tokio::test]
async fn the_server_is_asked_what_became_of_a_commit_if_that_was_wanted() {
    let Some((result, told, stored)) = lose_the_answer(true).await else {
        return;
    };
    assert_eq!(result, Ok(1));
    assert_eq!(told, ["prepare", "committed"]);
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn a_black_hole_during_commit_is_an_unknown_commit_within_the_statement_timeout() {
    let Some(database) = Database::new().await else {
        return;
    };
    drop(accounts(&database).await);
    let proxy = Arc::new(Proxy::before(&database.url).await);
    let pool = database
        .pool_at(&proxy.url(&database.url), |config| {
            config.statement_timeout = Some(Duration::from_millis(100));
            (config.lanes, config.keepalive) = (0, None);
        })
        .await;
    let told = Told::default();
    let options = TransactionOptions {
        track_lsn: true,
        ..Default::default()
    };
    let scope = Scope::new();
    let transaction = pool.transaction(options, async |tx| {
        tx.enlist(Noting::new(&told));
        tx.enlist(Swallow(Arc::clone(&proxy)));
        tx.batch_execute("UPDATE accounts SET money = 1").await
    });
    let error = scope.run(transaction).await.unwrap_err();
    assert_eq!(scope.written(), None, "no token is made up");
    assert_eq!(
        TransactionError::of(&error),
        Some(TransactionError::CommitUnknown)
    );
    assert!(
        error.to_string().contains("no answer within 100ms"),
        "{error}"
    );
    assert_eq!(told.all(), ["prepare", "unknown"]);
    proxy.forward();
    assert_eq!(money(&pool).await, 2);
    pool.close().await;
}
