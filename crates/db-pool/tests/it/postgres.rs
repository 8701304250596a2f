//! PostgreSQL, where `TEST_DATABASE_URL` names a server; every test makes a database of its own.

use std::time::Duration;

use db_pool::{AcquireError, ConnectErrorKind, Pool, PoolConfig, Postgres, TransactionOptions};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_query;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::postgres_support::Database;
use crate::support::{Count, Word, chain, eventually};

async fn notes(pool: &Pool<Postgres>) -> i64 {
    let mut lane = pool.read().await.unwrap();
    sql_query("SELECT count(*) AS n FROM notes")
        .get_result::<Count>(&mut lane)
        .await
        .unwrap()
        .n
}

async fn create_notes(pool: &Pool<Postgres>) {
    let sql = "CREATE TABLE notes (id SERIAL PRIMARY KEY, text TEXT NOT NULL)";
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(sql)
        .await
        .unwrap();
}

const IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = $database AND state LIKE 'idle in transaction%'";

const INSERT: &str = "INSERT INTO notes (text) VALUES ('x')";

#[tokio::test]
async fn a_wrong_password_fails_fast_and_for_good() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (start, rest) = database.url.split_once('@').unwrap();
    let user = start
        .trim_start_matches("postgres://")
        .trim_start_matches("postgresql://");
    let user = user.split(':').next().unwrap();
    let url = format!("postgres://{user}:wrong-on-purpose@{rest}");
    let started = tokio::time::Instant::now();
    match Pool::<Postgres>::connect(PoolConfig::web(url)).await {
        Err(error) => {
            assert!(started.elapsed() < Duration::from_secs(2));
            let connect = error.connect().unwrap();
            assert_eq!(
                connect.kind(),
                ConnectErrorKind::Authentication,
                "{}",
                chain(&error)
            );
            assert_eq!(connect.sqlstate(), Some("28P01"));
            assert!(connect.is_permanent());
            assert!(
                !chain(&error).contains("wrong-on-purpose"),
                "{}",
                chain(&error)
            );
        }
        Ok(_) => eprintln!("skipped: this server trusts everybody"),
    }
}

#[tokio::test]
async fn a_missing_database_fails_fast_with_its_code() {
    let Some(database) = Database::new().await else {
        return;
    };
    let url = database.url.replace(&database.name, "no_such_database");
    let error = Pool::<Postgres>::connect(PoolConfig::web(url))
        .await
        .unwrap_err();
    let connect = error.connect().unwrap();
    assert_eq!(
        (connect.kind(), connect.sqlstate()),
        (ConnectErrorKind::NoSuchDatabase, Some("3D000"))
    );
}

#[tokio::test]
async fn a_connect_failure_after_opening_is_told_as_the_cause_and_what_is_open_still_serves() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    let held = pool.acquire().await.unwrap();
    let forbid = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name);
    database.admin(&forbid).await;
    let error = pool
        .acquire_within(Duration::from_millis(300))
        .await
        .unwrap_err();
    let AcquireError::Exhausted {
        holders,
        last_connect_error: Some(cause),
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(cause.sqlstate(), Some("55000"), "{}", chain(&error));
    assert!(!cause.is_permanent() && error.is_timeout());
    assert_eq!(holders.len(), 1);
    assert!(pool.status().connect_failures_total >= 1);
    // A waiter takes what comes back while connecting still fails.
    let mut waiter = Box::pin(pool.acquire());
    assert!((&mut waiter).now_or_never().is_none());
    drop(held);
    assert!(waiter.await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn session_settings_arrive_with_the_login() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.name = "orders".into()).await;
    let mut connection = pool.acquire().await.unwrap();
    for (name, value) in [
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("application_name", "orders"),
        ("TimeZone", "UTC"),
    ] {
        let sql = format!("SELECT current_setting('{name}') AS word");
        let word: Word = sql_query(sql).get_result(&mut connection).await.unwrap();
        assert_eq!(word.word, value, "{name}");
    }
    drop(connection);
    assert_eq!(pool.close().await, 0);
}

