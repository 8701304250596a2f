//! What explains the API: `/`, `/docs` (Swagger UI), `/openapi.json` and `/problems`.
//!
//! Everything is part of the binary: the pages work without a network.

use axum::{
    Router,
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    middleware,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    kinds::{KINDS, PROBLEMS_PATH},
    openapi,
};

/// The routes of the documentation.
pub fn router() -> Router {
    // The validator badge would send the document's address to a public service.
    let swagger = SwaggerUi::new("/docs").config(
        Config::from("/openapi.json")
            .validator_url("none")
            .try_it_out_enabled(true),
    );
    let document: &'static str = Box::leak(openapi::json().into_boxed_str());
    Router::new()
        .merge(swagger)
        .layer(middleware::map_response(only_own_scripts))
        .route("/", get(async || Redirect::temporary("/docs/")))
        .route(
            "/openapi.json",
            get(async move || ([(CONTENT_TYPE, "application/json")], document)),
        )
        .route(PROBLEMS_PATH, get(problems))
}

/// The page sends requests to this server only, whatever a description in the document says.
async fn only_own_scripts(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static(
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             frame-ancestors 'none'",
        ),
    );
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    response
}

/// What each `type` of a problem document means.
async fn problems() -> impl IntoResponse {
    let rows: String = KINDS
        .iter()
        .map(|kind| {
            format!(
                "<section id=\"{name}\"><h2>{status} {title}</h2><p>{advice}</p></section>\n",
                name = kind.name,
                status = kind.status.as_u16(),
                title = kind.title,
                advice = kind.advice,
            )
        })
        .collect();
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Problems</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:44rem;margin:2rem auto;padding:0 1rem}}h2{{font-size:1.1rem;margin-bottom:0}}\
         :target{{outline:2px solid;outline-offset:.5rem}}</style></head><body>\
         <h1>Problems</h1><p>Every error of this API is a problem document (RFC 9457). Its \
         <code>type</code> points here.</p>\n{rows}</body></html>"
    ))
}
