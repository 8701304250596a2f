//! The usual stack, put together with care and none of our crates: axum, a bb8 pool of as many connections as ours,
//! diesel-async, prepared queries by primary key. No cache.

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use diesel::prelude::*;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use peers::{Failure, Record, Task};
use uuid::Uuid;

/// As many as `reference-service` has: a writer and four readers.
const CONNECTIONS: u32 = 5;

/// The settings that `reference-service` uses.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -2000;
    PRAGMA mmap_size = 33554432;";

type AsyncSqlite = SyncConnectionWrapper<SqliteConnection>;
type Database = Pool<AsyncSqlite>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let database = connect(&peers::sqlite_file()?).await?;
    let routes = Router::new()
        .route("/api/v1/records/{id}", get(record))
        .route("/api/v1/tasks/{id}", get(task))
        .with_state(database);
    peers::serve(routes).await
}

async fn record(
    State(database): State<Database>,
    Path(id): Path<Uuid>,
) -> Result<Json<Record>, Failure> {
    let query = schema::records::table.find(id.as_bytes().as_slice());
    let row: Option<Record> = query.first(&mut database.get().await?).await.optional()?;
    row.map(Json).ok_or(Failure::NotFound)
}

async fn task(
    State(database): State<Database>,
    Path(id): Path<Uuid>,
) -> Result<Json<Task>, Failure> {
    let query = schema::tasks::table.find(id.as_bytes().as_slice());
    let row: Option<Task> = query.first(&mut database.get().await?).await.optional()?;
    row.map(Json).ok_or(Failure::NotFound)
}

async fn connect(file: &str) -> anyhow::Result<Database> {
    // Without a question to the database each time a connection is borrowed, which is the default: it would halve the
    // rate, and who measures turns it off.
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|file| {
        Box::pin(async move {
            let mut connection = AsyncSqlite::establish(file).await?;
            let set = connection.batch_execute(PRAGMAS).await;
            set.map_err(ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        })
    });
    let manager = AsyncDieselConnectionManager::new_with_config(file, config);
    let pool = Pool::builder().max_size(CONNECTIONS).build(manager).await?;
    // A file that cannot be opened is told now and not by the first request.
    drop(
        pool.get()
            .await
            .with_context(|| format!("cannot open {file}"))?,
    );
    Ok(pool)
}

mod schema {
    diesel::table! {
        records (id) {
            id -> Binary,
            title -> Text,
            text -> Text,
            tags -> Text,
            importance -> SmallInt,
            created_at -> BigInt,
            updated_at -> BigInt,
            version -> BigInt,
        }
    }
    diesel::table! {
        tasks (id) {
            id -> Binary,
            title -> Text,
            description -> Nullable<Text>,
            assigned_agent_id -> Nullable<Text>,
            priority -> SmallInt,
            status -> Text,
            created_at -> BigInt,
            updated_at -> BigInt,
            completed_at -> Nullable<BigInt>,
            version -> BigInt,
        }
    }
}