#[tokio::test]
async fn a_transaction_commits_rolls_back_and_survives_being_dropped() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.max_size = 1).await;
    create_notes(&pool).await;
    let options = TransactionOptions::serializable();
    let inserted = pool
        .transaction(options, async |connection| {
            sql_query(INSERT).execute(connection).await
        })
        .await;
    assert_eq!(inserted, Ok(1));
    let refused = pool
        .transaction(options, async |connection| {
            sql_query(INSERT).execute(connection).await?;
            Err::<(), _>(Error::RollbackTransaction)
        })
        .await;
    assert_eq!(refused, Err(Error::RollbackTransaction));
    assert_eq!(pool.status().recovered_total, 0);
    let dropped = pool.transaction(options, async |connection| {
        sql_query(INSERT).execute(connection).await?;
        std::future::pending::<()>().await;
        Ok::<_, Error>(())
    });
    assert!(timeout(Duration::from_millis(300), dropped).await.is_err());
    assert_eq!(notes(&pool).await, 1);
    let status = pool.status();
    assert_eq!(
        (status.recovered_total, status.connects_total),
        (1, 1),
        "{status}"
    );
    pool.close().await;
}

#[tokio::test]
async fn a_transaction_dropped_at_any_await_never_reaches_the_next_borrower() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.min_idle) = (1, 0)).await;
    create_notes(&pool).await;
    for polls in 0..20 {
        let mut connection = pool.acquire().await.unwrap();
        {
            let mut transaction = Box::pin(connection.transaction(async |connection| {
                sql_query(INSERT).execute(connection).await?;
                sql_query("DELETE FROM notes").execute(connection).await
            }));
            for _ in 0..polls {
                if transaction.as_mut().now_or_never().is_some() {
                    break;
                }
                // A real await: the driver task and the socket need a turn.
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        drop(connection);
        // Lent only after the repair, so nothing is open now.
        let next = pool.acquire().await.unwrap();
        let open = database.count(IN_TRANSACTION).await;
        drop(next);
        assert_eq!((open, notes(&pool).await), (0, 0), "after {polls} polls");
    }
    assert_eq!(pool.status().in_use, 0);
    pool.close().await;
}

#[tokio::test]
async fn a_panic_in_a_transaction_rolls_back() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.max_size = 1).await;
    create_notes(&pool).await;
    let panicking = pool.clone();
    let task = tokio::spawn(async move {
        panicking
            .transaction(TransactionOptions::default(), async |connection| {
                let rows = sql_query(INSERT).execute(connection).await?;
                assert_eq!(rows, 0, "on purpose");
                Ok::<_, Error>(())
            })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(notes(&pool).await, 0);
    assert_eq!(pool.status().recovered_total, 1);
    pool.close().await;
}

#[tokio::test]
async fn a_body_that_ignores_a_failed_statement_gets_an_error_and_not_a_silent_rollback() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.max_size = 1).await;
    create_notes(&pool).await;
    let ignoring = pool
        .transaction(TransactionOptions::default(), async |connection| {
            sql_query(INSERT).execute(connection).await?;
            let _ = sql_query("SELECT 1 / 0").execute(connection).await;
            Ok::<_, Error>(())
        })
        .await;
    let text = ignoring.expect_err("nothing was committed").to_string();
    assert!(text.contains("transaction is aborted"), "{text}");
    assert_eq!(notes(&pool).await, 0);
    let mut connection = pool.acquire().await.unwrap();
    let by_hand = connection
        .transaction(async |connection| {
            let _ = sql_query("SELECT 1 / 0").execute(connection).await;
            Ok::<_, Error>(())
        })
        .await;
    assert!(by_hand.is_err());
    let goes_on = sql_query(INSERT).execute(&mut connection).await;
    assert_eq!(goes_on, Ok(1), "the transaction is over");
    drop(connection);
    assert_eq!(notes(&pool).await, 1);
    assert_eq!(pool.status().recovered_total, 0);
    pool.close().await;
}

