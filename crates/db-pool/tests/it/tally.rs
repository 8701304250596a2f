//! Tasks that read or write through a set of servers over and over, and a tally of how that went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use db_pool::{AcquireError, Replicas};
use tokio::task::JoinSet;

use crate::cluster::until;

/// What happened to tasks that repeat something until told to stop.
#[derive(Default)]
pub(crate) struct Tally {
    done: AtomicU64,
    not_lent: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

impl Tally {
    fn count(&self, result: &Result<bool, AcquireError>) {
        let counter = match result {
            Ok(true) => &self.done,
            Ok(false) => &self.failed,
            Err(_) => &self.not_lent,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// How many were lent nothing, and how many statements failed.
    pub(crate) fn failures(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (load(&self.not_lent), load(&self.failed))
    }

    pub(crate) async fn more(&self, what: &str) {
        let before = self.done();
        until(what, || self.done() > before + 20).await;
    }
}

/// `count` tasks that repeat `work` until the tally says stop.
pub(crate) fn repeat<F: Future<Output = Result<bool, AcquireError>> + Send>(
    db: &Replicas,
    count: usize,
    work: impl Fn(Replicas) -> F + Clone + Send + 'static,
) -> (JoinSet<()>, Arc<Tally>) {
    let (mut tasks, tally) = (JoinSet::new(), Arc::new(Tally::default()));
    for _ in 0..count {
        let (db, tally, work) = (db.clone(), Arc::clone(&tally), work.clone());
        tasks.spawn(async move {
            while !tally.stop.load(Ordering::SeqCst) {
                tally.count(&work(db.clone()).await);
            }
        });
    }
    (tasks, tally)
}

/// Ends the tasks after what they are doing.
pub(crate) async fn stop(mut tasks: JoinSet<()>, tally: &Tally) {
    tally.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}
