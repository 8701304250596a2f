//! Reads by primary key over loopback TCP: through lanes, a loader, borrowed connections, and through the peers' pools.

use std::sync::Arc;

use db_pool::{Lane, Pool, Postgres};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use harness::{Figures, Suite};

use crate::load::{amount, beside, runtime, tasks};
use crate::pools::{self, CONNECTIONS, items};
use crate::server::{ROWS, Server};

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "primary-key-reads",
        "rows by primary key of 10,000, PostgreSQL on loopback TCP, at most 8 connections: microseconds a read",
        reads,
    );
    suite.figures(
        "pool-sizes",
        "the same with 64 tasks that borrow a connection for each read, by the size of the pool: microseconds a read",
        sizes,
    );
}

const TASKS: usize = 64;
const MANY: usize = 1_024;

fn reads(figures: &mut Figures<'_>) {
    let (rounds, calls) = amount(figures.effort(), 400);
    let taken = figures.on_all_cores(|| {
        runtime().block_on(async {
            let server = Server::start().await?;
            Some(compare(&server, rounds, calls).await)
        })
    });
    let Some(taken) = taken else {
        figures.remark("left out: no PostgreSQL is installed");
        return;
    };
    figures.ours("lane", "us", &taken.lane);
    figures.ours("acquire", "us", &taken.acquire);
    figures.ours("loader_64", "us", &taken.loader);
    figures.ours("loader_1024", "us", &taken.loader_many);
    for (label, samples) in &taken.peers {
        figures.peer(label, "read", "us", samples);
    }
    // Without the test of each connection, which costs bb8 a round trip: the harder peer.
    let bb8 = &taken.peers[1].1;
    figures.ours("lane_beside_bb8", "x", &beside(&taken.lane, bb8));
    figures.goal("lane_beside_bb8", "x", 1.0 / 1.9);
    figures.ours("loader_64_beside_bb8", "x", &beside(&taken.loader, bb8));
    figures.goal("loader_64_beside_bb8", "x", 1.0 / 6.0);
    figures.ours(
        "loader_1024_beside_bb8",
        "x",
        &beside(&taken.loader_many, bb8),
    );
    figures.goal("loader_1024_beside_bb8", "x", 1.0 / 10.0);
}

