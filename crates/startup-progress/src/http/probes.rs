//! Liveness, readiness and startup probes: three questions that must not be mixed up.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Shared, json};
use crate::{CheckSnapshot, CheckStatus, Progress, Readiness};

/// What a probe answers.
#[derive(Debug, Serialize)]
struct Verdict {
    status: CheckStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    readiness: Option<Readiness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<BTreeMap<String, CheckSnapshot>>,
}

impl Verdict {
    fn into_response(self) -> Response {
        if self.status != CheckStatus::Fail {
            return json(StatusCode::OK, &self);
        }
        let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &self);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}

/// The process answers: nothing else is looked at, or a slow dependency would get it killed.
pub(super) async fn livez() -> Response {
    let (readiness, percent, reason, checks) = (None, None, None, None);
    Verdict {
        status: CheckStatus::Pass,
        readiness,
        percent,
        reason,
        checks,
    }
    .into_response()
}

/// Whether to send traffic: the service says it is ready and no check fails.
pub(super) async fn readyz(State(shared): State<Shared>) -> Response {
    let snapshot = shared.progress.snapshot();
    let worst = snapshot.checks.values().map(|check| check.status).max();
    let status = match snapshot.status {
        Readiness::Ready => worst.unwrap_or(CheckStatus::Pass),
        _ => CheckStatus::Fail,
    };
    Verdict {
        status,
        readiness: Some(snapshot.status),
        percent: None,
        reason: snapshot.reason,
        checks: Some(snapshot.checks),
    }
    .into_response()
}

/// Whether the start is over; with `?wait=9s` the answer comes when it is, or after nine seconds.
pub(super) async fn startupz(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let wait = match wait_from(query.as_deref().unwrap_or_default()) {
        Ok(wait) => wait.min(shared.config.wait_max),
        Err(message) => return (StatusCode::BAD_REQUEST, message).into_response(),
    };
    if !wait.is_zero()
        && let Ok(_held) = shared.clients.try_acquire()
    {
        // A client that goes away drops this future here, and with it its permit.
        let _ = tokio::time::timeout(wait, start_is_over(&shared.progress)).await;
    }
    let snapshot = shared.progress.peek();
    // A service that drains after it was ready has had a good start.
    let started = snapshot.ready_ms.is_some() && snapshot.status != Readiness::Failed;
    Verdict {
        status: if started {
            CheckStatus::Pass
        } else {
            CheckStatus::Fail
        },
        readiness: Some(snapshot.status),
        percent: Some(snapshot.percent),
        reason: snapshot.reason,
        checks: None,
    }
    .into_response()
}

/// Waits until the start has ended one way or the other, or nobody may wait any longer.
async fn start_is_over(progress: &Progress) {
    progress
        .wait_for(|readiness| readiness != Readiness::Starting || progress.streams_closed())
        .await;
}

/// The `wait` of a query string; zero without one.
fn wait_from(query: &str) -> Result<Duration, &'static str> {
    let Some(text) = query.split('&').find_map(|pair| pair.strip_prefix("wait=")) else {
        return Ok(Duration::ZERO);
    };
    humantime::parse_duration(text).map_err(|_| "wait must be a duration such as 9s or 500ms\n")
}
