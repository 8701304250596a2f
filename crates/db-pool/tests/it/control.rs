//! Suspending, resuming, resizing, refreshing and draining a live pool, and what it tells of its borrowers.

use std::time::Duration;

use db_pool::{AcquireError, Connection, Scope, Sqlite};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::sqlite_support::{sqlite, sqlite_with};
use crate::support::eventually;

#[tokio::test]
async fn a_suspended_pool_lets_callers_wait_and_serves_them_in_order_when_resumed() {
    let (_folder, pool) = sqlite().await;
    pool.suspend();
    assert!(pool.status().to_string().ends_with("; suspended"));
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.acquire())).collect();
    for waiter in &mut waiting {
        assert!(waiter.as_mut().now_or_never().is_none());
    }
    assert!(pool.ping().await.is_ok(), "health does not queue");
    pool.resume();
    let mut rest = waiting.split_off(1);
    let first = waiting.remove(0).await.unwrap();
    assert!(rest[1].as_mut().now_or_never().is_none());
    drop(first);
    assert!(rest[1].as_mut().now_or_never().is_none(), "second to none");
    drop(rest.remove(0).await.unwrap());
    drop(rest.remove(0).await.unwrap());
}

#[tokio::test]
async fn who_waits_for_a_suspended_pool_in_vain_learns_why() {
    let (_folder, pool) = sqlite().await;
    pool.suspend();
    tokio::time::pause();
    let started = Instant::now();
    let error = pool
        .acquire_within(Duration::from_millis(200))
        .await
        .unwrap_err();
    assert!(error.is_suspended() && error.is_timeout(), "{error:?}");
    assert!(started.elapsed() >= Duration::from_millis(200));
    pool.resume();
    assert!(pool.acquire().await.is_ok(), "its permit went back");
}

#[tokio::test]
async fn growing_serves_waiters_and_shrinking_closes_what_is_too_much() {
    let (_folder, pool) = sqlite_with(|c| c.max_size = 3).await;
    let mut held = vec![pool.read().await.unwrap(), pool.read().await.unwrap()];
    let mut waiter = Box::pin(pool.read());
    assert!(waiter.as_mut().now_or_never().is_none());
    pool.resize(5).unwrap();
    held.push(waiter.await.unwrap());
    held.push(pool.read().await.unwrap());
    assert_eq!((pool.status().size, pool.status().max_size), (5, 5));
    pool.resize(2).unwrap();
    held.drain(..).for_each(drop);
    let status = pool.status();
    assert_eq!((status.size, status.max_size), (2, 2), "{status}");
    let only = pool.read().await.unwrap();
    assert!(pool.read().now_or_never().is_none());
    drop(only);
    assert_eq!(pool.resize(1).unwrap_err().field(), "max_size");
    assert!(pool.read().await.is_ok());
}

#[tokio::test]
async fn refreshing_replaces_every_connection_and_lends_meanwhile() {
    let (_folder, pool) = sqlite().await;
    let held = pool.acquire().await.unwrap();
    drop((pool.read().await.unwrap(), pool.read().await.unwrap()));
    let (size, connects) = (pool.status().size, pool.status().connects_total);
    pool.refresh();
    eventually("all are replaced", || {
        pool.status().connects_total >= connects + size as u64
    })
    .await;
    drop(held);
    eventually("the old ones are closed", || pool.status().size == size).await;
    assert!(pool.acquire().await.is_ok() && pool.read().await.is_ok());
}

#[tokio::test]
async fn draining_waits_for_borrowers_and_leaves_nothing_open() {
    let (_folder, pool) = sqlite().await;
    let held = pool.acquire().await.unwrap();
    let mut draining = Box::pin(pool.drain());
    assert!(draining.as_mut().now_or_never().is_none());
    drop(held);
    assert_eq!(draining.await, 0);
    assert_eq!(pool.status().size, 0);
    pool.resume();
    assert!(pool.acquire().await.is_ok());
}

#[tokio::test]
async fn a_drained_pool_leaves_the_database_alone_until_it_is_resumed() {
    let (_folder, pool) = sqlite_with(|c| {
        (c.min_idle, c.keepalive) = (2, Some(Duration::from_secs(120)));
    })
    .await;
    eventually("readers open", || pool.status().idle == 3).await;
    assert_eq!(pool.drain().await, 0);
    let connects = pool.status().connects_total;
    tokio::time::pause();
    for _ in 0..5 {
        // The housekeeper looks once a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = pool.status();
        assert_eq!((status.size, status.connecting), (0, 0), "{status}");
    }
    pool.refresh();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pool.status().connects_total, connects);
    tokio::time::resume();
    pool.resume();
    eventually("the idle ones are back", || pool.status().idle == 2).await;
}

#[tokio::test]
async fn draining_is_bounded_when_a_borrower_never_returns() {
    let (_folder, pool) = sqlite_with(|c| c.close_timeout = Duration::from_millis(20)).await;
    let _held = pool.acquire().await.unwrap();
    assert_eq!(pool.drain().await, 1);
}

