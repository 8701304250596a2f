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
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use peers::{Failure, Record, Task};
use uuid::Uuid;

/// As many as `reference-service` has: on SQLite a writer and four readers.
const SQLITE_CONNECTIONS: u32 = 5;
const POSTGRES_CONNECTIONS: u32 = 10;

/// The settings that `reference-service` uses.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -2000;
    PRAGMA mmap_size = 33554432;";

type AsyncSqlite = SyncConnectionWrapper<SqliteConnection>;

#[derive(Clone)]
enum Database {
    Sqlite(Pool<AsyncSqlite>),
    Postgres(Pool<AsyncPgConnection>),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let database = match peers::sqlite_file() {
        Ok(file) => Database::Sqlite(sqlite(&file).await?),
        Err(url) if url.starts_with("postgres") => Database::Postgres(postgres(&url).await?),
        Err(url) => anyhow::bail!("DATABASE_URL {url:?}: expected sqlite:PATH or postgres://..."),
    };
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
    let row: Option<Record> = match &database {
        Database::Sqlite(pool) => {
            let query = on_sqlite::records::table.find(id.as_bytes().as_slice());
            query.first(&mut pool.get().await?).await.optional()?
        }
        Database::Postgres(pool) => {
            let query = on_postgres::records::table.find(id);
            query.first(&mut pool.get().await?).await.optional()?
        }
    };
    row.map(Json).ok_or(Failure::NotFound)
}

async fn task(
    State(database): State<Database>,
    Path(id): Path<Uuid>,
) -> Result<Json<Task>, Failure> {
    let row: Option<Task> = match &database {
        Database::Sqlite(pool) => {
            let query = on_sqlite::tasks::table.find(id.as_bytes().as_slice());
            query.first(&mut pool.get().await?).await.optional()?
        }
        Database::Postgres(pool) => {
            let query = on_postgres::tasks::table.find(id);
            query.first(&mut pool.get().await?).await.optional()?
        }
    };
    row.map(Json).ok_or(Failure::NotFound)
}

async fn sqlite(file: &str) -> anyhow::Result<Pool<AsyncSqlite>> {
    let mut config = fast();
    config.custom_setup = Box::new(|file| {
        Box::pin(async move {
            let mut connection = AsyncSqlite::establish(file).await?;
            let set = connection.batch_execute(PRAGMAS).await;
            set.map_err(ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        })
    });
    let manager = AsyncDieselConnectionManager::new_with_config(file, config);
    let pool = Pool::builder()
        .max_size(SQLITE_CONNECTIONS)
        .build(manager)
        .await?;
    // A file that cannot be opened is told now and not by the first request.
    drop(
        pool.get()
            .await
            .with_context(|| format!("cannot open {file}"))?,
    );
    Ok(pool)
}

async fn postgres(url: &str) -> anyhow::Result<Pool<AsyncPgConnection>> {
    let manager = AsyncDieselConnectionManager::new_with_config(url, fast());
    let pool = Pool::builder()
        .max_size(POSTGRES_CONNECTIONS)
        .build(manager)
        .await?;
    drop(pool.get().await.context("cannot connect to DATABASE_URL")?);
    Ok(pool)
}

/// Without a question to the database each time a connection is borrowed, which is the default: it would halve the
/// rate, and who measures turns it off.
fn fast<C: AsyncConnection + 'static>() -> ManagerConfig<C> {
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config
}

mod on_sqlite {
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

mod on_postgres {
    diesel::table! {
        records (id) {
            id -> Uuid,
            title -> Text,
            text -> Text,
            tags -> Text,
            importance -> SmallInt,
            created_at -> Timestamptz,
            updated_at -> Timestamptz,
            version -> BigInt,
        }
    }
    diesel::table! {
        tasks (id) {
            id -> Uuid,
            title -> Text,
            description -> Nullable<Text>,
            assigned_agent_id -> Nullable<Text>,
            priority -> SmallInt,
            status -> Text,
            created_at -> Timestamptz,
            updated_at -> Timestamptz,
            completed_at -> Nullable<Timestamptz>,
            version -> BigInt,
        }
    }
}
