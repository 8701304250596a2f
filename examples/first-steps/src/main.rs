//! Four crates in one file: a graph starts a database and a cache side by side, a thousand lookups go
//! through both, and the graph stops them in reverse.
//!
//! Run it with `cargo run -p first-steps`. On stderr you see each component start; on stdout the
//! report of the start, where its time went, and how often the cache answered.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use db_pool::{Pool, PoolConfig, Sqlite};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};
use init_graph::{BoxError, Context, Dep, Graph};
use startup_progress::{Progress, terminal::TerminalMode};
use tempfile::TempDir;
use tiered_cache::{Policy, TieredCache};

diesel::table! {
    /// What is looked up.
    cities (id) {
        /// Primary key.
        id -> Integer,
        /// What it is called.
        name -> Text,
    }
}

/// What the rest of the program works with.
struct Cities {
    pool: Pool<Sqlite>,
    names: TieredCache<i32, String>,
}

async fn database(folder: Dep<TempDir>, context: Context) -> Result<Pool<Sqlite>, BoxError> {
    let file = folder.path().join("cities.db");
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file.display().to_string())).await?;
    // Registered before the next await: it runs even if this component fails there.
    context.on_stop({
        let pool = pool.clone();
        async move || {
            pool.close().await;
            Ok(())
        }
    });
    let rows = "CREATE TABLE cities (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
                INSERT INTO cities (name) VALUES ('Lima'), ('Oslo'), ('Pune'), ('Kyoto')";
    pool.acquire().await?.batch_execute(rows).await?;
    Ok(pool)
}

async fn cache() -> Result<TieredCache<i32, String>, BoxError> {
    let policy = Policy {
        ttl: Duration::from_secs(60),
        ..Policy::default()
    };
    Ok(TieredCache::memory("cities", policy)?)
}

async fn cities(
    pool: Dep<Pool<Sqlite>>,
    names: Dep<TieredCache<i32, String>>,
) -> Result<Cities, BoxError> {
    Ok(Cities {
        pool: (*pool).clone(),
        names: (*names).clone(),
    })
}

impl Cities {
    async fn name(&self, id: i32) -> Result<Option<String>, BoxError> {
        let pool = self.pool.clone();
        let load = move || async move {
            let mut lane = pool.read().await?;
            let name = cities::table
                .find(id)
                .select(cities::name)
                .first(&mut lane)
                .await;
            Ok::<_, BoxError>(name.optional()?)
        };
        let found = self.names.get_or_load(&id, load).await?;
        Ok(found.value().map(|name| name.to_string()))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let progress = Progress::new("first-steps");
    let mut graph = Graph::new();
    graph.value(TempDir::new()?);
    graph.add(database).timeout(Duration::from_secs(10));
    graph.add(cache);
    graph.add(cities);
    graph.observe(progress.observer());

    let painter = tokio::spawn(progress.paint(TerminalMode::Plain).run());
    let running = graph.start().await?;
    progress.ready();
    painter.await?;

    let cities = running.get::<Cities>().ok_or("`cities` is a component")?;
    for turn in 0..1_000 {
        cities.name(turn % 5).await?;
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}\n{}\n{}",
        running.report(),
        cities.pool.status(),
        cities.names.stats()
    )?;
    drop((out, cities));
    running.shutdown().await?;
    Ok(())
}
