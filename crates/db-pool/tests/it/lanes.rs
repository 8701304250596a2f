//! Lanes on PostgreSQL: shared, bounded, reading only, and unharmed by whoever goes away.

use std::sync::Arc;
use std::time::Duration;

use db_pool::{AcquireError, ErrorClass, Lane, Pool, Postgres};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_query;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join, try_join_all};

use crate::postgres_support::Database;
use crate::support::{Count, Word, chain};

diesel::table! {
    things (id) {
        id -> Integer,
        name -> Text,
    }
}

const THINGS: &str = "CREATE TABLE things (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO things SELECT n, 'thing ' || n FROM generate_series(1, 1000) n";

async fn with_things(database: &Database, pool: &Pool<Postgres>) {
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(THINGS).await.unwrap();
    drop(connection);
    assert_eq!(database.count("SELECT 1::bigint").await, 1);
}

async fn thing(pool: &Pool<Postgres>, id: i32) -> (i32, String) {
    let mut lane = pool.read().await.unwrap();
    things::table.find(id).first(&mut lane).await.unwrap()
}

async fn number(lane: &mut Lane<Postgres>, sql: &str) -> Result<i64, Error> {
    sql_query(sql)
        .get_result::<Count>(lane)
        .await
        .map(|row| row.n)
}

/// What the server is working on in this database.
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database AND state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_tasks_read_through_two_connections() {
    let Some(database) = Database::new().await else {
        return;
    };
    // Nothing counts as stuck, however busy the machine is.
    let patient = Duration::from_secs(5);
    let pool = database
        .pool(|c| (c.max_waiting, c.lane_slow) = (1000, patient))
        .await;
    with_things(&database, &pool).await;
    let tasks = (0..512).map(|task| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for turn in 0..8 {
                let id = (task * 8 + turn) % 1000 + 1;
                assert_eq!(thing(&pool, id).await, (id, format!("thing {id}")));
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let status = pool.status();
    assert!(
        status.connects_total <= 3,
        "one that wrote and two lanes: {status}"
    );
    assert_eq!((status.waiting, status.timeouts_total), (0, 0), "{status}");
    assert_eq!(pool.close().await, 0);
}

#[tokio::test]
async fn statements_on_one_handle_are_pipelined() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    with_things(&database, &pool).await;
    let lane = pool.read().await.unwrap();
    let one = things::table.find(1).select(things::name);
    let count = things::table.count();
    let both = try_join(
        one.first::<String>(&mut &lane),
        count.get_result::<i64>(&mut &lane),
    );
    assert_eq!(both.await, Ok(("thing 1".to_owned(), 1000)));
    let many = (1..=50).map(async |id| {
        let query = things::table.find(id).select(things::id);
        query.first::<i32>(&mut &lane).await
    });
    assert_eq!(try_join_all(many).await, Ok((1..=50).collect()));
    drop(lane);
    // The same on a connection of one's own, where writes may go along.
    let connection = pool.acquire().await.unwrap();
    let mut shared: &AsyncPgConnection = &connection;
    let rename = diesel::update(things::table.find(2)).set(things::name.eq("renamed"));
    let renamed = rename.execute(&mut shared);
    let seen = things::table
        .find(2)
        .select(things::name)
        .first::<String>(&mut shared);
    assert_eq!(try_join(renamed, seen).await, Ok((1, "renamed".to_owned())));
    drop(connection);
    pool.close().await;
}

#[tokio::test]
async fn only_reads_run_on_a_lane() {
    let Some(database) = Database::new().await else {
        return;
    };
    for lanes in [0, 1] {
        let pool = database.pool(|c| c.lanes = lanes).await;
        let mut connection = pool.acquire().await.unwrap();
        let clean = format!("DROP TABLE IF EXISTS things; {THINGS}");
        connection.batch_execute(&clean).await.unwrap();
        drop(connection);
        let mut lane = pool.read().await.unwrap();
        let refused = |error: Error| {
            let text = error.to_string();
            assert!(text.contains("a lane only loads"), "{text}");
        };
        let insert =
            diesel::insert_into(things::table).values((things::id.eq(0), things::name.eq("x")));
        refused(insert.execute(&mut lane).await.unwrap_err());
        let returning = insert.returning(things::id);
        refused(returning.get_result::<i32>(&mut lane).await.unwrap_err());
        refused(lane.batch_execute("SELECT 1").await.unwrap_err());
        for sql in [
            "BEGIN",
            "SET statement_timeout = 0",
            "COPY things TO STDOUT",
            "UPDATE things SET id = 0 RETURNING id::bigint AS n",
            "WITH gone AS (DELETE FROM things RETURNING id) SELECT count(*) AS n FROM gone",
            "SELECT 1::bigint AS n; COMMIT",
            "EXPLAIN ANALYZE DELETE FROM things",
            "SELECT set_config('x.y', '1', false) AS n",
        ] {
            refused(number(&mut lane, sql).await.unwrap_err());
        }
        for sql in [
            "SELECT 1::bigint AS n",
            "VALUES (1::bigint)",
            "TABLE ones",
            "WITH a AS (SELECT 1::bigint AS n) TABLE a",
        ] {
            let sql = sql.replace(
                "TABLE ones",
                "SELECT count(*) AS n FROM (TABLE things LIMIT 1) t",
            );
            let sql = sql.replace(
                "VALUES (1::bigint)",
                "SELECT * FROM (VALUES (1::bigint)) AS v (n)",
            );
            assert_eq!(number(&mut lane, &sql).await, Ok(1), "{sql}");
        }
        drop(lane);
        pool.close().await;
    }
}

#[tokio::test]
async fn the_session_of_a_lane_reads_only_and_has_limits_of_its_own() {
    let Some(database) = Database::new().await else {
        return;
    };
    let limit = Duration::from_millis(300);
    let pool = database.pool(|c| c.lane_statement_timeout = limit).await;
    let mut connection = pool.acquire().await.unwrap();
    let function = "CREATE TABLE log (at int); CREATE FUNCTION writes() RETURNS bigint LANGUAGE sql AS 'INSERT INTO log VALUES (1) RETURNING 1::bigint'";
    connection.batch_execute(function).await.unwrap();
    let mut lane = pool.read().await.unwrap();
    for (name, value) in [
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "300ms"),
        ("lock_timeout", "5s"),
    ] {
        let sql = format!("SELECT current_setting('{name}') AS word");
        let word: Word = sql_query(sql).get_result(&mut lane).await.unwrap();
        assert_eq!(word.word, value, "{name}");
    }
    let hidden = number(&mut lane, "SELECT writes() AS n").await.unwrap_err();
    assert_eq!(ErrorClass::of(&hidden), ErrorClass::ReadOnly, "{hidden}");
    let long = number(&mut lane, "SELECT count(pg_sleep(60)) AS n")
        .await
        .unwrap_err();
    assert!(long.to_string().contains("statement timeout"), "{long}");
    assert_eq!(
        number(&mut lane, "SELECT 7::bigint AS n").await,
        Ok(7),
        "and goes on"
    );
    assert_eq!(
        number_on(&mut connection, "SELECT writes() AS n").await,
        Ok(1)
    );
    drop((lane, connection));
    pool.close().await;
}

