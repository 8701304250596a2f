//! What each statement costs, by its form without values: a bounded table whose hot path takes no shared lock.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::buckets::{Buckets, nanos};
use super::text::{SEED, hash};
use crate::sql::{Kind, kind, normal, summary};

/// One statement, whatever its values, in numbers since the pool opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatementStats {
    /// A number for [`sql`](Self::sql), the same in every process; sixteen hexadecimal digits in logs and as data.
    #[serde(serialize_with = "hexadecimal")]
    pub fingerprint: u64,
    /// The statement on one line, without comments, with `?` for values and lists of values; cut if it is long.
    pub sql: String,
    /// Its verb and first table, such as `SELECT users`.
    pub summary: String,
    /// How often it was answered, with an error or without.
    pub count: u64,
    /// How long that took, together. On PostgreSQL without the time that rows after the first took to arrive.
    #[serde(serialize_with = "super::seconds")]
    pub total: Duration,
    /// How long half of them took at most, roughly.
    #[serde(serialize_with = "super::seconds")]
    pub p50: Duration,
    /// How long 99 of 100 took at most, roughly.
    #[serde(serialize_with = "super::seconds")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "super::seconds")]
    pub max: Duration,
    /// How many ended with an error.
    pub errors: u64,
    /// Who had borrowed the connection for the latest one, as `file:line:column`; `None` on a shared lane.
    pub last_at: Option<String>,
    /// How the database ran it when it was slow, by `EXPLAIN` with unknown values and `?` for literals; at most once an
    /// hour, and never behind PgBouncer.
    pub plan: Option<String>,
}

fn hexadecimal<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{value:016x}"))
}

/// One statement while the program runs.
pub(crate) struct Statement {
    pub(crate) fingerprint: u64,
    pub(crate) sql: Box<str>,
    pub(crate) summary: Box<str>,
    pub(crate) kind: Kind,
    /// As it was first sent, for `EXPLAIN`; `None` if that was long.
    pub(crate) sent: Option<Box<str>>,
    pub(super) slow: super::slow::Slowness,
    times: Buckets,
    total: AtomicU64,
    max: AtomicU64,
    errors: AtomicU64,
    last_at: Mutex<Option<&'static Location<'static>>>,
    /// Set when it leaves the table, for those who still hold it.
    forgotten: AtomicBool,
}

impl Statement {
    fn new(sent: &str, sql: String, fingerprint: u64) -> Self {
        Self {
            fingerprint,
            summary: summary(&sql).into(),
            kind: kind(&sql),
            sql: sql.into(),
            sent: (sent.len() <= LONGEST_SENT).then(|| sent.into()),
            slow: super::slow::Slowness::default(),
            times: Buckets::default(),
            total: AtomicU64::new(0),
            max: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_at: Mutex::new(None),
            forgotten: AtomicBool::new(false),
        }
    }

    pub(super) fn record(
        &self,
        took: Duration,
        failed: bool,
        at: Option<&'static Location<'static>>,
    ) {
        self.times.record(took);
        let took = nanos(took);
        self.total.fetch_add(took, Relaxed);
        if took > self.max.load(Relaxed) {
            self.max.fetch_max(took, Relaxed);
        }
        if failed {
            self.errors.fetch_add(1, Relaxed);
        }
        if at.is_some() {
            // Whoever holds it writes the same kind of thing: any of two will do as the last.
            if let Ok(mut last) = self.last_at.try_lock() {
                *last = at;
            }
        }
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Relaxed)
    }

    fn snapshot(&self) -> StatementStats {
        let last_at = *self.last_at.lock().unwrap_or_else(PoisonError::into_inner);
        StatementStats {
            fingerprint: self.fingerprint,
            sql: self.sql.to_string(),
            summary: self.summary.to_string(),
            count: self.times.count(),
            total: Duration::from_nanos(self.total.load(Relaxed)),
            p50: self.times.quantile(0.5),
            p99: self.times.quantile(0.99),
            max: Duration::from_nanos(self.max.load(Relaxed)),
            errors: self.errors.load(Relaxed),
            last_at: last_at.map(Location::to_string),
            plan: self.slow.plan().map(|plan| plan.to_string()),
        }
    }
}

/// All statements of one pool.
#[derive(Default)]
pub(crate) struct Statements(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_fingerprint: HashMap<u64, Arc<Statement>, BuildHasherDefault<Hashed>>,
    /// By the hash of the text as sent, of which many may have one form.
    by_text: HashMap<u64, Arc<Statement>, BuildHasherDefault<Hashed>>,
}

