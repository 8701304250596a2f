//! `/api/v1/records`: what agents remember, read through the cache tiers.

use axum::{
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::Deserialize;
use tiered_cache::{Invalidation, Lookup, TierKind};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    conditional::{self, with_etag},
    detached,
    extract::{Json, Path, Query},
    page::{self, Limit},
    problem::{ApiError, load_error},
    rules::{Bounded, Words},
};
use crate::{
    domain::{
        IMPORTANCE_MAX, IMPORTANCE_MIN, NewRecord, Page, Record, RecordFilter, RecordKey,
        TAG_CHARS_MAX, encode_cursor,
    },
    state::AppState,
    store::UpdateError,
};

/// The routes of this resource.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, replace, delete))
}

/// Which records, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRecords {
    /// Only with this tag.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[^\\u0000]*$")]
    tag: Option<Words<TAG_CHARS_MAX>>,
    /// Only with all of these words in title or text.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200, pattern = "^[^\\u0000]*$")]
    q: Option<Words<200>>,
    /// Only this important or more.
    #[param(value_type = Option<i16>, minimum = 1, maximum = 5)]
    min_importance: Option<Bounded<IMPORTANCE_MIN, IMPORTANCE_MAX>>,
    /// Most items of a page.
    #[serde(default = "page::limit_default")]
    #[param(value_type = Option<i16>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of the page before.
    #[param(max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    after: Option<String>,
}

/// Create a record.
#[utoipa::path(post, path = "/records", tag = "records", request_body = NewRecord, responses(
    (status = 201, description = "Created", body = Record,
     headers(("Location" = String, description = "Path of the record"), ("ETag" = String, description = "Its version"))),
))]
async fn create(
    State(state): State<AppState>,
    Json(new): Json<NewRecord>,
) -> Result<Response, ApiError> {
    let record = Record::new(new, Timestamp::now())?;
    state.store.insert_record(&record).await?;
    let location = format!("/api/v1/records/{}", record.id);
    let version = record.version;
    Ok((
        StatusCode::CREATED,
        [("location", location)],
        with_etag(version, axum::Json(record)),
    )
        .into_response())
}

/// List records: the newest first.
#[utoipa::path(get, path = "/records", tag = "records", params(ListRecords), responses(
    (status = 200, description = "One page", body = Page<Record>,
     headers(("Link" = String, description = "rel=\"first\" and, where there is more, rel=\"next\" (RFC 8288)"))),
))]
async fn list(
    State(state): State<AppState>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListRecords>,
) -> Result<Response, ApiError> {
    let filter = RecordFilter {
        tag: query.tag.map(|Words(tag)| tag),
        query: query.q.map(|Words(words)| words),
        min_importance: query.min_importance.map(|Bounded(importance)| importance),
    };
    let after = page::after::<RecordKey>(query.after.as_deref(), &filter)?;
    let limit = query.limit.count();
    let records = state
        .store
        .records(&filter, after.as_ref(), limit + 1)
        .await?;
    let page = Page::cut(records, limit, |record| {
        encode_cursor(&record.key(), &filter)
    });
    Ok(page::respond(page, &uri))
}

/// Read one record: from memory, Redis, disk or the database, as `Cache-Status` tells.
#[utoipa::path(get, path = "/records/{id}", tag = "records", params(("id" = Uuid, Path), ("If-None-Match" = Option<String>, Header, description = "The ETag that the client has already")), responses(
    (status = 200, description = "The record", body = Record,
     headers(("ETag" = String, description = "Its version"), ("Cache-Status" = String, description = "Which tier answered (RFC 9211)"))),
    (status = 304, description = "Still the version of If-None-Match"),
))]
async fn read(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let lookup = state.records.fetch(&id).await.map_err(load_error)?;
    let status = cache_status(&lookup);
    let record = lookup.value().ok_or_else(|| unknown(id))?;
    let mut response = conditional::respond(&headers, record.version, axum::Json(&**record));
    response.headers_mut().insert("cache-status", status);
    Ok(response)
}

/// Replace a record.
#[utoipa::path(put, path = "/records/{id}", tag = "records", request_body = NewRecord,
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "Only if the record still has this ETag")),
    responses(
        (status = 200, description = "The new record", body = Record, headers(("ETag" = String, description = "Its new version"))),
    ),
)]
async fn replace(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(new): Json<NewRecord>,
) -> Result<Response, ApiError> {
    let expected = conditional::if_match(&headers)?;
    let record = detached(async move {
        let update = state.store.update_record(id, expected, |record| {
            Ok::<_, ApiError>(record.replace(new.clone(), Timestamp::now())?)
        });
        changed(&state, id, update).await
    })
    .await??;
    Ok(with_etag(record.version, axum::Json(record)).into_response())
}

/// Delete a record.
#[utoipa::path(delete, path = "/records/{id}", tag = "records",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "Only if the record still has this ETag")),
    responses((status = 204, description = "Gone")),
)]
async fn delete(
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let expected = conditional::if_match(&headers)?;
    detached(async move { changed(&state, id, state.store.delete_record(id, expected)).await })
        .await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes a record, and what the caches of all replicas hold of it.
async fn changed<T, E>(
    state: &AppState,
    id: Uuid,
    change: impl Future<Output = Result<T, UpdateError<E>>>,
) -> Result<T, UpdateError<E>> {
    let mut batch = state.invalidations.begin();
    batch.push(Invalidation::key(&state.records, &id).remove());
    // On record before the commit: should the process be killed right after it, others do the rest.
    if let Err(error) = batch.prepare().await {
        tracing::debug!(%error, "changing a record without its invalidation on record");
    }
    let changed = change.await;
    match changed {
        Err(UpdateError::Store(_)) | Ok(_) => {
            // Also after an error of the store: a commit whose outcome is unknown may have happened.
            batch.commit().await;
        }
        Err(_) => batch.rollback().await,
    }
    changed
}

fn unknown(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("no record has the id {id}"))
}

/// Who answered, in the syntax of RFC 9211.
fn cache_status(lookup: &Lookup<Record>) -> HeaderValue {
    HeaderValue::from_static(match lookup {
        Lookup::Stale { .. } => "records; hit; detail=stale",
        Lookup::Absent => "records; detail=absent",
        lookup => match lookup.tier() {
            Some(TierKind::Memory) => "records; hit; detail=memory",
            Some(TierKind::Redis) => "records; hit; detail=redis",
            Some(TierKind::Disk) => "records; hit; detail=disk",
            _ => "records; fwd=miss; detail=database",
        },
    })
}
