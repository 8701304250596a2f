//! What the peer services have in common, so that they answer the same bytes as `reference-service` and differ only in
//! what is measured: the rows with their JSON, how a failure is answered, and the listener.

use std::env;
use std::error::Error;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::Sqlite;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

/// A record, as it is stored and as it is answered.
#[derive(Queryable, Serialize)]
pub struct Record {
    id: Id,
    title: String,
    text: String,
    tags: Tags,
    importance: i16,
    created_at: Moment,
    updated_at: Moment,
    version: i64,
}

/// A task, as it is stored and as it is answered.
#[derive(Queryable, Serialize)]
pub struct Task {
    id: Id,
    title: String,
    description: Option<String>,
    assigned_agent_id: Option<String>,
    priority: i16,
    status: String,
    created_at: Moment,
    updated_at: Moment,
    completed_at: Option<Moment>,
    version: i64,
}

/// Why a request got no row.
pub enum Failure {
    /// Nothing has this identifier.
    NotFound,
    /// The database said no.
    Database(Box<dyn Error + Send + Sync>),
}

/// Serves `routes` and `/livez` on `127.0.0.1:$PORT` until SIGTERM, then lets running requests end.
///
/// # Errors
/// `PORT` is no port, or it is taken.
pub async fn serve(routes: Router) -> anyhow::Result<()> {
    let port = env::var("PORT").context("PORT must say where to listen")?;
    let address = format!("127.0.0.1:{port}");
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?
        // As reference-service does. A socket that cannot is served all the same.
        .tap_io(|stream| drop(stream.set_nodelay(true)));
    let ended = async move {
        terminate.recv().await;
    };
    axum::serve(listener, routes.route("/livez", get(livez)))
        .with_graceful_shutdown(ended)
        .await
        .context("the listener ended")
}

/// The database file of `sqlite:PATH` in `DATABASE_URL`.
///
/// # Errors
/// If the variable holds anything else, or is not set.
pub fn sqlite_file() -> anyhow::Result<String> {
    let url = env::var("DATABASE_URL").unwrap_or_default();
    let file = url.strip_prefix("sqlite:").map(str::to_owned);
    file.with_context(|| format!("DATABASE_URL {url:?}: expected sqlite:PATH"))
}

async fn livez() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        r#"{"status":"pass"}"#,
    )
}

// === impl Failure ===

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Database(error) => {
                eprintln!("error: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

// === columns ===

/// A `BLOB` of 16 bytes.
#[derive(FromSqlRow, Serialize)]
pub struct Id(Uuid);

/// Microseconds since 1970.
#[derive(FromSqlRow, Serialize)]
pub struct Moment(jiff::Timestamp);

/// A JSON array in a text.
#[derive(FromSqlRow, Serialize)]
pub struct Tags(Vec<String>);

impl FromSql<Binary, Sqlite> for Id {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
        Ok(Self(Uuid::from_slice(&bytes)?))
    }
}

impl FromSql<BigInt, Sqlite> for Moment {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let micros = <i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?;
        Ok(Self(jiff::Timestamp::from_microsecond(micros)?))
    }
}

impl FromSql<Text, Sqlite> for Tags {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
        Ok(Self(serde_json::from_str(&text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_answered_as_reference_service_answers_them() {
        let mut db = SqliteConnection::establish(":memory:").expect("a database");
        let id = "x'01a1fd8a67ab77958757 6c8df163c2e7'".replace(' ', "");
        let record = diesel::dsl::sql::<(
            Binary,
            Text,
            Text,
            Text,
            diesel::sql_types::SmallInt,
            BigInt,
            BigInt,
            BigInt,
        )>(&format!(
            "SELECT {id}, 'Keys', 'é \"q\"', '[\"api\",\"b c\"]', 4, 1795255068587251, 0, 1"
        ));
        let record: Record = record.get_result(&mut db).expect("a row");
        assert_eq!(
            serde_json::to_string(&record).expect("JSON"),
            r#"{"id":"01a1fd8a-67ab-7795-8757-6c8df163c2e7","title":"Keys","text":"é \"q\"","tags":["api","b c"],"importance":4,"created_at":"2026-11-21T09:57:48.587251Z","updated_at":"1970-01-01T00:00:00Z","version":1}"#
        );
    }

    #[test]
    fn a_damaged_row_is_an_error_and_no_panic() {
        let mut db = SqliteConnection::establish(":memory:").expect("a database");
        let short = diesel::dsl::sql::<Binary>("SELECT x'00'").get_result::<Id>(&mut db);
        assert!(short.is_err());
        let tags = diesel::dsl::sql::<Text>("SELECT '{'").get_result::<Tags>(&mut db);
        assert!(tags.is_err());
        let late = diesel::dsl::sql::<BigInt>("SELECT 9223372036854775807");
        assert!(late.get_result::<Moment>(&mut db).is_err());
    }
}