#[tokio::test]
async fn errors_and_status_name_who_holds_connections_and_where_they_were_borrowed() {
    let (_folder, pool) = sqlite().await;
    let line = line!() + 1;
    let held = pool.acquire().await.unwrap();
    let here = format!("control.rs:{line}:");
    let status = pool.status();
    assert_eq!(status.holders.len(), 1);
    assert!(format!("{status:#}").contains(&here), "{status:#}");
    tokio::time::pause();
    let error = pool.acquire().await.unwrap_err();
    let AcquireError::Exhausted { holders, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(holders[0].held >= Duration::from_secs(5));
    assert!(error.to_string().contains(&here), "{error}");
    drop(held);
    assert!(pool.status().holders.is_empty());
}

#[tokio::test]
async fn a_task_that_waits_for_a_connection_it_holds_itself_is_told_so() {
    let (_folder, pool) = sqlite().await;
    tokio::time::pause();
    let task = tokio::spawn(async move {
        let _held = pool.acquire().await.unwrap();
        pool.acquire().await.unwrap_err().to_string()
    });
    let text = task.await.unwrap();
    assert!(text.contains("the same task holds one since "), "{text}");
}

#[tokio::test]
async fn a_connection_held_too_long_counts_as_a_leak_once() {
    let (_folder, pool) = sqlite().await;
    let held: Connection<Sqlite> = pool.acquire().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    eventually("the leak is told", || pool.status().leaks_total == 1).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    eventually("time passes", || true).await;
    drop(held);
    assert_eq!(pool.status().leaks_total, 1);
    std::mem::forget(pool.acquire().await.unwrap());
    tokio::time::advance(Duration::from_secs(31)).await;
    eventually("a forgotten guard is told", || {
        pool.status().leaks_total == 2
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline_of_its_scope() {
    let (_folder, pool) = sqlite().await;
    let _held = pool.acquire().await.unwrap();
    tokio::time::pause();
    let started = Instant::now();
    let scope = Scope::with_deadline(Some(started + Duration::from_millis(70)));
    let error = scope.run(pool.acquire()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(started.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn a_wait_that_would_outlast_the_deadline_is_not_begun() {
    let (_folder, pool) = sqlite().await;
    tokio::time::pause();
    for _ in 0..40 {
        let held = pool.acquire().await.unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
        drop(held);
    }
    let _held = pool.acquire().await.unwrap();
    let error = pool
        .acquire_within(Duration::from_millis(50))
        .now_or_never()
        .expect("answers at once")
        .unwrap_err();
    assert!(
        matches!(error, AcquireError::DeadlineTooClose { .. }) && error.is_overload(),
        "{error:?}"
    );
    let patient = pool.acquire_within(Duration::from_millis(500));
    assert!(matches!(patient.await, Err(AcquireError::Exhausted { .. })));
}

#[tokio::test]
async fn a_leap_of_the_clock_leaves_a_pool_that_works() {
    let (_folder, pool) = sqlite_with(|c| {
        c.max_lifetime = Some(Duration::from_secs(1800));
        c.idle_timeout = Some(Duration::from_secs(600));
        c.keepalive = Some(Duration::from_secs(120));
        c.min_idle = 2;
    })
    .await;
    drop(join_all((0..4).map(|_| pool.read())).await);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(86_400)).await;
    tokio::time::resume();
    assert!(pool.read().await.is_ok() && pool.acquire().await.is_ok());
    eventually("the idle ones are refilled and no more", || {
        let status = pool.status();
        status.idle >= 2 && status.size <= 5 && status.in_use == 0
    })
    .await;
}

#[tokio::test]
async fn idle_connections_above_min_idle_close_and_those_below_are_replaced_before_they_do() {
    let (_folder, pool) = sqlite_with(|c| {
        c.idle_timeout = Some(Duration::from_secs(600));
        c.max_lifetime = Some(Duration::from_secs(1800));
        c.min_idle = 1;
    })
    .await;
    drop(join_all((0..4).map(|_| pool.read())).await);
    eventually("all readers are open", || pool.status().idle == 5).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(601)).await;
    // The writer, too, is one that nobody needed.
    eventually("one is left", || pool.status().size == 1).await;
    let connects = pool.status().connects_total;
    tokio::time::advance(Duration::from_secs(1200)).await;
    eventually("it is replaced", || {
        pool.status().connects_total > connects && pool.status().size == 1
    })
    .await;
}

#[test]
fn dropping_a_pool_while_somebody_waits_and_the_runtime_while_it_is_used_is_harmless() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (folder, pool, held) = runtime.block_on(async {
        let (folder, pool) = sqlite().await;
        let held = pool.acquire().await.unwrap();
        for _ in 0..3 {
            let pool = pool.clone();
            tokio::spawn(async move { drop(pool.acquire().await) });
        }
        eventually("they wait", || pool.status().waiting == 3).await;
        (folder, pool, held)
    });
    drop(runtime);
    assert_eq!(pool.status().waiting, 0, "{}", pool.status());
    drop(held);
    drop((pool, folder));
}
