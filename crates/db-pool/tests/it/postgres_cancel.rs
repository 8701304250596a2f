//! PostgreSQL statements that nobody waits for any more: stopped, cleaned up behind, and never in the next one's way.

use std::time::Duration;

use db_pool::{Pool, Postgres};
use diesel::sql_query;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout};

use crate::postgres_support::Database;
use crate::support::{Count, eventually};

const ONE: &str = "SELECT 1::bigint AS n";

/// Begins a statement of up to 1.2 ms, drops it after up to 1.2 ms, gives the connection back, borrows one and uses it.
pub(crate) async fn cancel_at_random(pool: &Pool<Postgres>, times: u32, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..times {
        let seconds = random.f64() * 0.0012;
        let patience = Duration::from_micros(random.u64(0..1200));
        let sql = format!("SELECT pg_sleep({seconds:.6})");
        let mut connection = pool.acquire().await.unwrap();
        let mut sleeping = Box::pin(sql_query(sql).execute(&mut connection));
        let started = Instant::now();
        // Timers are too coarse for this.
        while started.elapsed() < patience && sleeping.as_mut().now_or_never().is_none() {
            tokio::task::yield_now().await;
        }
        drop(sleeping);
        drop(connection);
        let mut next = pool.acquire().await.unwrap();
        let answer = sql_query(ONE).get_result::<Count>(&mut next).await;
        assert_eq!(
            answer,
            Ok(Count { n: 1 }),
            "the next statement is never hit"
        );
    }
}

/// Nothing was closed, and nothing is left open.
pub(crate) async fn assert_undisturbed(pool: &Pool<Postgres>, connects: u64) {
    eventually("repaired", || pool.status().recovering == 0).await;
    let status = pool.status();
    assert_eq!(
        (status.discarded_total, status.connects_total, status.in_use),
        (0, connects, 0),
        "{status}"
    );
    assert!(status.recovered_total > 0, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_hundred_random_cancels_kill_no_following_statement() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| (c.lanes, c.cancel_after) = (0, Duration::ZERO))
        .await;
    drop(join_all((0..4).map(|_| pool.acquire())).await);
    join_all((0..4).map(|seed| cancel_at_random(&pool, 375, seed))).await;
    assert_undisturbed(&pool, 4).await;
    assert_eq!(pool.close().await, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn cancels_go_through_a_unix_socket_as_well() {
    let Some(database) = Database::new().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    let (start, rest) = database.url.split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let target = address.to_owned();
    let forwarding = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect(&target).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let host = folder.path().to_str().unwrap().replace('/', "%2F");
    // TLS is asked for, and there is none on such a socket: as libpq has it, none is needed.
    let url = format!("{start}@{host}:5432/{name}?sslmode=require");
    let pool = database
        .pool_at(&url, |c| {
            (c.lanes, c.max_size, c.cancel_after) = (0, 1, Duration::ZERO);
        })
        .await;
    cancel_at_random(&pool, 100, 7).await;
    assert_undisturbed(&pool, 1).await;
    pool.close().await;
    forwarding.abort();
}

#[tokio::test]
async fn a_statement_that_never_ends_is_cancelled_and_its_connection_stays() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    for _ in 0..3 {
        let mut connection = pool.acquire().await.unwrap();
        connection.batch_execute("BEGIN").await.unwrap();
        let sleeping = connection.batch_execute("SELECT pg_sleep(600)");
        assert!(timeout(Duration::from_millis(50), sleeping).await.is_err());
        drop(connection);
        let mut next = pool.acquire().await.unwrap();
        let answer = sql_query(ONE).get_result::<Count>(&mut next).await;
        assert_eq!(answer, Ok(Count { n: 1 }));
    }
    assert_undisturbed(&pool, 1).await;
    assert_eq!(pool.status().recovered_total, 3);
}

#[tokio::test]
async fn a_short_statement_is_waited_for_and_not_cancelled() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| {
            (c.max_size, c.lanes) = (1, 0);
            (c.cancel_after, c.recovery_timeout) =
                (Duration::from_secs(60), Duration::from_secs(120));
        })
        .await;
    let mut connection = pool.acquire().await.unwrap();
    connection
        .batch_execute("CREATE TABLE t (n int)")
        .await
        .unwrap();
    let slow = connection.batch_execute("SELECT pg_sleep(0.2); INSERT INTO t VALUES (1)");
    assert!(timeout(Duration::from_millis(20), slow).await.is_err());
    drop(connection);
    let mut next = pool.acquire().await.unwrap();
    let rows = sql_query("SELECT count(*) AS n FROM t");
    assert_eq!(rows.get_result(&mut next).await, Ok(Count { n: 1 }));
}

