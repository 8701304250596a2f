//! What the log says of statements on both databases: enough to find them, and never a value.

use std::time::Duration;

use db_pool::{Backend, Pool, Scope, TransactionOptions};
use diesel::sql_query;
use diesel::sql_types::{Integer, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use expect_test::expect;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::log_support::Log;
use crate::postgres_support::Database;
use crate::sqlite_support::sqlite_with;
use crate::support::{Count, Word, eventually};

const SECRET: &str = "correct horse battery staple";
const ALWAYS_SLOW: Option<Duration> = Some(Duration::from_nanos(1));

/// Sends a secret in every way that there is.
macro_rules! tell_secrets {
    ($pool:expr, $place:literal) => {{
        let pool = $pool;
        let scope = Scope::new();
        let told = scope.run(async {
            let mut connection = pool.acquire().await.unwrap();
            let create = "CREATE TABLE people (name TEXT UNIQUE)";
            connection.batch_execute(create).await.unwrap();
            let literal = format!("INSERT INTO people VALUES ('{SECRET}')");
            connection.batch_execute(&literal).await.unwrap();
            let insert = concat!("INSERT INTO people VALUES (", $place, ")");
            let again = sql_query(insert).bind::<Text, _>(SECRET);
            again.execute(&mut connection).await.unwrap_err();
            drop(connection);
            for number in 0..6 {
                let select = concat!("SELECT name AS word FROM people WHERE name = ", $place);
                let select = sql_query(select).bind::<Text, _>(format!("{SECRET}{number}"));
                let mut connection = pool.acquire().await.unwrap();
                select.load::<Word>(&mut connection).await.unwrap();
            }
            let update = concat!("UPDATE people SET name = ", $place);
            let update = || sql_query(update).bind::<Text, _>(SECRET);
            let options = TransactionOptions::default();
            let updated = pool.transaction(options, async |tx| update().execute(tx).await);
            updated.await.unwrap();
        });
        told.await;
        pool.status();
        scope.report()
    }};
}

fn check(log: &Log, shown: &[String], system: &str) {
    let text = log.text();
    assert!(!text.contains("horse"), "{text}");
    for shown in shown {
        assert!(!shown.contains("horse"), "{shown}");
    }
    // Six at once, told once; the others are counted for the next second.
    let slow = log.lines(&["WARN", "slow statement", "FROM people WHERE name = ?"]);
    assert_eq!(slow.len(), 1, "{text}");
    assert!(slow[0].contains("fingerprint=") && slow[0].contains("took="));
    let repeated = log.lines(&["WARN", "N+1", "times=5"]);
    assert_eq!(repeated.len(), 1, "{text}");
    let spans = log.lines(&["db.query{", "db.query.summary=\"SELECT people\"", "close"]);
    assert_eq!(spans.len(), 6, "{text}");
    let system = format!("db.system.name=\"{system}\"");
    assert!(spans[0].contains(&system), "{}", spans[0]);
    assert!(spans[0].contains("db.operation.name=\"SELECT\""));
    let failed = log.lines(&["db.query{", "INSERT people", "error.type="]);
    assert_eq!(failed.len(), 1, "{text}");
    let inside = log.lines(&["db.transaction{", "db.query{", "UPDATE people"]);
    assert_eq!(inside.len(), 1, "{text}");
}

fn shown<B: Backend>(pool: &Pool<B>, report: &db_pool::ScopeReport) -> Vec<String> {
    vec![
        format!("{:?}", pool.statements()),
        format!("{:?} {:#}", pool.status(), pool.status()),
        format!("{report} {report:?}"),
    ]
}

#[tokio::test]
async fn on_sqlite_the_log_names_statements_and_no_value() {
    let log = Log::new();
    let (_folder, pool) = sqlite_with(|config| config.slow_query = ALWAYS_SLOW).await;
    let report = tell_secrets!(&pool, "?");
    check(&log, &shown(&pool, &report), "sqlite");
}

#[tokio::test]
async fn on_postgresql_the_log_names_statements_and_no_value() {
    let Some(database) = Database::new().await else {
        return;
    };
    let log = Log::new();
    let pool = database
        .pool(|config| config.slow_query = ALWAYS_SLOW)
        .await;
    let report = tell_secrets!(&pool, "$1");
    check(&log, &shown(&pool, &report), "postgresql");
    pool.close().await;
}

#[tokio::test]
async fn a_statement_that_is_fast_enough_is_not_told() {
    let log = Log::new();
    let (_folder, pool) = sqlite_with(|config| config.slow_query = None).await;
    let mut connection = pool.acquire().await.unwrap();
    sql_query("SELECT 1")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(log.lines(&["slow statement"]), [""; 0]);
}

#[tokio::test]
async fn the_plan_of_a_slow_statement_is_found_in_the_background() {
    let (_folder, pool) = sqlite_with(|config| config.slow_query = ALWAYS_SLOW).await;
    let mut lane = pool.read().await.unwrap();
    let by_id = "SELECT text AS word FROM notes WHERE id = ? -- the point";
    let query = sql_query(by_id).bind::<Text, _>(SECRET);
    query.load::<Word>(&mut lane).await.unwrap();
    drop(lane);
    let plan = || {
        let seen = pool.statements();
        let one = seen.iter().find(|one| one.summary == "SELECT notes");
        one.and_then(|one| one.plan.clone())
    };
    eventually("the plan is known", || plan().is_some()).await;
    expect!["SEARCH notes USING INTEGER PRIMARY KEY (rowid=?)"].assert_eq(&plan().unwrap());
    // The pool's own questions are nobody's statements.
    assert!(
        pool.statements()
            .iter()
            .all(|one| !one.sql.contains("EXPLAIN"))
    );
}

#[tokio::test]
async fn on_postgresql_the_plan_is_the_generic_one_and_nothing_is_executed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|config| config.slow_query = ALWAYS_SLOW)
        .await;
    let mut connection = pool.acquire().await.unwrap();
    let create = "CREATE TABLE notes (id INT PRIMARY KEY, text TEXT); ANALYZE notes";
    connection.batch_execute(create).await.unwrap();
    let delete = format!(
        "DELETE FROM notes WHERE id = $1::int AND text = $2 AND text <> '{SECRET}' /* '$3' */"
    );
    let delete = sql_query(delete);
    let delete = delete.bind::<Integer, _>(7).bind::<Text, _>(SECRET);
    delete.execute(&mut connection).await.unwrap();
    let insert = "INSERT INTO notes VALUES (7, 'stays')";
    connection.batch_execute(insert).await.unwrap();
    drop(connection);
    let plan = |summary: &str| {
        let seen = pool.statements();
        let one = seen.into_iter().find(|one| one.summary == summary);
        one.and_then(|one| one.plan)
    };
    let known = || plan("DELETE notes").is_some() && plan("INSERT notes").is_some();
    eventually("the plans are known", known).await;
    let deleted = plan("DELETE notes").unwrap();
    assert!(deleted.starts_with("Delete on notes"), "{deleted}");
    assert!(
        deleted.contains("(id = $1)") && deleted.contains("(text = $2)"),
        "{deleted}"
    );
    let mut lane = pool.read().await.unwrap();
    let count = sql_query("SELECT count(*) AS n FROM notes");
    assert_eq!(count.get_result::<Count>(&mut lane).await.unwrap().n, 1);
    drop(lane);
    // Neither a transaction nor a prepared statement is left behind.
    for _ in 0..4 {
        let mut connection = pool.acquire().await.unwrap();
        let left = sql_query(
            "SELECT count(*) AS n FROM pg_prepared_statements WHERE name LIKE 'db_pool%'",
        );
        assert_eq!(
            left.get_result::<Count>(&mut connection).await.unwrap().n,
            0
        );
    }
    pool.close().await;
}

#[tokio::test]
async fn a_forgotten_connection_shows_with_its_place_in_status_log_and_metric() {
    let log = Log::new();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (_folder, pool) = sqlite_with(|config| {
        config.max_size = 3;
        config.leak_after = Some(Duration::from_secs(30));
    })
    .await;
    let line = line!() + 1;
    std::mem::forget(pool.acquire().await.unwrap());
    // From here on nothing waits for a thread.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(log.lines(&["leak"]), [""; 0]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let place = format!("tests/it/telling.rs:{line}:");
    let told = log.lines(&["WARN", "leak", &place]);
    assert_eq!(told.len(), 1, "{}", log.text());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log.lines(&["WARN", "leak"]).len(), 1, "told once");
    let status = pool.status();
    assert_eq!((status.leaks_total, status.holders.len()), (1, 1));
    assert!(status.holders[0].at.to_string().contains(&place));
    assert!(format!("{status:#}").contains(&place), "{status:#}");
    let leaks = snapshotter.snapshot().into_vec().into_iter();
    let leaks = leaks.filter(|(key, ..)| key.key().name() == "db_pool_leaks_total");
    let values: Vec<_> = leaks.map(|(.., value)| value).collect();
    assert_eq!(values, [DebugValue::Counter(1)]);
}
