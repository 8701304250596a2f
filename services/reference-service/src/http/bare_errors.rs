//! Turns errors that carry no problem document into one, so that a client meets one format only.
//!
//! Routers and third-party routes answer 404 and 405 with an empty body or plain text.

use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::problem::ApiError;

/// Replaces the body of a bare error; its headers (`Allow`, `Retry-After`) stay.
pub(super) async fn as_problem(response: Response) -> Response {
    if !is_bare(&response) {
        return response;
    }
    let error = match response.status() {
        StatusCode::NOT_FOUND => ApiError::NotFound("no such route".to_owned()),
        StatusCode::METHOD_NOT_ALLOWED => ApiError::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
        StatusCode::BAD_REQUEST => ApiError::Malformed("the request is malformed".to_owned()),
        // Whatever else a library answers stays as it is: a wrong explanation is worse than none.
        _ => return response,
    };
    let mut problem = error.into_response();
    for (name, value) in response.headers() {
        if !problem.headers().contains_key(name) && name != "content-length" {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

fn is_bare(response: &Response) -> bool {
    let status = response.status();
    let media_type = response
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes());
    (status.is_client_error() || status.is_server_error())
        && media_type.is_none_or(|media_type| media_type.starts_with(b"text/plain"))
}
