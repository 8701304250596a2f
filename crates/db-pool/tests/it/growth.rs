//! PostgreSQL servers that refuse for a while or for good, and how many connections a burst opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db_pool::{AcquireError, ConnectErrorKind, Connection, Pool, PoolConfig, Postgres};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::postgres_support::Database;
use crate::proxy::Proxy;
use crate::support::{chain, eventually};

/// A server that refuses logins with a code, or passes connections on, as told.
struct Gate {
    address: String,
    refuse: watch::Sender<Option<&'static str>>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Gate {
    async fn new(behind: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (refuse, told) = watch::channel(None);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let code: Option<&'static str> = *told.borrow();
                tokio::spawn(serve(client, code, behind.clone()));
            }
        });
        Self {
            address,
            refuse,
            asked,
            task,
        }
    }

    fn refuse(&self, code: Option<&'static str>) {
        self.refuse.send_replace(code);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, code: Option<&'static str>, behind: Option<String>) {
    let Some(code) = code else {
        if let Some(behind) = behind {
            let mut server = TcpStream::connect(behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
        return;
    };
    let length = client.read_u32().await.unwrap_or(4);
    let mut login = vec![0; length as usize - 4];
    if client.read_exact(&mut login).await.is_err() {
        return;
    }
    if login == 80_877_103_u32.to_be_bytes() {
        // It asks for TLS; there is none, so it logs in without.
        let _ = client.write_all(b"N").await;
        return Box::pin(serve(client, Some(code), None)).await;
    }
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Mnot now\0\0");
    let mut answer = vec![b'E'];
    answer.extend((fields.len() as u32 + 4).to_be_bytes());
    answer.extend(fields.as_bytes());
    let _ = client.write_all(&answer).await;
}

/// A database, and a pool on it whose way leads through a gate.
async fn behind_a_gate(
    change: impl FnOnce(&mut PoolConfig),
) -> Option<(Database, Gate, Pool<Postgres>)> {
    let database = Database::new().await?;
    let (start, rest) = database.url.split_once('@').unwrap();
    let (address, rest) = rest.split_once('/').unwrap();
    let address = if address.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:5432")
    };
    let gate = Gate::new(Some(address)).await;
    let mut config = PoolConfig::web(format!("{start}@{}/{rest}", gate.address));
    (config.max_size, config.min_idle, config.lanes) = (4, 0, 0);
    change(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    Some((database, gate, pool))
}

#[tokio::test]
async fn a_server_that_starts_up_is_asked_again_until_it_is_ready() {
    let Some((_database, gate, pool)) = behind_a_gate(|_| {}).await else {
        return;
    };
    gate.refuse(Some("57P03"));
    Connection::discard(pool.acquire().await.unwrap());
    let before = gate.asked();
    let error = pool
        .acquire_within(Duration::from_millis(400))
        .await
        .unwrap_err();
    let AcquireError::ConnectFailed { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        source.kind(),
        ConnectErrorKind::NotReady,
        "{}",
        chain(&error)
    );
    let tries = gate.asked() - before;
    assert!((1..12).contains(&tries), "with growing pauses: {tries}");
    gate.refuse(None);
    assert!(pool.acquire().await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn a_full_server_leaves_the_pool_to_work_with_what_it_has() {
    let Some((_database, gate, pool)) = behind_a_gate(|_| {}).await else {
        return;
    };
    gate.refuse(Some("53300"));
    let served = (0..20).map(|_| async {
        let held = pool.acquire().await;
        tokio::task::yield_now().await;
        held.map(drop)
    });
    let served = join_all(served).await;
    assert!(served.iter().all(Result::is_ok), "{served:?}");
    assert_eq!(pool.status().size, 1);
    let status = pool.status().to_string();
    assert!(status.contains("no connection slot left"), "{status}");
    pool.close().await;
}

#[tokio::test]
async fn a_password_that_is_refused_later_reaches_all_waiters_at_once_and_is_not_tried_by_each() {
    let Some((_database, gate, pool)) = behind_a_gate(|c| {
        c.acquire_timeout = Duration::from_secs(30);
    })
    .await
    else {
        return;
    };
    gate.refuse(Some("28P01"));
    Connection::discard(pool.acquire().await.unwrap());
    let (before, started) = (gate.asked(), Instant::now());
    let errors = join_all((0..50).map(|_| pool.acquire())).await;
    assert!(started.elapsed() < Duration::from_secs(2));
    for error in errors.into_iter().map(Result::unwrap_err) {
        assert!(error.is_permanent() && error.is_connect(), "{error:?}");
    }
    let tries = gate.asked() - before;
    assert!(tries <= 6, "{tries}");
    pool.close().await;
}

#[tokio::test]
async fn refusals_at_the_start_tell_their_kind_at_once() {
    let gate = Gate::new(None).await;
    for (code, kind) in [
        ("28P01", ConnectErrorKind::Authentication),
        ("3D000", ConnectErrorKind::NoSuchDatabase),
        ("53300", ConnectErrorKind::TooManyConnections),
        ("57P03", ConnectErrorKind::NotReady),
    ] {
        gate.refuse(Some(code));
        let url = format!("postgres://app:secret@{}/app", gate.address);
        let started = Instant::now();
        let error = Pool::<Postgres>::connect(PoolConfig::web(url))
            .await
            .unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(2));
        let connect = error.connect().unwrap();
        assert_eq!((connect.kind(), connect.sqlstate()), (kind, Some(code)));
    }
}

#[tokio::test]
async fn a_burst_of_short_work_opens_few_connections() {
    let Some((_database, gate, pool)) = behind_a_gate(|c| c.max_size = 30).await else {
        return;
    };
    let before = gate.asked();
    let work = (0..50).map(|_| async {
        let held = pool.acquire().await.unwrap();
        tokio::task::yield_now().await;
        drop(held);
    });
    join_all(work).await;
    let opened = gate.asked() - before;
    assert!(opened <= 10, "{opened} for 50 short tasks");
    pool.close().await;
}

#[tokio::test]
async fn a_spike_that_is_served_while_connects_are_slow_opens_no_more_than_are_under_way() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let pool = database
        .pool_at(&proxy.url(&database.url), |c| {
            (c.max_size, c.min_idle, c.lanes) = (50, 0, 0);
        })
        .await;
    let before = proxy.connections();
    // From here on a connect takes for ever, and work on the one connection goes on.
    proxy.black_hole();
    let work = (0..50).map(|_| async {
        let held = pool.acquire().await.unwrap();
        tokio::task::yield_now().await;
        drop(held);
    });
    join_all(work).await;
    let most = pool.config().connect_concurrency as usize;
    assert!(pool.status().connecting <= most, "{}", pool.status());
    proxy.forward();
    eventually("the connects end", || pool.status().connecting == 0).await;
    let opened = proxy.connections() - before;
    assert!(opened <= most, "{opened} for 50 short tasks");
    pool.close().await;
}

#[tokio::test]
async fn overflow_opens_while_callers_wait_and_closes_when_nobody_does() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| {
            (c.max_size, c.overflow, c.lanes) = (1, 2, 0);
        })
        .await;
    let mut held = join_all((0..3).map(|_| pool.acquire())).await;
    assert!(held.iter().all(Result::is_ok), "{held:?}");
    assert_eq!((pool.status().size, pool.status().max_size), (3, 1));
    let mut fourth = Box::pin(pool.acquire());
    assert!(fourth.as_mut().now_or_never().is_none());
    // It is waited for, so it stays open; the others are more than are meant to stay.
    drop(held.pop());
    let fourth = fourth.await.unwrap();
    assert_eq!(pool.status().connects_total, 3);
    drop(held);
    assert_eq!(pool.status().size, 1, "{}", pool.status());
    drop(fourth);
    assert_eq!(pool.status().idle, 1, "{}", pool.status());
    assert!(pool.acquire().await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn a_pool_suspended_while_a_caller_waits_for_its_connect_lends_when_it_is_resumed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::before(&database.url).await;
    let pool = database
        .pool_at(&proxy.url(&database.url), |c| c.lanes = 0)
        .await;
    let held = pool.acquire().await.unwrap();
    proxy.black_hole();
    let mut waiter = Box::pin(pool.acquire());
    assert!(waiter.as_mut().now_or_never().is_none());
    pool.suspend();
    proxy.forward();
    eventually("the connect ends", || pool.status().connecting == 0).await;
    drop(held);
    for _ in 0..3 {
        tokio::task::yield_now().await;
        assert!(waiter.as_mut().now_or_never().is_none(), "suspended");
    }
    assert_eq!(pool.status().in_use, 0, "{}", pool.status());
    pool.resume();
    assert!(waiter.await.is_ok());
    pool.close().await;
}
