//! The state before: a service as it is often first written. It opens a connection for each request, has no cache and
//! no index on the column that it looks up, and starts one step after the other.

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use peers::{Failure, Record, Task};
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// Copies of the service's tables without keys and indexes, made by the first start.
const COPY: &str = "CREATE TABLE IF NOT EXISTS naive_records AS
        SELECT id, title, text, tags, importance, created_at, updated_at, version FROM records;
    CREATE TABLE IF NOT EXISTS naive_tasks AS
        SELECT id, title, description, assigned_agent_id, priority, status, created_at, updated_at, completed_at,
               version FROM tasks;";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = peers::sqlite_file()?;
    let mut connection = open(&file).with_context(|| format!("cannot open {file}"))?;
    connection
        .batch_execute(COPY)
        .context("cannot copy the tables")?;
    warm_up(&mut connection).context("cannot read the tables")?;
    let routes = Router::new()
        .route("/api/v1/records/{id}", get(record))
        .route("/api/v1/tasks/{id}", get(task))
        .with_state(file);
    peers::serve(routes).await
}

async fn record(State(file): State<String>, Path(id): Path<Uuid>) -> Result<Json<Record>, Failure> {
    let row = spawn_blocking(move || {
        let query = naive_records::table.filter(naive_records::id.eq(id.as_bytes().as_slice()));
        let row: Option<Record> = query.first(&mut open(&file)?).optional()?;
        Ok::<_, Failure>(row)
    });
    row.await??.map(Json).ok_or(Failure::NotFound)
}

async fn task(State(file): State<String>, Path(id): Path<Uuid>) -> Result<Json<Task>, Failure> {
    let row = spawn_blocking(move || {
        let query = naive_tasks::table.filter(naive_tasks::id.eq(id.as_bytes().as_slice()));
        let row: Option<Task> = query.first(&mut open(&file)?).optional()?;
        Ok::<_, Failure>(row)
    });
    row.await??.map(Json).ok_or(Failure::NotFound)
}

fn open(file: &str) -> ConnectionResult<SqliteConnection> {
    SqliteConnection::establish(file)
}

/// Reads every row once, so that the first request finds the file in memory.
fn warm_up(connection: &mut SqliteConnection) -> QueryResult<()> {
    naive_records::table.load::<Record>(connection)?;
    naive_tasks::table.load::<Task>(connection)?;
    Ok(())
}

diesel::table! {
    naive_records (id) {
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
    naive_tasks (id) {
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
