//! A storm of cancelled requests: what it does to those that go on, and to the connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Effort, Figures, Suite};

use crate::load::runtime;
use crate::pools::{self, CONNECTIONS};
use crate::server::Server;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "cancel-storm",
        "64 tasks over 8 connections, statements of 5 ms, 30 % of them dropped after up to 5 ms: undisturbed \
         throughput as a multiple of the survivors' (and of survivors and recovered), and connections opened anew",
        |figures| storm(figures, Dropped::Short),
    );
    suite.figures(
        "cancel-storm-long",
        "the same, but the dropped statements would have run for a second: what is left of the others' throughput",
        |figures| storm(figures, Dropped::Long),
    );
}

const TASKS: usize = 64;

fn storm(figures: &mut Figures<'_>, dropped: Dropped) {
    let (rounds, length) = match figures.effort() {
        Effort::Smoke => (1, Duration::from_millis(100)),
        Effort::Quick => (3, Duration::from_secs(1)),
        Effort::Normal | Effort::Full => (7, Duration::from_secs(2)),
    };
    let taken = figures.on_all_cores(|| {
        runtime().block_on(async {
            let server = Server::start().await?;
            Some(compare(&server, rounds, length, dropped).await)
        })
    });
    let Some(taken) = taken else {
        figures.remark("left out: no PostgreSQL is installed");
        return;
    };
    figures.ours("per_survivor", "x", &taken.ours.survivors);
    if dropped == Dropped::Short {
        figures.goal("per_survivor", "x", 2.0);
        figures.ours("per_survivor_or_recovered", "x", &taken.all);
        figures.goal("per_survivor_or_recovered", "x", 1.0 / 0.8);
    }
    figures.ours("reconnects", "n", &taken.ours.reconnects);
    figures.goal("reconnects", "n", 0.0);
    for (label, peer) in [
        ("bb8 diesel-async", &taken.bb8),
        ("deadpool-postgres", &taken.deadpool),
        ("sqlx", &taken.sqlx),
    ] {
        figures.peer(label, "per_survivor", "x", &peer.survivors);
        figures.peer(label, "reconnects", "n", &peer.reconnects);
    }
}

#[derive(Default)]
struct Taken {
    ours: Column,
    /// Ours, with the dropped ones whose connection was recovered.
    all: Vec<f64>,
    bb8: Column,
    deadpool: Column,
    sqlx: Column,
}

#[derive(Default)]
struct Column {
    survivors: Vec<f64>,
    reconnects: Vec<f64>,
}

impl Column {
    fn push(&mut self, calm: usize, storm: usize, reconnects: usize) {
        self.survivors.push(calm as f64 / storm.max(1) as f64);
        self.reconnects.push(reconnects as f64);
    }
}

