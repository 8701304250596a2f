//! The pool against a model of it, callers dropped at every await, and fairness among very many.

use std::collections::VecDeque;
use std::time::Duration;

use db_pool::{AcquireError, Connection, Pool, Sqlite};
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use futures_util::future::join_all;
use proptest::prelude::*;

use crate::sqlite_support::{sqlite, sqlite_with};
use crate::support::eventually;

#[derive(Clone, Debug)]
enum Act {
    Ask,
    GiveBack,
    GiveUp(usize),
    Discard,
    Suspend,
    Resume,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Ask),
        3 => Just(Act::GiveBack),
        2 => (0..4_usize).prop_map(Act::GiveUp),
        1 => Just(Act::Discard),
        1 => Just(Act::Suspend),
        1 => Just(Act::Resume),
    ];
    proptest::collection::vec(act, 1..40)
}

type Waiter = BoxFuture<'static, Result<Connection<Sqlite>, AcquireError>>;

/// One writer: it is held, or free, and the queue is served from its head.
struct Model {
    pool: Pool<Sqlite>,
    held: Option<Connection<Sqlite>>,
    queue: VecDeque<Waiter>,
    suspended: bool,
}

impl Model {
    async fn act(&mut self, act: Act) {
        match act {
            Act::Ask => {
                let pool = self.pool.clone();
                let mut waiter: Waiter = Box::pin(async move { pool.acquire().await });
                let served = (&mut waiter).now_or_never();
                match served {
                    Some(served) => {
                        assert!(self.held.is_none() && self.queue.is_empty() && !self.suspended);
                        self.held = Some(served.unwrap());
                    }
                    None => self.queue.push_back(waiter),
                }
            }
            Act::GiveBack => drop(self.held.take()),
            Act::Discard => {
                if let Some(held) = self.held.take() {
                    Connection::discard(held);
                }
            }
            Act::GiveUp(at) => drop(self.queue.remove(at)),
            Act::Suspend => {
                self.pool.suspend();
                self.suspended = true;
            }
            Act::Resume => {
                self.pool.resume();
                self.suspended = false;
            }
        }
        self.settle().await;
    }

    /// Whoever is first gets a free connection, and nobody else.
    async fn settle(&mut self) {
        if self.held.is_none()
            && !self.suspended
            && let Some(first) = self.queue.pop_front()
        {
            self.held = Some(first.await.unwrap());
        }
        for waiter in &mut self.queue {
            assert!(waiter.now_or_never().is_none(), "overtook");
        }
        let status = self.pool.status();
        assert_eq!(status.in_use, usize::from(self.held.is_some()), "{status}");
        assert!(
            status.size <= 1 && status.waiting <= self.queue.len(),
            "{status}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_callers_do_the_pool_agrees_with_its_model(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (_folder, pool) = sqlite().await;
            let mut model = Model { pool, held: None, queue: VecDeque::new(), suspended: false };
            for act in acts {
                model.act(act).await;
            }
            model.pool.resume();
            let (pool, mut queue) = (model.pool, model.queue);
            drop(model.held);
            while let Some(waiter) = queue.pop_front() {
                drop(waiter.await.unwrap());
            }
            assert!(pool.acquire().await.is_ok());
            assert_eq!((pool.status().in_use, pool.status().waiting), (0, 0));
        });
    }
}

/// Polls a future `polls` times and drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if future.as_mut().now_or_never().is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn is_whole(pool: &Pool<Sqlite>, what: &str) {
    eventually("all are back", || pool.status().in_use == 0).await;
    let all = join_all((0..4).map(|_| pool.read())).await;
    assert!(all.iter().all(Result::is_ok), "{what}: {all:?}");
    drop(all);
    let status = pool.status();
    assert!(status.size <= 5 && status.waiting == 0, "{what}: {status}");
}

#[tokio::test]
async fn a_caller_dropped_at_any_await_of_connect_validate_or_queue_leaves_a_whole_pool() {
    for polls in 0..10 {
        let (_folder, pool) = sqlite_with(|c| c.validate_after_idle = Duration::ZERO).await;
        drop_after(polls, pool.read()).await;
        is_whole(&pool, &format!("connect, {polls} polls")).await;
        drop_after(polls, pool.read()).await;
        is_whole(&pool, &format!("validate, {polls} polls")).await;
        drop_after(polls, pool.ping()).await;
        is_whole(&pool, &format!("ping, {polls} polls")).await;
        let held = join_all((0..4).map(|_| pool.read())).await;
        let mut waiter = Box::pin(pool.read());
        assert!(waiter.as_mut().now_or_never().is_none());
        drop(held);
        drop_after(polls, waiter).await;
        is_whole(&pool, &format!("queue, {polls} polls")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_512_tasks_all_are_served_equally_often() {
    let (_folder, pool) = sqlite_with(|c| {
        c.max_waiting = 1000;
        c.acquire_timeout = Duration::from_secs(60);
    })
    .await;
    let held = join_all((0..4).map(|_| pool.read())).await;
    let rounds = |pool: Pool<Sqlite>| async move {
        let mut served = Vec::new();
        for _ in 0..4 {
            let lane = pool.read().await.unwrap();
            tokio::task::yield_now().await;
            drop(lane);
            served.push(pool.status().acquired_total);
        }
        served
    };
    let tasks: Vec<_> = (0..512)
        .map(|_| tokio::spawn(rounds(pool.clone())))
        .collect();
    eventually("all have asked", || pool.status().waiting == 512).await;
    drop(held);
    let mut served = Vec::new();
    for task in tasks {
        served.push(task.await.unwrap());
    }
    // Nobody has its fourth turn while somebody waits for the second.
    let last_second = served.iter().map(|turns| turns[1]).max();
    let first_fourth = served.iter().map(|turns| turns[3]).min();
    assert!(first_fourth > last_second.map(|at| at.saturating_sub(600)));
    assert_eq!(pool.status().acquired_total, 512 * 4 + 4 + 1);
}