impl Statements {
    /// The statement whose text has this hash; `text` is asked for only if the hash is new.
    pub(super) fn find(&self, text_hash: u64, text: impl FnOnce() -> String) -> Arc<Statement> {
        {
            let table = self.lock();
            if let Some(statement) = table.by_text.get(&text_hash) {
                return Arc::clone(statement);
            }
        }
        let sent = text();
        let sql = normal(&sent);
        let fingerprint = hash(SEED, sql.as_bytes());
        let mut table = self.lock();
        let statement = match table.by_fingerprint.get(&fingerprint) {
            Some(known) => Arc::clone(known),
            None => table.insert(Statement::new(&sent, sql, fingerprint)),
        };
        if table.by_text.len() >= MOST_TEXTS {
            table.by_text.clear();
        }
        table.by_text.insert(text_hash, Arc::clone(&statement));
        statement
    }

    /// All of them, those that took most time first.
    pub(crate) fn snapshot(&self) -> Vec<StatementStats> {
        self.top(usize::MAX)
    }

    /// The first `most` of them.
    pub(crate) fn top(&self, most: usize) -> Vec<StatementStats> {
        let table = self.lock();
        let mut all: Vec<_> = table
            .by_fingerprint
            .values()
            .map(|one| {
                (
                    Reverse(one.total.load(Relaxed)),
                    one.fingerprint,
                    Arc::clone(one),
                )
            })
            .collect();
        drop(table);
        all.sort_unstable_by_key(|(total, fingerprint, _)| (*total, *fingerprint));
        let all = all.iter().map(|(.., one)| one.snapshot());
        all.filter(|one| one.count > 0).take(most).collect()
    }

    /// The one of this fingerprint, if it is still known.
    #[cfg(any(
        test,
        all(feature = "advice", any(feature = "sqlite", feature = "postgres"))
    ))]
    pub(crate) fn get(&self, fingerprint: u64) -> Option<Arc<Statement>> {
        self.lock().by_fingerprint.get(&fingerprint).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, statement: Statement) -> Arc<Statement> {
        if self.by_fingerprint.len() >= MOST_STATEMENTS {
            self.forget_a_quarter();
        }
        let statement = Arc::new(statement);
        self.by_fingerprint
            .insert(statement.fingerprint, Arc::clone(&statement));
        statement
    }

    /// Drops those that took least time; a quarter at once, so that a flood of new ones stays cheap.
    fn forget_a_quarter(&mut self) {
        let mut all: Vec<_> = self
            .by_fingerprint
            .values()
            .map(|one| (one.total.load(Relaxed), one.fingerprint))
            .collect();
        all.sort_unstable();
        for (_, fingerprint) in &all[..all.len() / 4] {
            if let Some(statement) = self.by_fingerprint.remove(fingerprint) {
                statement.forgotten.store(true, Relaxed);
            }
        }
        self.by_text.retain(|_, one| !one.is_forgotten());
    }
}

/// Takes a number that is a hash already as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(self.0, bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// At 2.5 KiB each, about 1.3 MB.
const MOST_STATEMENTS: usize = 512;
const MOST_TEXTS: usize = 4096;
const LONGEST_SENT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(statements: &Statements, sql: &str, millis: u64) -> Arc<Statement> {
        let found = statements.find(hash(SEED, sql.as_bytes()), || sql.to_owned());
        found.record(Duration::from_millis(millis), millis > 50, None);
        found
    }

    #[test]
    fn texts_of_one_form_are_counted_together() {
        let statements = Statements::default();
        run(&statements, "SELECT * FROM t WHERE id IN (1, 2)", 10);
        run(&statements, "SELECT * FROM t WHERE id IN (1, 2, 3)", 60);
        run(&statements, "SELECT * FROM t WHERE id IN (1, 2, 3)", 20);
        run(&statements, "DELETE FROM t", 1);
        let [first, second] = statements.snapshot().try_into().expect("two forms");
        assert_eq!(first.sql, "SELECT * FROM t WHERE id IN (?, ..)");
        assert_eq!((first.count, first.errors), (3, 1));
        assert_eq!(first.total, Duration::from_millis(90));
        assert_eq!(first.max, Duration::from_millis(60));
        assert_eq!(first.p50, Duration::from_millis(20));
        assert_eq!(second.summary, "DELETE t");
    }

    #[test]
    fn a_flood_of_statements_pushes_out_the_cheapest_and_keeps_the_dearest() {
        let statements = Statements::default();
        let dear = run(&statements, "SELECT dear", 1000);
        let cheap = run(&statements, "SELECT cheap", 0);
        for number in 0..5000 {
            run(&statements, &format!("SELECT column{number}_"), 1);
        }
        let table = statements.lock();
        assert!(table.by_fingerprint.len() <= MOST_STATEMENTS);
        assert!(table.by_text.len() <= MOST_TEXTS);
        drop(table);
        assert!(!dear.is_forgotten() && cheap.is_forgotten());
        assert_eq!(&*statements.snapshot()[0].sql, "SELECT dear");
        assert!(statements.get(cheap.fingerprint).is_none());
    }
}
