//! Errors as the client sees them: RFC 9457 problem documents, one for every way to fail.
//!
//! Domain and storage errors know nothing of HTTP; this file maps them once, with a public text
//! for the client and the full chain of causes for the log.

use std::{convert::Infallible, error::Error, time::Duration};

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tiered_cache::LoadError;
use utoipa::ToSchema;

use super::{
    kinds::{self, Kind, PROBLEMS_PATH},
    request_id,
};
use crate::{
    domain::{CursorError, Invalid},
    store::{StoreError, UpdateError},
};

/// Media type of every error (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Every way in which a request can fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The body is not JSON at all, or the cursor is not one of ours.
    #[error("{0}")]
    Malformed(String),
    /// Nothing with this id, or no such route.
    #[error("{0}")]
    NotFound(String),
    /// The route exists, the method does not; axum adds `Allow`.
    #[error("this resource does not offer this method")]
    MethodNotAllowed,
    /// The request contradicts the state of the resource.
    #[error("{0}")]
    Conflict(String),
    /// `If-Match` names another version.
    #[error("the resource is at version {current} now")]
    PreconditionFailed {
        /// Version of the stored resource.
        current: i64,
    },
    /// Larger than the limit.
    #[error("the body is larger than this server accepts")]
    TooLarge,
    /// Neither JSON nor what the route documents.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// Well-formed, but some fields are not valid.
    #[error("{} not valid", if .0.len() == 1 { "one field is" } else { "some fields are" })]
    Invalid(Vec<FieldError>),
    /// The key of the admin listener is missing or wrong.
    #[error("this listener asks for its key as `Authorization: Bearer`")]
    Unauthorized,
    /// Not now: starting, draining, or a dependency is away.
    #[error("{detail}")]
    Unavailable {
        /// What is missing.
        detail: String,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The handler took longer than the request timeout.
    #[error("the request took longer than {0:?}")]
    Timeout(Duration),
    /// The client stopped sending its body.
    #[error("the request body did not arrive whole")]
    BodyInterrupted,
    /// A bug or a broken dependency: the client gets the request's id, the log gets the causes.
    #[error("something went wrong on our side")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

/// One field that is not valid.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it stands, outermost first: `["body", "title"]`, `["query", "limit"]`.
    pub loc: Vec<String>,
    /// What is wrong with it.
    pub msg: String,
    /// Kind of error: `missing`, `unknown`, `type`, or the broken rule: `too_short`, `too_long`,
    /// `too_many`, `out_of_range`, `nul`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// The problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Kind of problem: a path of this server that explains it, also without a network.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "/problems#invalid")]
    pub kind: String,
    /// The same for every problem of this kind.
    pub title: &'static str,
    /// HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Id of the request, as in the `x-request-id` header and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The fields that are not valid (422 only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<FieldError>>)]
    pub errors: Vec<FieldError>,
}

// === impl ApiError ===

impl ApiError {
    /// A bug or a broken dependency.
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// One invalid field.
    pub fn invalid(place: &str, field: &str, msg: impl Into<String>, kind: &'static str) -> Self {
        Self::Invalid(vec![FieldError {
            loc: vec![place.to_owned(), field.to_owned()],
            msg: msg.into(),
            kind,
        }])
    }

    /// Which kind of problem this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Malformed(_) => kinds::MALFORMED,
            Self::NotFound(_) => kinds::NOT_FOUND,
            Self::MethodNotAllowed => kinds::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => kinds::CONFLICT,
            Self::PreconditionFailed { .. } => kinds::PRECONDITION_FAILED,
            Self::TooLarge => kinds::TOO_LARGE,
            Self::UnsupportedMediaType(_) => kinds::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => kinds::INVALID,
            Self::Unauthorized => kinds::UNAUTHORIZED,
            Self::Unavailable { .. } => kinds::UNAVAILABLE,
            Self::Timeout(_) => kinds::TIMEOUT,
            Self::BodyInterrupted => kinds::BODY_INTERRUPTED,
            Self::Internal(_) => kinds::INTERNAL,
        }
    }

    /// Only bugs: what a client can cause at will must not fill the log.
    fn log(&self) {
        if let Self::Internal(error) = self {
            tracing::error!(error = chain(error.as_ref()), "request failed");
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let kind = self.kind();
        let detail = self.to_string();
        let retry_after = match &self {
            Self::Unavailable { retry_after, .. } => Some(retry_after.as_secs().max(1)),
            _ => None,
        };
        let errors = match self {
            Self::Invalid(errors) => errors,
            _ => Vec::new(),
        };
        let problem = Problem {
            kind: format!("{PROBLEMS_PATH}#{}", kind.name),
            title: kind.title,
            status: kind.status.as_u16(),
            detail,
            instance: request_id::current(),
            errors,
        };
        let body = serde_json::to_vec(&problem).expect("strings and numbers are valid JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = kind.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if kind.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                "www-authenticate",
                HeaderValue::from_static("Bearer realm=\"admin\""),
            );
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => {
                Self::Conflict("a resource with this id exists".to_owned())
            }
            StoreError::InvalidText { .. } => Self::invalid(
                "body",
                "",
                "text must not contain the NUL character",
                "value",
            ),
            error if error.is_unavailable() => database_away(&error),
            error => Self::internal(error),
        }
    }
}

impl<E: Into<Self>> From<UpdateError<E>> for ApiError {
    fn from(error: UpdateError<E>) -> Self {
        match error {
            UpdateError::NotFound => Self::NotFound("nothing has this id".to_owned()),
            UpdateError::VersionMismatch { current } => Self::PreconditionFailed { current },
            UpdateError::Rejected(error) => error.into(),
            UpdateError::Contended => Self::Unavailable {
                detail: "too many writers change this resource at the same time".to_owned(),
                retry_after: Duration::from_secs(1),
            },
            UpdateError::Store(error) => error.into(),
        }
    }
}

impl From<Infallible> for ApiError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let errors = invalid.violations().iter().map(|violation| FieldError {
            // The pointer begins with a slash: its first part is empty and becomes the place.
            loc: violation
                .pointer
                .split('/')
                .map(|part| if part.is_empty() { "body" } else { part }.to_owned())
                .collect(),
            msg: violation.message.clone(),
            kind: violation.rule,
        });
        Self::Invalid(errors.collect())
    }
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        Self::Malformed(format!("query parameter `after`: {error}"))
    }
}

/// What a failed read through the cache means to the client: the loader's own error if there is one.
pub(super) fn load_error(error: LoadError) -> ApiError {
    match error.downcast_ref::<StoreError>() {
        Some(store) if store.is_unavailable() => database_away(store),
        _ => ApiError::internal(error),
    }
}

fn database_away(error: &StoreError) -> ApiError {
    // The health check logs that the database went away, once.
    tracing::debug!(error = chain(error), "database unavailable");
    ApiError::Unavailable {
        detail: "the database does not answer at the moment".to_owned(),
        retry_after: Duration::from_secs(1),
    }
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