#[tokio::test]
async fn a_statement_dropped_and_never_ending_is_cancelled_on_the_server() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| c.recovery_timeout = Duration::from_millis(50))
        .await;
    let mut connection = pool.acquire().await.unwrap();
    let sleeping = connection.batch_execute("SELECT pg_sleep(600)");
    assert!(timeout(Duration::from_millis(200), sleeping).await.is_err());
    drop(connection);
    // On a slow machine the cancel may take longer than the repair may, and the connection is closed.
    eventually("repaired or given up", || {
        let status = pool.status();
        status.recovered_total + status.discarded_total == 1
    })
    .await;
    assert!(pool.acquire().await.is_ok());
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database AND query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()";
    let mut left = i64::MAX;
    for _ in 0..200 {
        left = database.count(running).await;
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(left, 0, "the server stopped working on it");
    pool.close().await;
}

#[tokio::test]
async fn connections_killed_by_the_server_are_replaced_unnoticed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| c.validate_after_idle = Duration::ZERO)
        .await;
    drop(futures_util::future::join_all((0..4).map(|_| pool.acquire())).await);
    assert_eq!(database.terminate_all().await, 4);
    for _ in 0..8 {
        let mut lane = pool.read().await.unwrap();
        sql_query("SELECT 1::bigint AS n")
            .get_result::<Count>(&mut lane)
            .await
            .unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn a_statement_on_a_killed_connection_says_that_it_is_closed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(database.terminate_all().await, 1);
    eventually("the driver hears of it", || {
        format!("{:?}", &*connection).contains("Some(")
    })
    .await;
    // The server's own words, unless they came as the answer to something that nobody waited for.
    let error = connection.batch_execute("SELECT 1").await.unwrap_err();
    let closed = DatabaseErrorKind::ClosedConnection;
    assert!(
        matches!(&error, Error::DatabaseError(kind, _) if *kind == closed),
        "{error:?}"
    );
    drop(connection);
    assert!(pool.ping().await.is_ok());
    pool.close().await;
}

#[cfg(feature = "migrations")]
#[tokio::test]
async fn concurrent_migrators_apply_each_migration_once() {
    use crate::migrations::{BAD_MIGRATIONS, MIGRATIONS};

    let Some(database) = Database::new().await else {
        return;
    };
    let pools =
        futures_util::future::join_all((0..4).map(|_| database.pool(|c| c.min_idle = 0))).await;
    let all =
        futures_util::future::join_all(pools.iter().map(|pool| pool.migrate(MIGRATIONS))).await;
    let mut applied: Vec<String> = all.into_iter().flat_map(Result::unwrap).collect();
    applied.sort();
    assert_eq!(applied, ["0001", "0002"]);
    assert_eq!(pools[0].migrate(MIGRATIONS).await.unwrap(), [""; 0]);
    assert_eq!(notes(&pools[1]).await, 0);
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = $database)";
    for pool in &pools {
        assert_eq!(pool.close().await, 0);
    }
    assert_eq!(database.count(locks).await, 0);
    let other = database.pool(|_| {}).await;
    let error = other.migrate(BAD_MIGRATIONS).await;
    // Version 0001 counts as applied, 0002 too: the list goes by version.
    assert_eq!(error.unwrap(), [""; 0]);
    other.close().await;
}

#[cfg(feature = "migrations")]
#[tokio::test]
async fn a_failed_migration_is_named_and_earlier_ones_stay() {
    use crate::migrations::{BAD_MIGRATIONS, MIGRATIONS};

    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    let error = pool.migrate(BAD_MIGRATIONS).await.unwrap_err();
    assert!(matches!(&error, db_pool::MigrateError::Failed { version, .. } if version == "0002"));
    assert!(
        chain(&error).contains("nothing_like_this"),
        "{}",
        chain(&error)
    );
    assert_eq!(pool.migrate(MIGRATIONS).await.unwrap(), ["0002"]);
    pool.close().await;
}