async fn number_on(
    connection: &mut db_pool::Connection<Postgres>,
    sql: &str,
) -> Result<i64, Error> {
    sql_query(sql)
        .get_result::<Count>(connection)
        .await
        .map(|row| row.n)
}

#[tokio::test]
async fn places_are_bounded_and_given_in_the_order_of_asking() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| (c.lanes, c.lane_depth, c.max_waiting) = (1, 2, 3))
        .await;
    let held = (pool.read().await.unwrap(), pool.read().await.unwrap());
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.read())).collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none());
    }
    assert_eq!(pool.status().waiting, 3);
    let turned_away = pool.read().await.unwrap_err();
    assert!(matches!(
        turned_away,
        AcquireError::Overloaded { waiting: 3, .. }
    ));
    drop(held.0);
    assert!(
        waiting[2].as_mut().now_or_never().is_none(),
        "not before the first"
    );
    let first = waiting.remove(0).await.unwrap();
    drop(waiting.remove(0));
    drop(held.1);
    assert!(
        waiting.remove(0).await.is_ok(),
        "who left the queue is passed over"
    );
    drop(first);
    assert_eq!(pool.status().waiting, 0);
    pool.close().await;
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_place_is_told_why() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| {
            (c.lanes, c.lane_depth) = (1, 1);
            c.acquire_timeout = Duration::from_millis(500);
        })
        .await;
    let mut held = pool.read().await.unwrap();
    let error = pool.read().await.unwrap_err();
    assert!(matches!(error, AcquireError::Exhausted { .. }), "{error:?}");
    assert!(error.is_timeout());
    // The place belongs to the statement, so a handle that has sent it holds none.
    assert_eq!(number(&mut held, "SELECT 1::bigint AS n").await, Ok(1));
    let mut other = pool.read().await.unwrap();
    let second = number(&mut held, "SELECT 1::bigint AS n")
        .await
        .unwrap_err();
    assert!(second.to_string().contains("within"), "{second}");
    assert_eq!(number(&mut other, "SELECT 2::bigint AS n").await, Ok(2));
    assert_eq!(number(&mut held, "SELECT 3::bigint AS n").await, Ok(3));
    drop((held, other));
    pool.close().await;
}

