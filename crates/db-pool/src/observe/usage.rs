//! How a pool is used, for its status: how long borrowing and holding take, and what takes most of it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::sites::share;
use super::{CallSite, StatementStats};
use crate::metrics::Timer;
use crate::shared::Shared;

/// What borrowers and statements have cost since the pool opened; part of [`Status`](crate::Status).
///
/// Quantiles are good to a quarter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// How long borrowing took.
    pub acquire: Quantiles,
    /// How long connections were held.
    pub hold: Quantiles,
    /// How long statements took.
    pub query: Quantiles,
    /// How long connections were held, together.
    #[serde(serialize_with = "super::seconds")]
    pub held: Duration,
    /// How much of that time a statement was under way.
    #[serde(serialize_with = "super::seconds")]
    pub querying: Duration,
    /// Borrowing that took longer than `slow_acquire`.
    pub slow_acquires_total: u64,
    /// Statements that took longer than `slow_query`.
    pub slow_queries_total: u64,
    /// Statements that failed.
    pub statement_errors_total: u64,
    /// Transactions that were run again.
    pub retries_total: u64,
    /// Statements that a scope repeated with other values, once per scope and statement.
    pub n_plus_one_total: u64,
    /// Reads that a scope repeated with the same values, once per scope and statement.
    pub duplicate_queries_total: u64,
    /// The five statements that took most time; all by [`Pool::statements`](crate::Pool::statements).
    pub statements: Vec<StatementStats>,
    /// The five places that held connections longest; all by [`Pool::call_sites`](crate::Pool::call_sites).
    pub call_sites: Vec<CallSite>,
}

/// How long something took: half of the times at most `p50`, 99 of 100 at most `p99`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// How often it happened.
    pub count: u64,
    /// The median.
    #[serde(serialize_with = "super::seconds")]
    pub p50: Duration,
    /// The 99th percentile.
    #[serde(serialize_with = "super::seconds")]
    pub p99: Duration,
}

impl Quantiles {
    fn of(timer: &Timer) -> Self {
        let buckets = timer.buckets();
        Self {
            count: buckets.count(),
            p50: buckets.quantile(0.5),
            p99: buckets.quantile(0.99),
        }
    }
}

impl Usage {
    pub(crate) fn of(shared: &Shared) -> Self {
        let (metrics, observed) = (&shared.metrics, &shared.observed);
        let mut call_sites = observed.sites.snapshot();
        let (held, querying) = call_sites.iter().fold(
            (Duration::ZERO, Duration::ZERO),
            |(held, querying), site| (held + site.held, querying + site.querying),
        );
        call_sites.truncate(SHOWN);
        Self {
            acquire: Quantiles::of(&metrics.acquire),
            hold: Quantiles::of(&metrics.hold),
            query: Quantiles::of(&metrics.query),
            held,
            querying,
            slow_acquires_total: metrics.slow_acquires.value(),
            slow_queries_total: metrics.slow_queries.value(),
            statement_errors_total: metrics.statement_errors.value(),
            retries_total: metrics.retries.value(),
            n_plus_one_total: metrics.n_plus_one.value(),
            duplicate_queries_total: metrics.duplicates.value(),
            statements: observed.statements.top(SHOWN),
            call_sites,
        }
    }

    /// The part of the time, from 0 to 1, in which borrowed connections worked; `None` before the first return.
    pub fn query_share(&self) -> Option<f64> {
        share(self.querying, self.held)
    }

    /// Lines for a terminal, each after a line break.
    pub(crate) fn fmt_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, times) in [
            ("acquire", self.acquire),
            ("hold", self.hold),
            ("query", self.query),
        ] {
            if times.count > 0 {
                let Quantiles { count, p50, p99 } = times;
                write!(
                    f,
                    "\n  {name:<9} p50 {}, p99 {}, {count} times",
                    Took(p50),
                    Took(p99)
                )?;
            }
        }
        if let Some(share) = self.query_share() {
            let percent = 100.0 * share;
            write!(
                f,
                "\n  working   {percent:.0} % of the time that connections were held"
            )?;
        }
        let counts = [
            (self.slow_acquires_total, "slow acquires"),
            (self.slow_queries_total, "slow queries"),
            (self.statement_errors_total, "statement errors"),
            (self.retries_total, "retries"),
            (self.n_plus_one_total, "N+1"),
            (self.duplicate_queries_total, "duplicates"),
        ];
        let mut before = "\n  seen      ";
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{before}{count} {what}")?;
            before = ", ";
        }
        self.fmt_statements(f)?;
        self.fmt_call_sites(f)
    }

    fn fmt_statements(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.statements.is_empty() {
            let [total, count, p99] = ["total", "count", "p99"];
            write!(f, "\n  {total:>9} {count:>9} {p99:>9}  statement")?;
        }
        for one in &self.statements {
            let (total, p99) = (Took(one.total), Took(one.p99));
            let shown: String = one.sql.chars().take(SHOWN_TEXT).collect();
            let cut = if shown.len() < one.sql.len() {
                " ..."
            } else {
                ""
            };
            write!(f, "\n  {total:>9} {:>9} {p99:>9}  {shown}{cut}", one.count)?;
        }
        Ok(())
    }

    fn fmt_call_sites(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.call_sites.is_empty() {
            let [held, count, p99] = ["held", "count", "p99"];
            write!(f, "\n  {held:>9} {count:>9} {p99:>9}  working  borrowed at")?;
        }
        for one in &self.call_sites {
            let (held, p99) = (Took(one.held), Took(one.held_p99));
            let working = 100.0 * one.query_share().unwrap_or(0.0);
            let count = one.holds;
            write!(
                f,
                "\n  {held:>9} {count:>9} {p99:>9}  {working:>5.0} %  {}",
                one.at
            )?;
        }
        Ok(())
    }
}

/// A duration with three digits at most before the point and one behind, which can be aligned.
struct Took(Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1?}", self.0))
    }
}

const SHOWN: usize = 5;
const SHOWN_TEXT: usize = 100;

#[cfg(test)]
impl Usage {
    pub(crate) fn example() -> Self {
        let (micros, millis) = (Duration::from_micros, Duration::from_millis);
        let times = |count, p50, p99| Quantiles { count, p50, p99 };
        let statement = |sql: &str, count, total| StatementStats {
            fingerprint: 77,
            sql: sql.into(),
            summary: "SELECT users".into(),
            count,
            total,
            p50: micros(310),
            p99: micros(1290),
            max: millis(14),
            errors: 0,
            last_at: Some("src/users.rs:40:9".into()),
            plan: None,
        };
        Self {
            acquire: times(120_036, Duration::from_nanos(420), micros(1200)),
            hold: times(120_031, micros(900), millis(14)),
            query: times(310_200, micros(310), millis(4)),
            held: Duration::from_secs(310),
            querying: Duration::from_secs(93),
            slow_queries_total: 4,
            n_plus_one_total: 2,
            statements: vec![
                statement(
                    "SELECT name FROM users WHERE id = ?",
                    310_000,
                    Duration::from_secs(92),
                ),
                statement(&"SELECT a long statement ".repeat(9), 200, millis(640)),
            ],
            call_sites: vec![CallSite {
                at: "src/users.rs:40:9".into(),
                holds: 120_031,
                held: Duration::from_secs(310),
                held_p50: micros(900),
                held_p95: millis(4),
                held_p99: millis(14),
                held_max: millis(80),
                querying: Duration::from_secs(93),
                statements: 310_200,
            }],
            ..Self::default()
        }
    }
}
