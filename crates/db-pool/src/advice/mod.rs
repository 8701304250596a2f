//! Advice: what the pool and its database could do better, with the numbers that say so.

#[cfg(feature = "postgres")]
mod catalog;
mod finding;
#[cfg(feature = "postgres")]
mod fleet;
mod input;
#[cfg(feature = "postgres")]
mod memory;
mod merge;
#[cfg(feature = "postgres")]
mod plan;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_trial;
mod predicates;
mod render;
#[cfg(feature = "postgres")]
mod scans;
mod schema;
mod shapes;
mod sizing;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_copy;
#[cfg(feature = "sqlite")]
mod sqlite_trial;
mod statements;
mod trial;

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

pub use self::finding::{
    Action, Advice, Evidence, Finding, FindingKind, Severity, SuggestedIndex, Value,
};
use self::input::{PoolNumbers, SiteNumbers, StatementNumbers};
#[cfg(feature = "postgres")]
pub(crate) use self::memory::Memory;
use self::trial::Trial;
pub use self::trial::{IndexTrial, Measured, TrialError, TrialOptions};
use crate::backend::Backend;
use crate::error::AcquireError;
use crate::observe::quietly;
use crate::pool::Pool;
use crate::status::Status;

/// A backend that can be advised on; sealed like [`Backend`].
pub trait Advised: Backend {
    #[doc(hidden)]
    fn advise(
        pool: &Pool<Self>,
        statements: &[Costly],
        until: Instant,
    ) -> impl Future<Output = Told> + Send
    where
        Self: Sized;

    #[doc(hidden)]
    fn try_index(
        pool: &Pool<Self>,
        trial: Trial,
    ) -> impl Future<Output = Result<IndexTrial, TrialError>> + Send
    where
        Self: Sized;
}

/// A statement worth looking at.
#[derive(Debug)]
#[doc(hidden)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Costly(StatementNumbers);

/// What a backend found, and what it could not look at.
#[derive(Debug, Default)]
#[doc(hidden)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Told {
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<String>,
}

impl<B: Advised> Pool<B> {
    /// Looks at what the pool has measured since it opened, and at what its database tells of tables, indexes and
    /// plans, and says what to change. Changes nothing.
    ///
    /// Takes one connection and at most five seconds, usually far less; each question to the server may take one
    /// second. What cannot be looked at, for want of a privilege, of time or of a free connection, is a note in the
    /// advice. On PostgreSQL statements are explained with a generic plan, so no value is needed, and the connection is
    /// closed afterwards. Counts of sequential scans are those since the previous call, or since the server's
    /// statistics began. Dropping the future harms nothing.
    ///
    /// # Errors
    /// [`AcquireError::Closed`] when the pool is closed.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(pool: db_pool::Pool<db_pool::Sqlite>) -> Result<(), db_pool::AcquireError> {
    /// let advice = pool.advice().await?;
    /// println!("{advice}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn advice(&self) -> Result<Advice, AcquireError> {
        if self.shared().is_closed() {
            return Err(AcquireError::Closed);
        }
        let (mut findings, mut notes) = sizing::pool(&self.numbers());
        let statements = self.costly();
        if statements.is_empty() {
            notes.push("statements: none has been measured yet".to_owned());
        }
        let slow = self.slow();
        let shapes = statements.iter().filter(|it| it.0.p99 >= slow);
        findings.extend(shapes.flat_map(|it| shapes::shapes(&it.0)));
        let told = quietly(B::advise(self, &statements, Instant::now() + BUDGET)).await;
        findings.extend(told.findings);
        notes.extend(told.notes);
        Ok(Advice {
            pool: self.config().name.clone(),
            backend: Status::kind(B::KIND),
            findings: merge::merged(findings),
            notes,
        })
    }

    /// Tries the index that a finding suggests: the plan, its cost and, where values are known, the time before and
    /// after. For a person who asks, not for production traffic.
    ///
    /// On PostgreSQL `hypopg` is used where it is installed: nothing is built, so only plan and cost change. Otherwise
    /// [`TrialOptions::build`] has the index built in a transaction that is rolled back, which **keeps all writers of
    /// the table waiting** meanwhile. On SQLite a copy of the file is made beside the temporary files and the index is
    /// built there.
    ///
    /// Values are taken from a row of the table, for as many places of the statement as are compared with a column; the
    /// statement is run, three times each, only if it reads and all its values are known. Everything ends after
    /// [`TrialOptions::limit`]. Dropping the future rolls back.
    ///
    /// # Errors
    /// See [`TrialError`].
    pub async fn try_index(
        &self,
        finding: &Finding,
        options: TrialOptions,
    ) -> Result<IndexTrial, TrialError> {
        let index = finding.index.clone().ok_or(TrialError::NoIndex)?;
        let known = finding
            .fingerprint
            .and_then(|number| self.shared().observed.statements.get(number));
        let sent = known
            .as_ref()
            .and_then(|statement| statement.sent.as_deref());
        // Without a statement the index of a foreign key is tried with what the key needs.
        let sql = match sent {
            Some(sent) => sent.to_owned(),
            None if finding.fingerprint.is_none() => trial::lookup(&index),
            None => return Err(TrialError::Forgotten),
        };
        quietly(B::try_index(self, Trial::new(index, sql, options))).await
    }

    fn numbers(&self) -> PoolNumbers {
        let shared = self.shared();
        let counters = &shared.counters;
        let site = |site: crate::observe::CallSite| SiteNumbers {
            at: site.at,
            holds: site.holds,
            held: site.held,
            held_high: site.held_p95,
            querying: site.querying,
        };
        let waits = shared.metrics.acquire.buckets();
        let status = self.status();
        let peak = counters.in_use_peak.load(Relaxed);
        PoolNumbers {
            max_size: status.max_size,
            min_idle: self.config().min_idle,
            window: shared.observed.age(Instant::now()),
            acquired: counters.acquired.load(Relaxed),
            timeouts: counters.timeouts.load(Relaxed),
            connects: counters.connects.load(Relaxed),
            recovered: counters.recovered.load(Relaxed),
            discarded: counters.discarded.load(Relaxed),
            waited_p99: (waits.count() > 0).then(|| waits.quantile(0.99)),
            in_use_max: u32::try_from(peak).ok(),
            sites: self.call_sites().into_iter().map(site).collect(),
        }
    }

    /// The statements that took most time, together.
    fn costly(&self) -> Vec<Costly> {
        let observed = &self.shared().observed;
        let all = self.statements().into_iter();
        let with_text = all.filter_map(|stats| {
            let sent = observed
                .statements
                .get(stats.fingerprint)?
                .sent
                .as_deref()?
                .to_owned();
            Some(Costly(StatementNumbers {
                fingerprint: stats.fingerprint,
                sql: stats.sql,
                sent,
                count: stats.count,
                total: stats.total,
                p99: stats.p99,
                at: stats.last_at,
            }))
        });
        with_text
            .filter(|it| statements::is_explainable(&it.0.sent))
            .take(STATEMENTS)
            .collect()
    }

    /// From what on the shape of a statement is worth a word.
    fn slow(&self) -> Duration {
        let logged = self.config().slow_query.unwrap_or(SLOW);
        logged.min(SLOW)
    }
}

/// The longest that looking at the database may take.
const BUDGET: Duration = Duration::from_secs(5);
/// The most statements that are explained.
const STATEMENTS: usize = 20;
const SLOW: Duration = Duration::from_millis(50);
