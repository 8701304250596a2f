//! What happens to a PostgreSQL server or the network in front of it, and how little of it a caller sees.

use std::time::Duration;

use db_pool::{
    AcquireError, ConnectErrorKind, ErrorClass, Pool, PoolConfig, Postgres, TransactionError,
    TransactionOptions,
};
use diesel::result::Error;
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::postgres_support::Database;
use crate::proxy::Proxy;
use crate::support::{Count, chain, eventually};

const ONE: &str = "SELECT 1::bigint AS n";

/// Longer than any limit below; what takes longer hangs.
const SOON: Duration = Duration::from_secs(10);

async fn one(pool: &Pool<Postgres>) -> Result<(), Error> {
    let mut connection = pool.acquire().await?;
    let row = sql_query(ONE).get_result::<Count>(&mut connection).await?;
    assert_eq!(row.n, 1);
    Ok(())
}

/// A pool behind a proxy, with four idle connections.
async fn behind_a_proxy(
    database: &Database,
    change: impl FnOnce(&mut PoolConfig),
) -> (Proxy, Pool<Postgres>) {
    let proxy = Proxy::before(&database.url).await;
    let url = proxy.url(&database.url);
    let pool = database
        .pool_at(&url, |config| {
            config.lanes = 0;
            change(config);
        })
        .await;
    let size = pool.config().max_size;
    drop(join_all((0..size).map(|_| pool.acquire())).await);
    (proxy, pool)
}

/// As a restart does it: all sessions end with 57P01 while statements are under way.
#[tokio::test]
async fn a_restart_costs_each_statement_under_way_one_error_and_later_callers_none() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| c.lanes = 0).await;
    let mut held = join_all((0..4).map(|_| pool.acquire())).await;
    let sleeping = join_all(held.iter_mut().map(|connection| {
        let connection = connection.as_mut().unwrap();
        connection.batch_execute("SELECT pg_sleep(600)")
    }));
    let active = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = $database AND query LIKE '%pg_sleep%' AND state = 'active'";
    let end = async {
        while database.count(active).await < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(database.terminate_all().await, 4);
    };
    let (ended, ()) = tokio::join!(sleeping, end);
    for result in ended {
        let class = ErrorClass::of(&result.unwrap_err());
        assert_eq!(class, ErrorClass::NotReady);
        assert!(class.is_connection_gone());
    }
    drop(held);
    for _ in 0..20 {
        assert_eq!(one(&pool).await, Ok(()));
    }
}

#[tokio::test]
async fn one_terminated_session_makes_the_pool_look_at_the_others_first() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| (c.lanes, c.validate_after_idle) = (0, Duration::from_secs(3600)))
        .await;
    let all = join_all((0..4).map(|_| pool.acquire())).await;
    let first = all[0].as_ref().unwrap().backend_pid();
    let kill = format!("SELECT pg_terminate_backend({first})::int::bigint");
    assert_eq!(database.count(&kill).await, 1);
    eventually("noticed", || {
        let shown = format!("{:?}", **all[0].as_ref().unwrap());
        shown.contains("57P01")
    })
    .await;
    drop(all);
    for _ in 0..8 {
        assert_eq!(one(&pool).await, Ok(()));
    }
    let status = pool.status();
    assert_eq!((status.connects_total, status.size), (4, 3), "{status}");
}

#[tokio::test]
async fn idle_connections_in_a_black_hole_are_replaced_within_two_seconds() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, |c| c.validate_after_idle = Duration::ZERO).await;
    proxy.black_hole_open();
    let replaced = timeout(Duration::from_secs(2), one(&pool)).await;
    assert_eq!(replaced, Ok(Ok(())));
}

#[tokio::test]
async fn a_statement_in_a_black_hole_ends_by_its_deadline() {
    let Some(database) = Database::new().await else {
        return;
    };
    let limit = Some(Duration::from_millis(100));
    let (proxy, pool) = behind_a_proxy(&database, |c| {
        (c.max_size, c.statement_timeout) = (1, limit);
    })
    .await;
    let mut connection = pool.acquire().await.unwrap();
    proxy.black_hole_open();
    let query = sql_query(ONE).get_result::<Count>(&mut connection);
    let error = timeout(SOON, query).await.expect("ended").unwrap_err();
    assert_eq!(ErrorClass::of(&error), ErrorClass::ConnectionLost);
    assert!(
        error.to_string().contains("although an answer was due"),
        "{error}"
    );
    drop(connection);
    assert_eq!(one(&pool).await, Ok(()));
}

