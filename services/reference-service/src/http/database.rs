//! The admin listener's views of the database: the pool, the database's own account, and advice.
//!
//! JSON, or text for people where `Accept` begins with `text/plain`. Health and advice
//! take a connection each and a few queries; the others ask nobody.

use std::fmt::Display;

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT, CACHE_CONTROL},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use super::{gate::Gate, problem::ApiError};
use crate::store::Store;

/// The routes that wait for the database behind `gate`, for the admin listener.
pub(super) fn gated(gate: &Gate) -> Router {
    [PATH, HEALTH_PATH, ADVICE_PATH, CACHE_PATH, SERVERS_PATH]
        .into_iter()
        .fold(Router::new(), |routes, path| {
            routes.route_service(path, gate.clone().into_service())
        })
}

/// What is behind that gate once the database is there.
pub fn router(store: Store) -> Router {
    Router::new()
        .route(PATH, get(pool))
        .route(HEALTH_PATH, get(health))
        .route(ADVICE_PATH, get(advice))
        .route(CACHE_PATH, get(query_cache))
        .route(SERVERS_PATH, get(servers))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(store)
}

/// Connections by state, who holds them and since when, what statements take.
async fn pool(State(store): State<Store>, headers: HeaderMap) -> Response {
    respond(&headers, &store.status())
}

/// Sessions, locks and limits of the server, or the sizes of the file.
async fn health(State(store): State<Store>, headers: HeaderMap) -> Result<Response, ApiError> {
    Ok(respond(&headers, &store.health_report().await?))
}

/// What to change, with the numbers that say so.
async fn advice(State(store): State<Store>, headers: HeaderMap) -> Result<Response, ApiError> {
    Ok(respond(&headers, &store.advice().await?))
}

/// What the query cache has done; 404 where it is off.
async fn query_cache(State(store): State<Store>, headers: HeaderMap) -> Result<Response, ApiError> {
    let off = || ApiError::NotFound("the query cache is off (database.query_cache.ttl)".to_owned());
    let stats = store.query_cache_stats().ok_or_else(off)?;
    Ok(respond(&headers, &stats))
}

/// Primary and replicas; 404 where there is but one server.
async fn servers(State(store): State<Store>, headers: HeaderMap) -> Result<Response, ApiError> {
    let alone = || ApiError::NotFound("there are no replicas (database.replicas)".to_owned());
    let servers = store.servers().ok_or_else(alone)?;
    Ok(respond(&headers, &servers))
}

fn respond(headers: &HeaderMap, view: &(impl Serialize + Display)) -> Response {
    let text = headers
        .get(ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/plain"));
    let never_kept = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    if text {
        (never_kept, format!("{view:#}\n")).into_response()
    } else {
        (never_kept, axum::Json(view)).into_response()
    }
}

const PATH: &str = "/database";
const HEALTH_PATH: &str = "/database/health";
const ADVICE_PATH: &str = "/database/advice";
const SERVERS_PATH: &str = "/database/servers";
const CACHE_PATH: &str = "/database/query-cache";
