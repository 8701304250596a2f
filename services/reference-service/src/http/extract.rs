//! Extractors whose refusals are problem documents: `Json`, `MergePatch`, `Query` and `Path`.
//!
//! They carry axum's own names on purpose: `utoipa` recognizes a request body and parameters by
//! the last segment of the extractor's type.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{BytesRejection, FailedToBufferBody},
    },
    http::{HeaderMap, header::CONTENT_TYPE, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::problem::{ApiError, FieldError};

/// A JSON body; the rules of its fields are the domain's.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON merge patch (RFC 7396); the rules of its fields are the domain's.
#[derive(Debug)]
pub struct MergePatch<T>(pub T);

/// Query parameters; unknown ones are refused by `T`.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// Parameters of the route's path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        expect_media_type(request.headers(), &["application/json"])?;
        body(request, state).await.map(Self)
    }
}

impl<T, S> FromRequest<S> for MergePatch<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let media_types = ["application/merge-patch+json", "application/json"];
        expect_media_type(request.headers(), &media_types)?;
        body(request, state).await.map(Self)
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs)
            .map(Self)
            .map_err(|error| field_error("query", &error.path().to_string(), error.inner()))
    }
}

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::invalid(
                "path",
                "id",
                rejection.body_text(),
                "type",
            )),
        }
    }
}

async fn body<T, S>(request: Request, state: &S) -> Result<T, ApiError>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    let bytes = timeout(BODY_TIMEOUT, Bytes::from_request(request, state))
        .await
        .map_err(|_elapsed| ApiError::BodyInterrupted)?
        .map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                ApiError::TooLarge
            }
            _ => ApiError::BodyInterrupted,
        })?;
    expect_object(&bytes)?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        match error.inner().classify() {
            serde_json::error::Category::Data => field_error("body", &path, error.inner()),
            _ => ApiError::Malformed(format!("the body is not JSON: {}", error.inner())),
        }
    })?;
    json.end()
        .map_err(|error| ApiError::Malformed(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// Every body is an object; serde would also read a struct from a list of its fields.
fn expect_object(bytes: &[u8]) -> Result<(), ApiError> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return Ok(());
    }
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) => Err(ApiError::Invalid(vec![FieldError {
            loc: location("body", ""),
            msg: "expected an object".to_owned(),
            kind: "type",
        }])),
        Err(error) => Err(ApiError::Malformed(format!(
            "the body is not JSON: {error}"
        ))),
    }
}

/// A typed error as one entry of `errors`; serde stops at the first.
fn field_error(place: &str, path: &str, error: &dyn std::fmt::Display) -> ApiError {
    let msg = error.to_string();
    let named = |prefix: &str| {
        let rest = msg.split_once(prefix)?.1;
        rest.split_once('`').map(|(field, _)| field.to_owned())
    };
    let (kind, extra) = match (named("missing field `"), named("unknown field `")) {
        (Some(field), _) => ("missing", Some(field)),
        (_, Some(field)) => ("unknown", Some(field)),
        _ => ("type", None),
    };
    let mut loc = location(place, path);
    if let Some(field) = extra
        && loc.last() != Some(&field)
    {
        loc.push(field);
    }
    ApiError::Invalid(vec![FieldError { loc, msg, kind }])
}

/// `tags[2]` in the body becomes `["body", "tags", "2"]`.
fn location(place: &str, path: &str) -> Vec<String> {
    let parts = path
        .split(['.', '[', ']'])
        .filter(|part| !part.is_empty() && *part != "?");
    std::iter::once(place)
        .chain(parts)
        .map(str::to_owned)
        .collect()
}

fn expect_media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), ApiError> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if accepted
        .iter()
        .any(|media_type| essence.eq_ignore_ascii_case(media_type))
    {
        return Ok(());
    }
    Err(ApiError::UnsupportedMediaType(match given {
        "" => format!("no Content-Type; expected {}", accepted.join(" or ")),
        given => format!(
            "Content-Type is `{given}`; expected {}",
            accepted.join(" or ")
        ),
    }))
}

/// Shorter than the default of `http.request_timeout`: a client that stalls is told so, a handler that
/// takes too long is told apart.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
