//! Conditional requests on row versions: `ETag`, `If-None-Match`, `If-Match` (RFC 9110, 13).

use axum::{
    http::{
        HeaderMap, HeaderName, StatusCode,
        header::{ETAG, IF_MATCH, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
};

use super::problem::ApiError;

/// Adds the version as strong `ETag`.
pub(super) fn with_etag(version: i64, body: impl IntoResponse) -> impl IntoResponse {
    ([(ETAG, format!("\"{version}\""))], body)
}

/// 304 when the client has this version already, else the body.
pub(super) fn respond(headers: &HeaderMap, version: i64, body: impl IntoResponse) -> Response {
    let known = tags(headers, IF_NONE_MATCH).any(|tag| {
        // Weak comparison: a compressing proxy may have weakened our tag.
        tag == "*" || version_of(tag.strip_prefix("W/").unwrap_or(tag)) == Some(version)
    });
    if known {
        return with_etag(version, StatusCode::NOT_MODIFIED).into_response();
    }
    with_etag(version, body).into_response()
}

/// The version that `If-Match` asks for; `None` when the client does not mind.
///
/// A tag that is none of ours, or a weak one, matches no version (RFC 9110, 13.1.1): it becomes one
/// that no row has.
///
/// # Errors
///
/// 400 for what is no list of tags, and for several versions at once: which of them the change is
/// meant for would be a guess.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    if !headers.contains_key(IF_MATCH) {
        return Ok(None);
    }
    let given: Vec<_> = tags(headers, IF_MATCH).collect();
    if given == ["*"] {
        return Ok(None);
    }
    if given.is_empty() || !given.iter().all(|tag| is_tag(tag)) {
        return Err(ApiError::Malformed(
            "If-Match: expected an ETag in quotes".to_owned(),
        ));
    }
    let mut ours = given.iter().filter_map(|tag| version_of(tag));
    match (ours.next(), ours.next()) {
        (Some(version), None) => Ok(Some(version)),
        (None, _) => Ok(Some(NO_VERSION)),
        (Some(_), Some(_)) => Err(ApiError::Malformed(
            "If-Match: send the ETag that you read last, alone".to_owned(),
        )),
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
}

fn is_tag(tag: &str) -> bool {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"')
}

fn version_of(tag: &str) -> Option<i64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// Versions begin at 1.
const NO_VERSION: i64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("header value"))])
    }

    #[test]
    fn a_client_that_has_the_version_gets_no_body() {
        for (value, status) in [
            ("\"3\"", 304),
            ("W/\"3\"", 304),
            ("\"1\", \"3\"", 304),
            ("*", 304),
            ("\"2\"", 200),
            ("3", 200),
            ("garbage", 200),
        ] {
            let response = respond(&headers(IF_NONE_MATCH, value), 3, "body");
            assert_eq!(response.status().as_u16(), status, "If-None-Match: {value}");
            assert_eq!(response.headers()[ETAG], "\"3\"");
        }
    }

    #[test]
    fn if_match_takes_one_of_our_tags_or_none() {
        assert_eq!(if_match(&HeaderMap::new()).expect("none"), None);
        assert_eq!(if_match(&headers(IF_MATCH, "*")).expect("any"), None);
        assert_eq!(
            if_match(&headers(IF_MATCH, "\"7\"")).expect("ours"),
            Some(7)
        );
        for value in ["\"x\"", "W/\"7\"", "\"a\", \"b\""] {
            let version = if_match(&headers(IF_MATCH, value)).expect("a list of tags");
            assert_eq!(version, Some(NO_VERSION), "If-Match: {value}");
        }
        assert_eq!(
            if_match(&headers(IF_MATCH, "\"x\", \"7\"")).expect("one is ours"),
            Some(7)
        );
        for value in ["", "7", "\"", "x\"7\"", "\"1\", \"2\""] {
            assert!(
                if_match(&headers(IF_MATCH, value)).is_err(),
                "If-Match: {value}"
            );
        }
    }
}
