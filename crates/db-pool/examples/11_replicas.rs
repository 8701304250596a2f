//! Replicas: who serves reads and writes, and how a request, and its client's next one, read what they wrote.
//!
//! `REPLICA_URL` names a streaming replica of the server that `DATABASE_URL` names; without it this is shown with the
//! primary alone. Changes nothing but a table of its own, which it drops. Run it with
//! `cargo run -p db-pool --features postgres --example 11_replicas`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use db_pool::{Replicas, ReplicasConfig, Scope, TransactionOptions};
use diesel::result::Error as DbError;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

const START_ONE: &str = "docker run --rm -e POSTGRES_PASSWORD=secret -p 5432:5432 postgres, then \
    DATABASE_URL=postgres://postgres:secret@127.0.0.1/postgres; a replica: pg_basebackup -R";

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

async fn rows(db: &Replicas) -> Result<i64, Box<dyn Error + Send + Sync>> {
    let mut lane = db.read().await?;
    let count = sql_query("SELECT count(*) AS n FROM db_pool_example");
    Ok(count.get_result::<Count>(&mut lane).await?.n)
}

async fn shown(db: &Replicas) -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("{}\n", db.status());
    // No way to write: transactions go to whichever server is the primary when they begin.
    let scope = Scope::new();
    let token = scope
        .run(async {
            db.transaction(TransactionOptions::default(), async |tx| {
                tx.batch_execute("INSERT INTO db_pool_example VALUES (1)")
                    .await
            })
            .await?;
            // In the same request: from a replica that has seen it, else from the primary.
            println!("the request that wrote sees {} row", rows(db).await?);
            db.written()
                .await
                .map_err(Box::<dyn Error + Send + Sync>::from)
        })
        .await?;

    // The token travels with the answer, in a cookie or a header, and comes back with the client's next request,
    // whichever process gets that.
    let token = token.ok_or("it wrote")?.to_string();
    println!("its client keeps {token}");
    let next = Scope::new();
    next.wrote(token.parse()?);
    let seen = next.run(rows(db)).await?;
    println!("the next request sees {seen} row");
    assert_eq!(seen, 1);
    Ok(())
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::var("DATABASE_URL").or_else(|_| std::env::var("TEST_DATABASE_URL"));
    let Ok(primary) = url else {
        println!("skipped: no server is named. To start one: {START_ONE}");
        return Ok(());
    };
    let servers = match std::env::var("REPLICA_URL") {
        Ok(replica) => vec![primary, replica],
        Err(_) => {
            println!("REPLICA_URL is not set: the primary serves everything\n");
            vec![primary]
        }
    };
    // In any order: each is asked what it is, now and once a second.
    let db = Replicas::connect(ReplicasConfig::new(servers)).await?;
    let mut connection = db.acquire().await?;
    let table = "DROP TABLE IF EXISTS db_pool_example; CREATE TABLE db_pool_example (id int)";
    connection.batch_execute(table).await?;
    drop(connection);
    let result = shown(&db).await;
    let mut connection = db.acquire().await?;
    let dropped: Result<(), DbError> = connection.batch_execute("DROP TABLE db_pool_example").await;
    drop(connection);
    println!("{} connections left open", db.close().await);
    result?;
    Ok(dropped?)
}