#[tokio::test]
async fn dropped_reads_harm_nobody_and_leave_nothing_running() {
    let Some(database) = Database::new().await else {
        return;
    };
    let patient = Duration::from_secs(5);
    let pool = database
        .pool(|c| (c.lanes, c.lane_depth, c.lane_slow) = (1, 4, patient))
        .await;
    with_things(&database, &pool).await;
    for round in 0..50 {
        let mut lane = pool.read().await.unwrap();
        let slow = sql_query("SELECT count(pg_sleep(0.003)) AS n");
        {
            let mut statement = Box::pin(slow.get_result::<Count>(&mut lane));
            for _ in 0..round % 4 {
                assert!(statement.as_mut().now_or_never().is_none());
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(
            thing(&pool, round + 1).await.0,
            round + 1,
            "after round {round}"
        );
    }
    // All places are free again, or this would wait for ever.
    let all = join_all((0..4).map(|_| pool.read())).await;
    assert!(all.iter().all(Result::is_ok));
    drop(all);
    let status = pool.status();
    assert_eq!(
        (status.connects_total, status.discarded_total),
        (2, 0),
        "{status}"
    );
    assert_eq!(database.count(SLEEPING).await, 0);
    pool.close().await;
}

#[tokio::test]
async fn a_dropped_read_keeps_its_place_until_the_server_is_done() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.lanes, c.lane_depth) = (1, 1)).await;
    let mut lane = pool.read().await.unwrap();
    let sleeping = tokio::time::timeout(
        Duration::from_millis(20),
        number(&mut lane, "SELECT count(pg_sleep(0.1)) AS n"),
    );
    assert!(sleeping.await.is_err());
    drop(lane);
    let next = pool.read();
    let mut next = Box::pin(next);
    assert!(next.as_mut().now_or_never().is_none());
    assert!(next.await.is_ok());
    assert_eq!(database.count(SLEEPING).await, 0, "it was over before");
    pool.close().await;
}

#[tokio::test]
async fn a_read_dropped_at_any_await_gives_its_place_back() {
    let Some(database) = Database::new().await else {
        return;
    };
    let patient = Duration::from_secs(5);
    let pool = database
        .pool(|c| (c.lanes, c.lane_depth, c.lane_slow) = (1, 1, patient))
        .await;
    with_things(&database, &pool).await;
    for polls in 0..24 {
        // A new text each time, so that preparing is among what is given up.
        let sql = format!(
            "SELECT id::bigint AS n FROM things WHERE id = {}",
            polls + 1
        );
        let mut reading = Box::pin(async {
            let mut lane = pool.read().await.unwrap();
            number(&mut lane, &sql).await
        });
        for _ in 0..polls {
            if reading.as_mut().now_or_never().is_some() {
                break;
            }
            // A real await: the driver and the socket need a turn.
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        drop(reading);
        assert_eq!(thing(&pool, 5).await.0, 5, "after {polls} polls");
    }
    assert_eq!(pool.status().connects_total, 2);
    pool.close().await;
}

#[tokio::test]
async fn slow_statements_learned_are_kept_apart_from_quick_ones() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| {
            c.lane_slow = Duration::from_millis(300);
            c.lane_depth = 4;
        })
        .await;
    with_things(&database, &pool).await;
    let sleep = async |seconds: &str| {
        let mut lane = pool.read().await.unwrap();
        // One text, so that all are known to be slow when one was.
        let query = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(pg_sleep(")
            .bind::<diesel::sql_types::Double, _>(seconds.parse::<f64>().unwrap())
            .sql("))");
        query.get_result::<i64>(&mut lane).await
    };
    assert_eq!(sleep("3").await, Ok(1));
    assert_eq!(thing(&pool, 1).await.0, 1);
    let slow = join_all((0..4).map(|_| sleep("1")));
    let quick = async {
        for id in 1..=20 {
            assert_eq!(thing(&pool, id).await.0, id);
            tokio::task::yield_now().await;
        }
    };
    let mut slow = Box::pin(slow);
    tokio::select! {
        biased;
        _ = slow.as_mut() => panic!("quick statements waited for slow ones"),
        () = quick => {}
    }
    assert!(slow.await.iter().all(Result::is_ok));
    pool.close().await;
}

#[tokio::test]
async fn a_stuck_lane_takes_no_new_statements_and_is_replaced() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| {
            c.lanes = 1;
            c.lane_slow = Duration::from_millis(5);
        })
        .await;
    with_things(&database, &pool).await;
    let mut lane = pool.read().await.unwrap();
    let stuck = number(&mut lane, "SELECT count(pg_sleep(1)) AS n");
    let quick = async {
        // On the same lane at first; the later ones find it stuck.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for id in 1..=20 {
            assert_eq!(thing(&pool, id).await.0, id);
        }
    };
    let mut stuck = Box::pin(stuck);
    tokio::select! {
        biased;
        _ = stuck.as_mut() => panic!("quick statements waited for the stuck one"),
        () = quick => {}
    }
    assert_eq!(stuck.await, Ok(1), "it is let finish");
    drop(lane);
    assert!(pool.status().connects_total >= 3);
    assert_eq!(pool.close().await, 0);
}

