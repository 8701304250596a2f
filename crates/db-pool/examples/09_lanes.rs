//! Lanes: hundreds of tasks that read through two connections at once, and a loader on top of them.
//!
//! Changes nothing in the database that `DATABASE_URL` names; run it with
//! `cargo run -p db-pool --features postgres --example 09_lanes`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use db_pool::{Lane, Pool, PoolConfig, Postgres};
use diesel::sql_query;
use diesel::sql_types::{Array, Integer, Text};
use diesel_async::RunQueryDsl;
use futures_util::future::try_join_all;
use tokio::time::Instant;

type AnyError = Box<dyn Error + Send + Sync>;

const START_ONE: &str = "docker run --rm -e POSTGRES_PASSWORD=secret -p 5432:5432 postgres, then \
    DATABASE_URL=postgres://postgres:secret@127.0.0.1/postgres";

#[derive(diesel::QueryableByName)]
struct User {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Text)]
    name: String,
}

/// Stands for a read by primary key.
async fn by_id(lane: &mut Lane<Postgres>, id: i32) -> Result<User, diesel::result::Error> {
    sql_query("SELECT $1 AS id, 'user ' || $1 AS name")
        .bind::<Integer, _>(id)
        .get_result(lane)
        .await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), AnyError> {
    let url = std::env::var("DATABASE_URL").or_else(|_| std::env::var("TEST_DATABASE_URL"));
    let Ok(url) = url else {
        println!("skipped: no server is named. To start one: {START_ONE}");
        return Ok(());
    };
    // Two lanes of 64 places; whoever finds none waits, and of 500 callers at once more than the usual 100 do.
    let config = PoolConfig {
        max_waiting: 500,
        ..PoolConfig::web(url)
    };
    let pool = Pool::<Postgres>::connect(config).await?;

    // Five hundred tasks, each with a lane of its own: statements follow each other without waiting for the answers.
    let begun = Instant::now();
    let tasks = (0..500).map(|id| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut lane = pool.read().await?;
            Ok::<_, AnyError>(by_id(&mut lane, id).await?)
        })
    });
    for (id, user) in (0..).zip(try_join_all(tasks.collect::<Vec<_>>()).await?) {
        assert_eq!(user?.id, id);
    }
    println!("500 reads by lanes:       {:.1?}", begun.elapsed());
    println!("  {}", pool.status());

    // One task can send several at once, too, through shared references.
    let lane = pool.read().await?;
    let pair = futures_util::future::try_join(
        sql_query("SELECT 1 AS id, 'one' AS name").get_result::<User>(&mut &lane),
        sql_query("SELECT 2 AS id, 'two' AS name").get_result::<User>(&mut &lane),
    );
    let (one, two) = pair.await?;
    println!("two at once:              {}, {}", one.name, two.name);

    // The session is read-only, and what does not only read is refused before it is sent.
    let write = sql_query("SELECT set_config('work_mem', '1MB', false) AS name, 1 AS id");
    let refused = write.load::<User>(&mut &lane).await;
    println!(
        "a setting:                {}",
        refused.err().ok_or("it was let through")?
    );
    drop(lane);

    // A loader sends one query for all that are asked for in the same moment.
    let users = pool.loader(async |lane: &mut Lane<Postgres>, ids: Vec<i32>| {
        let found =
            sql_query("SELECT id, 'user ' || id AS name FROM unnest($1) AS id WHERE id < 400")
                .bind::<Array<Integer>, _>(ids)
                .load::<User>(lane)
                .await?;
        Ok(found
            .into_iter()
            .map(|user| (user.id, user.name))
            .collect::<Vec<_>>())
    });
    let begun = Instant::now();
    let loads = (0..500).map(|id| tokio::spawn(users.load_one(id)));
    let mut found = 0;
    for name in try_join_all(loads.collect::<Vec<_>>()).await? {
        found += usize::from(name?.is_some());
    }
    println!(
        "500 reads by a loader:    {:.1?}, {found} found",
        begun.elapsed()
    );
    assert_eq!(found, 400);
    for statement in pool.statements() {
        println!("  {:>4} x {}", statement.count, statement.sql);
    }
    drop(users);
    pool.close().await;
    Ok(())
}