#[tokio::test]
async fn a_statement_that_changes_its_own_limit_is_not_given_up() {
    let Some(database) = Database::new().await else {
        return;
    };
    let limit = Some(Duration::from_millis(1));
    let pool = database
        .pool(|c| (c.lanes, c.max_size, c.statement_timeout) = (0, 1, limit))
        .await;
    let mut connection = pool.acquire().await.unwrap();
    // Longer than the limit and the grace together.
    let sql = "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_sleep(1.6); COMMIT";
    assert_eq!(connection.batch_execute(sql).await, Ok(()));
}

#[tokio::test]
async fn a_commit_whose_answer_never_came_is_unknown() {
    let Some(database) = Database::new().await else {
        return;
    };
    let limit = Some(Duration::from_millis(500));
    let (proxy, pool) = behind_a_proxy(&database, |c| {
        (c.max_size, c.statement_timeout) = (1, limit);
    })
    .await;
    let sql = "CREATE TABLE notes (text TEXT)";
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(sql)
        .await
        .unwrap();
    let lost = &proxy;
    let committing = pool.transaction(TransactionOptions::default(), async |tx| {
        sql_query("INSERT INTO notes VALUES ('x')")
            .execute(tx)
            .await?;
        lost.swallow_answers();
        Ok::<_, Error>(())
    });
    let error = timeout(SOON, committing).await.expect("ended").unwrap_err();
    assert_eq!(
        TransactionError::of(&error),
        Some(TransactionError::CommitUnknown)
    );
    let connection = database.raw().await;
    let stored = connection
        .query_one("SELECT count(*) FROM notes", &[])
        .await;
    assert_eq!(stored.unwrap().get::<_, i64>(0), 1, "it did take effect");
}

#[tokio::test]
async fn a_black_hole_while_connecting_or_logging_in_meets_connect_timeout() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let mut config = PoolConfig::web(proxy.url(&database.url));
    config.connect_timeout = Duration::from_millis(300);
    for bytes in [0, 1, 12, 60] {
        proxy.stop_after(bytes);
        let connecting = Pool::<Postgres>::connect(config.clone());
        let error = timeout(SOON, connecting).await.expect("ended").unwrap_err();
        let connect = error.connect().unwrap();
        assert!(
            connect.is_timeout(),
            "after {bytes} bytes: {}",
            chain(&error)
        );
    }
    proxy.forward();
    assert!(Pool::<Postgres>::connect(config).await.is_ok());
}

#[tokio::test]
async fn a_black_hole_in_the_tls_handshake_meets_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        socket.write_all(b"S").await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut config = PoolConfig::web(format!("postgres://app@{address}/app?sslmode=require"));
    config.connect_timeout = Duration::from_millis(300);
    let connecting = Pool::<Postgres>::connect(config);
    let error = timeout(SOON, connecting).await.expect("ended").unwrap_err();
    assert!(error.connect().unwrap().is_timeout(), "{}", chain(&error));
    silent.abort();
}

#[tokio::test]
async fn a_reset_ends_the_statement_and_the_next_caller_gets_a_new_connection() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, |_| {}).await;
    let mut connection = pool.acquire().await.unwrap();
    let sleeping = connection.batch_execute("SELECT pg_sleep(600)");
    let reset = async {
        let active = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = $database AND query LIKE '%pg_sleep%' AND state = 'active'";
        while database.count(active).await == 0 {
            tokio::task::yield_now().await;
        }
        proxy.reset();
    };
    let (ended, ()) = tokio::join!(sleeping, reset);
    let class = ErrorClass::of(&ended.unwrap_err());
    assert_eq!(class, ErrorClass::ConnectionLost);
    drop(connection);
    for _ in 0..8 {
        assert_eq!(one(&pool).await, Ok(()));
    }
}