#[tokio::test]
async fn a_killed_lane_fails_its_statements_by_type_and_is_replaced() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = Arc::new(database.pool(|_| {}).await);
    with_things(&database, &pool).await;
    let sleepers = (0..4).map(|_| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let mut lane = pool.read().await.unwrap();
            number(&mut lane, "SELECT count(pg_sleep(60)) AS n").await
        })
    });
    let sleepers: Vec<_> = sleepers.collect();
    while database.count(SLEEPING).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(database.terminate_all().await > 0);
    let closed = DatabaseErrorKind::ClosedConnection;
    for sleeper in sleepers {
        let error = sleeper.await.unwrap().unwrap_err();
        // The one that ran may hear the server's own words.
        let class = ErrorClass::of(&error);
        let typed = matches!(&error, Error::DatabaseError(kind, _) if *kind == closed);
        assert!(
            typed || class != ErrorClass::Other || error.to_string().contains("terminating"),
            "{error:?}"
        );
    }
    for id in 1..=10 {
        assert_eq!(thing(&pool, id).await.0, id);
    }
    pool.close().await;
}

#[tokio::test]
async fn old_lanes_are_replaced_without_an_error() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| {
            (c.lanes, c.max_lifetime) = (1, Some(Duration::from_millis(50)));
            (c.keepalive, c.leak_after) = (None, None);
        })
        .await;
    with_things(&database, &pool).await;
    let mut lane = pool.read().await.unwrap();
    for id in 1..=10 {
        assert_eq!(thing(&pool, id).await.0, id);
        // A handle outlives the connection that it began with.
        let query = things::table.find(id).select(things::id);
        assert_eq!(query.first::<i32>(&mut lane).await, Ok(id));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(pool.status().connects_total > 3, "{}", pool.status());
    drop(lane);
    assert_eq!(pool.close().await, 0);
}

#[tokio::test]
async fn a_lane_that_died_in_silence_is_asked_before_it_is_used() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = crate::proxy::Proxy::before(&database.url).await;
    let pool = database
        .pool_at(&proxy.url(&database.url), |c| {
            c.validate_after_idle = Duration::ZERO;
            c.validation_timeout = Duration::from_millis(200);
        })
        .await;
    with_things(&database, &pool).await;
    assert_eq!(thing(&pool, 1).await.0, 1);
    proxy.black_hole_open();
    assert_eq!(thing(&pool, 2).await.0, 2, "on a new one");
    pool.close().await;
}

#[tokio::test]
async fn closing_ends_lanes_waiters_and_later_reads() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.lanes, c.lane_depth) = (1, 1)).await;
    let mut lane = pool.read().await.unwrap();
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.read().await.map(drop) }
    });
    while pool.status().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let under_way = async { number(&mut lane, "SELECT count(pg_sleep(0.1)) AS n").await };
    let (answer, open) = tokio::join!(under_way, pool.close());
    assert_eq!(
        (answer, open),
        (Ok(1), 0),
        "what is under way is let finish"
    );
    assert!(waiter.await.unwrap().unwrap_err().is_closed());
    assert!(pool.read().await.unwrap_err().is_closed());
    let late = number(&mut lane, "SELECT 1::bigint AS n")
        .await
        .unwrap_err();
    assert!(late.to_string().contains("lane is gone"), "{late}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_fails_the_read_with_the_reason() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = crate::proxy::Proxy::before(&database.url).await;
    let pool = database.pool_at(&proxy.url(&database.url), |_| {}).await;
    proxy.refuse();
    let error = pool.read().await.unwrap_err();
    assert!(
        matches!(error, AcquireError::ConnectFailed { .. }),
        "{}",
        chain(&error)
    );
    proxy.forward();
    let mut lane = pool.read().await.unwrap();
    assert_eq!(number(&mut lane, "SELECT 1::bigint AS n").await, Ok(1));
    drop(lane);
    pool.close().await;
}

#[tokio::test]
async fn without_lanes_a_read_borrows_a_connection() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.lanes = 0).await;
    let mut lane = pool.read().await.unwrap();
    assert_eq!(pool.status().in_use, 1);
    assert_eq!(number(&mut lane, "SELECT 1::bigint AS n").await, Ok(1));
    drop(lane);
    assert_eq!(pool.status().in_use, 0);
    pool.close().await;
}
