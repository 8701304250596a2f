//! Pages of a list on the wire: the page itself and its `Link` header (RFC 8288).

use axum::{
    http::{HeaderValue, Uri, header::LINK},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{problem::ApiError, rules::Bounded};
use crate::domain::{CursorKey, Page, decode_cursor};

/// How many items a client may ask for at once.
pub(super) type Limit = Bounded<1, 100>;

/// Items of a page when the client does not say.
pub(super) fn limit_default() -> Limit {
    Bounded(20)
}

/// The key after which the page begins.
///
/// # Errors
///
/// 400 for a cursor that is not ours, or that belongs to a list with another filter.
pub(super) fn after<K: CursorKey>(
    cursor: Option<&str>,
    filter: &impl Serialize,
) -> Result<Option<K>, ApiError> {
    Ok(cursor.map(|text| decode_cursor(text, filter)).transpose()?)
}

/// The page with its `Link` header; `uri` is the one that the client asked for.
pub(super) fn respond<T: Serialize>(page: Page<T>, uri: &Uri) -> Response {
    let first = format!("<{}>; rel=\"first\"", with_after(uri, None));
    let link = match &page.next {
        Some(cursor) => format!("{first}, <{}>; rel=\"next\"", with_after(uri, Some(cursor))),
        None => first,
    };
    let mut response = axum::Json(page).into_response();
    // A URI that was parsed from a request line is visible ASCII.
    if let Ok(link) = HeaderValue::from_str(&link) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// The same request for another page.
fn with_after(uri: &Uri, cursor: Option<&str>) -> String {
    let others = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(key, _)| key != "after");
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(others);
    if let Some(cursor) = cursor {
        query.append_pair("after", cursor);
    }
    match query.finish().as_str() {
        "" => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_every_other_parameter() {
        let uri: Uri = "/api/v1/tasks?status=done&after=old&assigned_agent_id=a%26b"
            .parse()
            .expect("uri");
        let page = Page {
            items: vec![1, 2],
            next: Some("behind-2".to_owned()),
        };
        let response = respond(page, &uri);
        assert_eq!(
            response.headers()[LINK],
            "</api/v1/tasks?status=done&assigned_agent_id=a%26b>; rel=\"first\", \
             </api/v1/tasks?status=done&assigned_agent_id=a%26b&after=behind-2>; rel=\"next\""
        );
    }

    #[test]
    fn the_last_page_links_to_no_next_one() {
        let page = Page {
            items: vec![1],
            next: None,
        };
        let response = respond(page, &Uri::from_static("/api/v1/tasks"));
        assert_eq!(response.headers()[LINK], "</api/v1/tasks>; rel=\"first\"");
    }
}
