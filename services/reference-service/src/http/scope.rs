//! What one request asked of the database, told to whoever develops the service.
//!
//! Each request of the API runs in a `db_pool::Scope` with its deadline: it waits for no connection
//! any longer than it lives, and its statements are counted together. What it repeats, N+1 queries
//! above all, the pool logs by itself.

use std::fmt::Write as _;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use db_pool::{Scope, ScopeReport};

/// The header for developer tools (W3C Server Timing).
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Middleware: adds what the request asked of the database to its answer, if that is wanted.
pub async fn tell(wanted: bool, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if wanted
        && let Some(scope) = Scope::current()
        && let Ok(value) = HeaderValue::from_str(&server_timing(&scope.report()))
    {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    response
}

/// The report as a header: the number of statements and the milliseconds that they took, then each
/// statement that the request repeats.
pub fn server_timing(report: &ScopeReport) -> String {
    let millis = report.time.as_secs_f64() * 1e3;
    let mut text = format!(
        "db;dur={millis:.3};desc=\"{} statements\"",
        report.statements
    );
    let mut add = |name: &str, times: u64, summary: &str| {
        let summary: String = summary.chars().filter(is_plain).collect();
        // Writing into memory cannot fail.
        let _ = write!(text, ", {name};desc=\"{times} times {summary}\"");
    };
    for one in report.n_plus_ones.iter().take(FINDINGS_MAX) {
        add("n-plus-one", one.in_turn, &one.summary);
    }
    for one in report.duplicates.iter().take(FINDINGS_MAX) {
        add("again", one.duplicates, &one.summary);
    }
    text
}

/// What may stand in a quoted string as it is.
fn is_plain(character: &char) -> bool {
    matches!(character, ' '..='~') && !matches!(character, '"' | '\\')
}

/// A header is no place for a long list; the log has all.
const FINDINGS_MAX: usize = 5;
