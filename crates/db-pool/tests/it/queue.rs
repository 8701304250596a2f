//! Waiting for a connection: the order, the limits, and callers that give up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_pool::{AcquireError, Pool, Sqlite};
use futures_util::FutureExt;

use crate::sqlite_support::{sqlite, sqlite_with};
use crate::support::eventually;

async fn parked(pool: &Pool<Sqlite>, count: usize) {
    eventually("callers wait", || pool.status().waiting == count).await;
}

#[tokio::test]
async fn waiters_are_served_in_the_order_of_asking() {
    let (_folder, pool) = sqlite().await;
    let held = pool.acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..20 {
        let (pool_, order) = (pool.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let connection = pool_.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            drop(connection);
        }));
        parked(&pool, number + 1).await;
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_newcomer_does_not_overtake_a_waiter() {
    let (_folder, pool) = sqlite().await;
    let held = pool.acquire().await.unwrap();
    let mut first = Box::pin(pool.acquire());
    assert!(first.as_mut().now_or_never().is_none());
    drop(held);
    // The connection is free, but it is the first one's.
    assert!(pool.acquire().now_or_never().is_none());
    assert!(first.await.is_ok());
}

#[tokio::test]
async fn exhaustion_is_an_error_that_says_how_long_and_how_many() {
    let (_folder, pool) = sqlite_with(|c| c.acquire_timeout = Duration::from_secs(5)).await;
    let _held = pool.acquire().await.unwrap();
    tokio::time::pause();
    let error = pool.acquire().await.unwrap_err();
    let AcquireError::Exhausted {
        waited, max_size, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(
        *waited >= Duration::from_secs(5) && *max_size == 1,
        "{error}"
    );
    assert!(error.is_timeout() && !error.is_closed());
    assert_eq!(
        (pool.status().timeouts_total, pool.status().waiting),
        (1, 0)
    );
}

#[tokio::test]
async fn one_waiter_too_many_is_turned_away_at_once() {
    let (_folder, pool) = sqlite_with(|c| c.max_waiting = 2).await;
    let held = pool.acquire().await.unwrap();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(pool.acquire())).collect();
    for waiter in &mut waiting {
        assert!(waiter.as_mut().now_or_never().is_none());
    }
    let error = pool
        .acquire()
        .now_or_never()
        .expect("answers at once")
        .unwrap_err();
    assert!(
        matches!(error, AcquireError::Overloaded { waiting: 2 }),
        "{error}"
    );
    drop(held);
    for waiter in waiting {
        assert!(waiter.await.is_ok());
    }
}

#[tokio::test]
async fn dropping_acquire_releases_its_place_and_its_permit() {
    let (_folder, pool) = sqlite().await;
    for _ in 0..50 {
        let held = pool.acquire().await.unwrap();
        let mut gives_up_in_the_queue = Box::pin(pool.acquire());
        let mut gives_up_when_served = Box::pin(pool.acquire());
        assert!(gives_up_in_the_queue.as_mut().now_or_never().is_none());
        assert!(gives_up_when_served.as_mut().now_or_never().is_none());
        drop(gives_up_in_the_queue);
        drop(held);
        drop(gives_up_when_served);
        assert_eq!(pool.status().waiting, 0);
    }
    assert!(pool.acquire().await.is_ok());
    assert_eq!(pool.status().in_use, 0);
}

#[tokio::test]
async fn dropping_acquire_at_any_await_leaves_a_whole_pool() {
    for polls in 0..12 {
        let (_folder, pool) = sqlite_with(|c| c.validate_after_idle = Duration::ZERO).await;
        {
            let mut acquire = Box::pin(pool.read());
            for _ in 0..polls {
                if acquire.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let all = futures_util::future::join_all((0..4).map(|_| pool.read())).await;
        assert!(
            all.iter().all(Result::is_ok),
            "after {polls} polls: {all:?}"
        );
        drop(all);
        eventually("all are back", || pool.status().in_use == 0).await;
        assert!(pool.status().size <= 5, "{}", pool.status());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_under_contention() {
    let (_folder, pool) = sqlite_with(|c| {
        c.max_waiting = 1000;
        c.acquire_timeout = Duration::from_secs(30);
    })
    .await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    drop(pool.read().await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let status = pool.status();
    assert_eq!((status.in_use, status.waiting), (0, 0), "{status}");
    assert!(
        status.size <= 5 && status.acquired_total >= 3200,
        "{status}"
    );
}
