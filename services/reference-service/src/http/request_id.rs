//! One id per request: taken from the client when it is safe to log, made otherwise.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: HeaderValue;
}

/// The header that carries it, in both directions.
pub const X_REQUEST_ID: &str = "x-request-id";

/// Middleware: runs the request in a span that carries the id, and puts the id on the response.
pub async fn assign(request: Request, next: Next) -> Response {
    let id = accepted(request.headers()).unwrap_or_else(made);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
    );
    let mut response = CURRENT
        .scope(id.clone(), next.run(request))
        .instrument(span)
        .await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// The id of the request that this task handles.
pub fn current() -> Option<String> {
    CURRENT
        .try_with(|id| id.to_str().map(str::to_owned).ok())
        .ok()
        .flatten()
}

/// Only visible ASCII of a sensible length: the id goes into logs and headers as it is.
fn accepted(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let usable =
        (1..=LEN_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    usable.then(|| id.clone())
}

fn made() -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    HeaderValue::from_str(Uuid::now_v7().hyphenated().encode_lower(&mut text))
        .expect("hexadecimal digits and hyphens are a valid header value")
}

const LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_safe_to_log_are_taken_over() {
        let accepts = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(
                X_REQUEST_ID,
                HeaderValue::from_bytes(value).expect("header value"),
            );
            accepted(&headers).is_some()
        };
        assert!(accepts(b"4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(accepts(&[b'a'; 128]));
        assert!(!accepts(&[b'a'; 129]));
        assert!(!accepts(b""));
        assert!(!accepts(b"two words"));
        assert!(!accepts("n\u{e4}h".as_bytes()));
        assert!(accepted(&HeaderMap::new()).is_none());
    }
}