async fn compare(server: &Server, rounds: usize, length: Duration, dropped: Dropped) -> Taken {
    let url = server.url();
    let ours = pools::ours(&url, |_| {}).await;
    let bb8 = pools::bb8(&url, CONNECTIONS, true).await;
    let deadpool = pools::deadpool(&url);
    let sqlx = pools::sqlx(&url, true).await;
    let mut taken = Taken::default();
    for _ in 0..rounds {
        let pool = ours.clone();
        let statement = move |patience| {
            let pool = pool.clone();
            async move {
                let mut connection = pool.acquire().await.expect("a connection in time");
                within(patience, sleep(&mut connection, dropped.sql(patience))).await
            }
        };
        let calm = run(length, false, statement.clone()).await;
        let before = ours.status();
        let storm = run(length, true, statement).await;
        let after = ours.status();
        let opened = (after.connects_total - before.connects_total) as usize;
        let recovered = (after.recovered_total - before.recovered_total) as usize;
        taken.ours.push(calm, storm, opened);
        taken
            .all
            .push(calm as f64 / (storm + recovered).max(1) as f64);

        let pool = bb8.clone();
        let statement = move |patience| {
            let pool = pool.clone();
            async move {
                let mut connection = pool.get().await.expect("a connection in time");
                within(patience, sleep(&mut connection, dropped.sql(patience))).await
            }
        };
        let calm = run(length, false, statement.clone()).await;
        let before = bb8.state().statistics.connections_created;
        let storm = run(length, true, statement).await;
        let opened = bb8.state().statistics.connections_created - before;
        taken.bb8.push(calm, storm, opened as usize);

        let opened = Arc::new(AtomicUsize::new(0));
        let (pool, counted) = (deadpool.clone(), Arc::clone(&opened));
        let statement = move |patience| {
            let (pool, counted) = (pool.clone(), Arc::clone(&counted));
            async move {
                let client = pool.get().await.expect("a connection in time");
                if deadpool_postgres::Object::metrics(&client).recycle_count == 0 {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                within(patience, client.batch_execute(dropped.sql(patience))).await
            }
        };
        let calm = run(length, false, statement.clone()).await;
        opened.store(0, Ordering::Relaxed);
        let storm = run(length, true, statement).await;
        taken
            .deadpool
            .push(calm, storm, opened.load(Ordering::Relaxed));

        let pool = sqlx.clone();
        let statement = move |patience| {
            let pool = pool.clone();
            async move {
                let mut connection = pool.acquire().await.expect("a connection in time");
                within(
                    patience,
                    sqlx::query(dropped.sql(patience)).execute(&mut *connection),
                )
                .await
            }
        };
        let calm = run(length, false, statement.clone()).await;
        let before = backends(server).await;
        let storm = run(length, true, statement).await;
        let opened = backends(server).await.saturating_sub(before + 1);
        taken.sqlx.push(calm, storm, opened);
    }
    ours.close().await;
    taken
}

/// How long the statements that are dropped would have run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Short,
    Long,
}

impl Dropped {
    fn sql(self, patience: Option<Duration>) -> &'static str {
        match (self, patience) {
            (Self::Long, Some(_)) => "SELECT pg_sleep(1)",
            _ => "SELECT pg_sleep(0.005)",
        }
    }
}

async fn sleep<C>(connection: &mut C, sql: &str) -> diesel::QueryResult<usize>
where
    C: diesel_async::AsyncConnection<Backend = diesel::pg::Pg>,
{
    use diesel_async::RunQueryDsl as _;
    diesel::sql_query(sql).execute(connection).await
}

/// Whether the statement came to its end before patience did.
async fn within<T, E: std::fmt::Debug>(
    patience: Option<Duration>,
    statement: impl Future<Output = Result<T, E>>,
) -> bool {
    let slept = match patience {
        Some(patience) => match tokio::time::timeout(patience, statement).await {
            Ok(slept) => slept,
            Err(_) => return false,
        },
        None => statement.await,
    };
    slept.expect("it sleeps");
    true
}

/// How many statements came to their end within `length`, with or without others being dropped.
async fn run<F: Future<Output = bool> + Send + 'static>(
    length: Duration,
    storm: bool,
    statement: impl Fn(Option<Duration>) -> F + Clone + Send + 'static,
) -> usize {
    let done = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (done, over) = (Arc::clone(&done), Arc::clone(&over));
            let statement = statement.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(task as u64);
                while !over.load(Ordering::Relaxed) {
                    let dropped = storm && random.u32(..10) < 3;
                    let patience = Duration::from_micros(random.u64(..5_000));
                    if statement(dropped.then_some(patience)).await {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(length).await;
    over.store(true, Ordering::Relaxed);
    let count = done.load(Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no panic");
    }
    count
}

/// How many sessions the server has started so far, as their numbers tell.
async fn backends(server: &Server) -> usize {
    let (client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls)
        .await
        .expect("a server");
    let driver = tokio::spawn(connection);
    let row = client
        .query_one(
            "SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'",
            &[],
        )
        .await
        .expect("a row");
    drop(client);
    let _ = driver.await;
    usize::try_from(row.get::<_, i64>(0)).unwrap_or_default()
}
