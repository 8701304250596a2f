//! What is told to the log while statements run: slow ones, and those that one request repeats. Never a value.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::statements::Statement;
use crate::scope::{Finding, ScopeStatement};
use crate::shared::Shared;

/// Counts, and once a second for each statement tells, that it took longer than `slow_query`.
pub(super) fn slow_statement(
    shared: &Shared,
    statement: &Arc<Statement>,
    took: Duration,
    at: Option<&'static Location<'static>>,
    now: Instant,
) {
    if shared.config.slow_query.is_none_or(|limit| took < limit) {
        return;
    }
    shared.metrics.slow_queries.increment(1);
    let now = shared.observed.age(now);
    if let Some(untold) = statement.slow.tell(now) {
        tracing::warn!(
            pool = %shared.config.name,
            ?took,
            at = at.map(tracing::field::display),
            fingerprint = format_args!("{:016x}", statement.fingerprint),
            sql = &*statement.sql,
            untold,
            "slow statement"
        );
    }
    // Behind PgBouncer a PREPARE that is cut off would stay in a session of the server, which others get.
    if !shared.config.pgbouncer {
        shared.observed.want_plan(statement, now);
    }
}

/// Counts what a scope repeats, and tells it once a second for each statement.
pub(super) fn finding(
    shared: &Shared,
    statement: &Statement,
    found: Finding,
    at: Option<&'static Location<'static>>,
    now: Instant,
) {
    let pool = &*shared.config.name;
    let at = at.map(tracing::field::display);
    let sql = &*statement.sql;
    match found {
        Finding::NPlusOne(times) => {
            shared.metrics.n_plus_one.increment(1);
            if statement.slow.hint(shared.observed.age(now)) {
                let cure = ScopeStatement::cure(statement.kind != super::Kind::Read);
                tracing::warn!(
                    pool,
                    times,
                    at,
                    sql,
                    cure,
                    "a request repeats a statement (N+1)"
                );
            }
        }
        Finding::Duplicate => {
            shared.metrics.duplicates.increment(1);
            tracing::debug!(pool, at, sql, "a request reads the same again");
        }
    }
}

/// Counts and tells that borrowing took longer than `slow_acquire`.
pub(crate) fn slow_acquire(shared: &Shared, took: Duration, at: &'static Location<'static>) {
    if shared.config.slow_acquire.is_none_or(|limit| took < limit) {
        return;
    }
    shared.metrics.slow_acquires.increment(1);
    let counters = &shared.counters;
    let waiting = counters.waiting.load(std::sync::atomic::Ordering::Relaxed);
    if shared.observed.tell_slow_acquire() {
        tracing::warn!(pool = %shared.config.name, ?took, %at, waiting, "slow to borrow a connection");
    }
}