#[tokio::test]
async fn sessions_that_the_server_ended_for_idling_are_replaced_unnoticed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let sql = format!(
        "ALTER DATABASE {} SET idle_session_timeout = '50ms'",
        database.name
    );
    database.admin(&sql).await;
    let pool = database.pool(|c| c.lanes = 0).await;
    drop(join_all((0..4).map(|_| pool.acquire())).await);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database";
    for _ in 0..3 {
        while database.count(open).await > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(one(&pool).await, Ok(()));
    }
}

#[tokio::test]
async fn the_first_place_that_answers_is_taken() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (start, rest) = database.url.split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = closed.local_addr().unwrap();
    drop(closed);
    let silent = Proxy::to(address).await;
    silent.black_hole();
    let url = format!("{start}@{refusing},{},{address}/{name}", silent.address());
    let pool = database
        .pool_at(&url, |c| {
            (c.lanes, c.connect_timeout) = (0, Duration::from_secs(1));
        })
        .await;
    assert_eq!(one(&pool).await, Ok(()));
    assert_eq!(silent.connections(), 1);
}

#[tokio::test]
async fn a_server_that_starts_up_or_is_full_is_told_from_one_that_refuses() {
    use ConnectErrorKind as Kind;
    for (code, text, kind, permanent) in [
        (
            "57P03",
            "the database system is starting up",
            Kind::NotReady,
            false,
        ),
        ("57P01", "terminating connection", Kind::NotReady, false),
        (
            "53300",
            "sorry, too many clients already",
            Kind::TooManyConnections,
            false,
        ),
        (
            "53300",
            "remaining connection slots are reserved",
            Kind::TooManyConnections,
            false,
        ),
        ("28000", "no pg_hba.conf entry", Kind::Authentication, true),
        (
            "42501",
            "permission denied for database",
            Kind::Authentication,
            true,
        ),
        (
            "3D000",
            "database does not exist",
            Kind::NoSuchDatabase,
            true,
        ),
        ("XX000", "something else", Kind::Other, false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refusing = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let length = socket.read_u32().await.unwrap() as usize;
            let mut startup = vec![0; length - 4];
            socket.read_exact(&mut startup).await.unwrap();
            let body = format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0");
            socket.write_u8(b'E').await.unwrap();
            socket.write_u32(body.len() as u32 + 4).await.unwrap();
            socket.write_all(body.as_bytes()).await.unwrap();
        });
        let url = format!("postgres://app@{address}/app?sslmode=disable");
        let error = Pool::<Postgres>::connect(PoolConfig::web(url))
            .await
            .unwrap_err();
        let connect = error.connect().unwrap();
        assert_eq!((connect.kind(), connect.sqlstate()), (kind, Some(code)));
        assert_eq!(connect.is_permanent(), permanent, "{code}");
        refusing.await.unwrap();
    }
}

#[tokio::test]
async fn the_role_and_the_version_of_a_server_are_known_without_asking() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|_| {}).await;
    let connection = pool.acquire().await.unwrap();
    assert!(!connection.is_standby());
    let version = "SELECT current_setting('server_version_num')::bigint";
    let version = database.count(version).await;
    assert_eq!(i64::from(connection.server_version()), version);
    let pid = i64::from(connection.backend_pid());
    let known = "SELECT pid::bigint FROM pg_stat_activity WHERE datname = $database \
                 AND application_name = 'main' ORDER BY (pid = {}) DESC LIMIT 1";
    let known = known.replace("{}", &pid.to_string());
    assert_eq!(database.count(&known).await, pid);
}

#[tokio::test]
async fn a_pool_whose_server_refuses_new_connections_lends_those_that_it_has() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, |c| {
        (c.max_size, c.acquire_timeout) = (2, Duration::from_millis(500));
    })
    .await;
    let held = pool.acquire().await.unwrap();
    proxy.refuse();
    assert_eq!(one(&pool).await, Ok(()));
    db_pool::Connection::discard(held);
    assert_eq!(one(&pool).await, Ok(()));
    let _kept = pool.acquire().await.unwrap();
    let error = pool.acquire().await.unwrap_err();
    let why = match &error {
        AcquireError::ConnectFailed { source, .. } => Some(source.kind()),
        AcquireError::Exhausted {
            last_connect_error, ..
        } => last_connect_error.as_ref().map(db_pool::ConnectError::kind),
        _ => None,
    };
    assert_eq!(why, Some(ConnectErrorKind::Unreachable), "{error:?}");
}
