//! Waiting for a condition without sleeping, errors as text, and rows of one column.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use serde::{Deserialize, Serialize};

/// Yields until `done`, for at most ten seconds of real time.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::SystemTime::now();
    while !done() {
        let waited = started.elapsed().unwrap_or_default();
        assert!(waited < Duration::from_secs(10), "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// The whole chain of an error as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[derive(QueryableByName, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    #[diesel(sql_type = BigInt)]
    pub(crate) n: i64,
}

#[derive(QueryableByName, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    #[diesel(sql_type = Text)]
    pub(crate) word: String,
}