#[tokio::test]
async fn rows_dropped_in_the_middle_are_noticed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    let mut connection = pool.acquire().await.unwrap();
    // So slow that the rest is still to come, however quick the reader.
    let sql = "SELECT n::bigint, repeat('x', 1000) FROM generate_series(1, 1000000) AS n \
               WHERE n < 100 OR pg_sleep(0.01) IS NOT NULL";
    let mut rows = sql_query(sql)
        .load_stream::<Count>(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows.next().await, Some(Ok(Count { n: 1 })));
    drop(rows);
    drop(connection);
    let mut next = pool.acquire().await.unwrap();
    let answer = sql_query(ONE).get_result::<Count>(&mut next).await;
    assert_eq!(answer, Ok(Count { n: 1 }));
    drop(next);
    assert_undisturbed(&pool, 1).await;
}

#[tokio::test]
async fn a_transaction_that_any_statement_opened_is_rolled_back() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    let sql = "CREATE TABLE t (n int)";
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(sql)
        .await
        .unwrap();
    for begin in ["BEGIN", "/* mine */ start transaction", "COMMIT; BEGIN"] {
        let mut connection = pool.acquire().await.unwrap();
        match begin {
            "COMMIT; BEGIN" => connection.batch_execute(begin).await.unwrap(),
            _ => drop(sql_query(begin).execute(&mut connection).await.unwrap()),
        }
        sql_query("INSERT INTO t VALUES (1)")
            .execute(&mut connection)
            .await
            .unwrap();
        drop(connection);
        let mut next = pool.acquire().await.unwrap();
        let rows = sql_query("SELECT count(*) AS n FROM t");
        assert_eq!(
            rows.get_result(&mut next).await,
            Ok(Count { n: 0 }),
            "{begin}"
        );
    }
    // Begun, and dropped before the answer came.
    for polls in 1..6 {
        let mut connection = pool.acquire().await.unwrap();
        let mut begin = Box::pin(sql_query("BEGIN").execute(&mut connection));
        for _ in 0..polls {
            if begin.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(begin);
        drop(connection);
        let next = pool.acquire().await.unwrap();
        let open = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = $database AND state LIKE 'idle in%'";
        assert_eq!(database.count(open).await, 0, "after {polls} polls");
        drop(next);
    }
    assert_undisturbed(&pool, 1).await;
}

#[tokio::test]
async fn pipelined_statements_that_are_dropped_are_noticed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    let connection = pool.acquire().await.unwrap();
    {
        let mut shared: &AsyncPgConnection = &connection;
        let all = (0..4).map(|_| sql_query("SELECT pg_sleep(600)").execute(&mut shared));
        let all: Vec<_> = all.collect();
        assert!(
            timeout(Duration::from_millis(50), join_all(all))
                .await
                .is_err()
        );
    }
    drop(connection);
    let mut next = pool.acquire().await.unwrap();
    let answer = sql_query(ONE).get_result::<Count>(&mut next).await;
    assert_eq!(answer, Ok(Count { n: 1 }));
    drop(next);
    assert_undisturbed(&pool, 1).await;
}

#[tokio::test]
async fn a_query_dropped_at_any_await_never_reaches_the_next_borrower() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    let mut completed = 0;
    for polls in 0..40 {
        let mut connection = pool.acquire().await.unwrap();
        {
            let mut query = Box::pin(sql_query(ONE).get_result::<Count>(&mut connection));
            for _ in 0..polls {
                if query.as_mut().now_or_never().is_some() {
                    completed += 1;
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        drop(connection);
        let mut next = pool.acquire().await.unwrap();
        let two = sql_query("SELECT 2::bigint AS n");
        assert_eq!(
            two.get_result(&mut next).await,
            Ok(Count { n: 2 }),
            "{polls}"
        );
        drop(next);
        let active = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = $database AND state <> 'idle'";
        assert_eq!(database.count(active).await, 0, "after {polls} polls");
    }
    assert!(completed < 40, "some were dropped");
    let status = pool.status();
    assert_eq!((status.in_use, status.connects_total), (0, 1), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_that_cancels_a_third_of_all_tasks_costs_no_connection() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| (c.max_size, c.lanes, c.max_waiting) = (8, 0, 1000))
        .await;
    drop(join_all((0..8).map(|_| pool.acquire())).await);
    let tasks = (0..64).map(|task: u64| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            let mut done = 0;
            for _ in 0..50 {
                let mut connection = pool.acquire().await.unwrap();
                let sql = sql_query("SELECT pg_sleep(0.003)");
                let query = sql.execute(&mut connection);
                if random.u64(0..10) < 3 {
                    let patience = Duration::from_millis(random.u64(1..3));
                    done += u32::from(timeout(patience, query).await.is_ok());
                } else {
                    query.await.unwrap();
                    done += 1;
                }
            }
            done
        })
    });
    let done: u32 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    assert!((1..64 * 50).contains(&done), "{done}");
    assert_undisturbed(&pool, 8).await;
}
