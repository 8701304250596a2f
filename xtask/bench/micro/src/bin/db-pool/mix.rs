//! One SQLite file, nine reads for each write: whether anybody is told "database is locked", and how long a write takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use harness::{Figures, Suite};

use crate::load::{amount, micros, runtime};
use crate::sqlite::{self, items};

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "sqlite-mix",
        "64 tasks on one SQLite file, 90 % reads by primary key and 10 % updates: microseconds a call, the 99th \
         percentile of the updates, and errors \"database is locked\"",
        mix,
    );
}

const TASKS: usize = 64;
const CONNECTIONS: u32 = 5;

fn mix(figures: &mut Figures<'_>) {
    let (rounds, calls) = amount(figures.effort(), 200);
    let (ours, bb8) = figures.on_all_cores(|| {
        runtime().block_on(async {
            let ours = sqlite::ours(CONNECTIONS - 1).await;
            let bb8 = sqlite::bb8(CONNECTIONS, true).await;
            let mut columns = (Column::default(), Column::default());
            for _ in 0..rounds {
                let pool = (*ours).clone();
                let round = run(calls, move |write, id| {
                    let pool = pool.clone();
                    async move {
                        if write {
                            let mut connection = pool.acquire().await.expect("the writer in time");
                            let update = diesel::update(items::table.find(id))
                                .set(items::name.eq("renamed"));
                            update.execute(&mut connection).await.map(drop)
                        } else {
                            let mut lane = pool.read().await.expect("a reader in time");
                            sqlite::by_id(id).first::<String>(&mut lane).await.map(drop)
                        }
                    }
                });
                columns.0.push(round.await);
                let pool = (*bb8).clone();
                let round = run(calls, move |write, id| {
                    let pool = pool.clone();
                    async move {
                        let mut connection = pool.get().await.expect("a connection in time");
                        if write {
                            let update = diesel::update(items::table.find(id))
                                .set(items::name.eq("renamed"));
                            update.execute(&mut *connection).await.map(drop)
                        } else {
                            let row = sqlite::by_id(id).first::<String>(&mut *connection);
                            row.await.map(drop)
                        }
                    }
                });
                columns.1.push(round.await);
            }
            columns
        })
    });
    figures.ours("call", "us", &ours.calls);
    figures.ours("update_p99", "us", &ours.updates);
    figures.ours("busy", "n", &ours.busy);
    figures.peer("bb8 of 5 writers", "call", "us", &bb8.calls);
    figures.peer("bb8 of 5 writers", "update_p99", "us", &bb8.updates);
    figures.peer("bb8 of 5 writers", "busy", "n", &bb8.busy);
    figures.goal("busy", "n", 0.0);
}

#[derive(Default)]
struct Column {
    calls: Vec<f64>,
    updates: Vec<f64>,
    busy: Vec<f64>,
}

impl Column {
    fn push(&mut self, (call, update, busy): (f64, f64, usize)) {
        self.calls.push(call);
        self.updates.push(update);
        self.busy.push(busy as f64);
    }
}

/// Microseconds a call, of the slowest hundredth of updates, and how often the file was locked.
async fn run<F: Future<Output = QueryResult<()>> + Send + 'static>(
    calls: usize,
    call: impl Fn(bool, i32) -> F + Clone + Send + 'static,
) -> (f64, f64, usize) {
    let busy = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (call, busy) = (call.clone(), Arc::clone(&busy));
            tokio::spawn(async move {
                let mut updates = Vec::new();
                for at in 0..calls {
                    let write = (at + task) % 10 == 0;
                    let asked = Instant::now();
                    let id = (task * 7919 + at * 31) as i32 % sqlite::ROWS + 1;
                    match call(write, id).await {
                        Err(error) if error.to_string().contains("locked") => {
                            busy.fetch_add(1, Ordering::Relaxed);
                        }
                        result => result.expect("it reads or writes"),
                    }
                    if write {
                        updates.push(micros(asked.elapsed()));
                    }
                }
                updates
            })
        })
        .collect();
    let mut updates = Vec::new();
    for task in tasks {
        updates.extend(task.await.expect("no panic"));
    }
    let call = micros(started.elapsed()) / (TASKS * calls) as f64;
    updates.sort_by(f64::total_cmp);
    let busy = Arc::into_inner(busy).expect("the tasks are over");
    let slow = updates.get(updates.len() * 99 / 100).copied();
    (call, slow.unwrap_or_default(), busy.into_inner())
}