#[derive(Default)]
struct Taken {
    lane: Vec<f64>,
    acquire: Vec<f64>,
    loader: Vec<f64>,
    loader_many: Vec<f64>,
    peers: Vec<(&'static str, Vec<f64>)>,
}

async fn compare(server: &Server, rounds: usize, calls: usize) -> Taken {
    let url = server.url();
    let ours = pools::ours(&url, |_| {}).await;
    let loader = ours.loader(async |lane: &mut Lane<Postgres>, ids: Vec<i32>| {
        let rows = items::table.filter(items::id.eq_any(ids));
        rows.load::<(i32, String)>(lane).await
    });
    let bb8 = pools::bb8(&url, CONNECTIONS, true).await;
    let untested = pools::bb8(&url, CONNECTIONS, false).await;
    let deadpool = pools::deadpool(&url);
    let sqlx = pools::sqlx(&url, true).await;
    let raw = raw(&url).await;
    let mut taken = Taken::default();
    let mut peers: [Vec<f64>; 5] = Default::default();
    for _ in 0..rounds {
        let pool = ours.clone();
        taken
            .lane
            .push(tasks(TASKS, calls, move |at| lane(pool.clone(), id(at))).await);
        let pool = ours.clone();
        taken
            .acquire
            .push(tasks(TASKS, calls, move |at| borrowed(pool.clone(), id(at))).await);
        let load = |loader: &db_pool::Loader<i32, String>| {
            let loader = loader.clone();
            move |at| {
                let loader = loader.clone();
                async move {
                    let name = loader.load_one(id(at)).await.expect("an answer");
                    assert!(name.is_some());
                }
            }
        };
        taken
            .loader
            .push(tasks(TASKS, calls * 4, load(&loader)).await);
        taken
            .loader_many
            .push(tasks(MANY, calls.div_ceil(2), load(&loader)).await);
        for (samples, pool) in [(0, &bb8), (1, &untested)] {
            let pool = pool.clone();
            let took = tasks(TASKS, calls, move |at| diesel_bb8(pool.clone(), id(at))).await;
            peers[samples].push(took);
        }
        let pool = deadpool.clone();
        peers[2].push(tasks(TASKS, calls, move |at| by_deadpool(pool.clone(), id(at))).await);
        let pool = sqlx.clone();
        peers[3].push(tasks(TASKS, calls, move |at| by_sqlx(pool.clone(), id(at))).await);
        let clients = Arc::clone(&raw);
        peers[4].push(tasks(TASKS, calls, move |at| by_hand(Arc::clone(&clients), at)).await);
    }
    ours.close().await;
    let labels = [
        "bb8 diesel-async",
        "bb8 untested",
        "deadpool-postgres",
        "sqlx",
        "floor: tokio-postgres pipelined",
    ];
    taken.peers = labels.into_iter().zip(peers).collect();
    taken
}

fn sizes(figures: &mut Figures<'_>) {
    let (rounds, calls) = amount(figures.effort(), 200);
    let taken = figures.on_all_cores(|| {
        runtime().block_on(async {
            let server = Server::start().await?;
            let mut taken = Vec::new();
            for size in [5, 10, 20, 50] {
                let ours = pools::ours(&server.url(), |config| config.max_size = size).await;
                let bb8 = pools::bb8(&server.url(), size, true).await;
                let mut samples: [Vec<f64>; 2] = Default::default();
                for _ in 0..rounds {
                    let pool = ours.clone();
                    let took = tasks(TASKS, calls, move |at| borrowed(pool.clone(), id(at)));
                    samples[0].push(took.await);
                    let pool = bb8.clone();
                    let took = tasks(TASKS, calls, move |at| diesel_bb8(pool.clone(), id(at)));
                    samples[1].push(took.await);
                }
                ours.close().await;
                taken.push((size, samples));
            }
            Some(taken)
        })
    });
    let Some(taken) = taken else {
        figures.remark("left out: no PostgreSQL is installed");
        return;
    };
    for (size, [ours, bb8]) in &taken {
        let metric = format!("read_{size}");
        figures.ours(&metric, "us", ours);
        figures.peer("bb8 diesel-async", &metric, "us", bb8);
    }
}

fn id(at: usize) -> i32 {
    (at as i32).rem_euclid(ROWS) + 1
}

#[diesel::dsl::auto_type]
fn by_id(id: i32) -> _ {
    items::table.find(id).select(items::name)
}

async fn lane(pool: Pool<Postgres>, id: i32) {
    let mut lane = pool.read().await.expect("a lane in time");
    let name: String = by_id(id).first(&mut lane).await.expect("a row");
    assert!(!name.is_empty());
}

async fn borrowed(pool: Pool<Postgres>, id: i32) {
    let mut connection = pool.acquire().await.expect("a connection in time");
    let name: String = by_id(id).first(&mut connection).await.expect("a row");
    assert!(!name.is_empty());
}

async fn diesel_bb8(pool: pools::Bb8, id: i32) {
    let mut connection = pool.get().await.expect("a connection in time");
    let name: String = by_id(id).first(&mut *connection).await.expect("a row");
    assert!(!name.is_empty());
}

async fn by_deadpool(pool: deadpool_postgres::Pool, id: i32) {
    let client = pool.get().await.expect("a connection in time");
    let statement = client.prepare_cached(SQL).await.expect("a statement");
    let row = client.query_one(&statement, &[&id]).await.expect("a row");
    assert!(!row.get::<_, String>(0).is_empty());
}

async fn by_sqlx(pool: sqlx::PgPool, id: i32) {
    let (name,): (String,) = sqlx::query_as(SQL)
        .bind(id)
        .fetch_one(&pool)
        .await
        .expect("a row");
    assert!(!name.is_empty());
}

type Client = (tokio_postgres::Client, tokio_postgres::Statement);

/// Two connections, each with the statement prepared: as good as it gets.
async fn raw(url: &str) -> Arc<[Client; 2]> {
    let connect = async || {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .expect("a server");
        tokio::spawn(connection);
        let statement = client.prepare(SQL).await.expect("a statement");
        (client, statement)
    };
    Arc::new([connect().await, connect().await])
}

async fn by_hand(clients: Arc<[Client; 2]>, at: usize) {
    let (client, statement) = &clients[at % 2];
    let row = client
        .query_one(statement, &[&id(at)])
        .await
        .expect("a row");
    assert!(!row.get::<_, String>(0).is_empty());
}

const SQL: &str = "SELECT name FROM items WHERE id = $1";
