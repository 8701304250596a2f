//! What advice is made of: findings with numbers and a way out, and what could not be looked at.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::input::StatementNumbers;
use crate::sql::quote;

/// What the pool and its database could do better; made by [`Pool::advice`](crate::Pool::advice).
///
/// Prints as a list for a terminal, 100 columns wide; `{advice:60}` makes it 60 wide.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Advice {
    /// The pool's name.
    pub pool: String,
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// The gravest first.
    pub findings: Vec<Finding>,
    /// What was not looked at, and why: a missing privilege, too little traffic, no time left.
    pub notes: Vec<String>,
}

impl Advice {
    /// The findings of one kind.
    pub fn of_kind(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |it| it.kind == kind)
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of thing it is, for programs.
    pub kind: FindingKind,
    /// What it is, in a sentence.
    pub what: String,
    /// The numbers that say so.
    pub evidence: Vec<Evidence>,
    /// What to do about it; none if all is well.
    pub todo: Vec<Action>,
    /// The index that it suggests, for [`Pool::try_index`](crate::Pool::try_index).
    pub index: Option<SuggestedIndex>,
    /// The statement that it is about, without values.
    pub statement: Option<String>,
    /// The number of that statement in [`StatementStats`](crate::StatementStats).
    pub fingerprint: Option<u64>,
}

impl Finding {
    pub(super) fn new(severity: Severity, kind: FindingKind, what: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            what: what.into(),
            evidence: Vec::new(),
            todo: Vec::new(),
            index: None,
            statement: None,
            fingerprint: None,
        }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.evidence.push(Evidence { name, value });
        self
    }

    #[must_use]
    pub(super) fn with_some(self, name: &'static str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    #[must_use]
    pub(super) fn setting(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        self.todo.push(Action::Setting { name, value });
        self
    }

    #[must_use]
    pub(super) fn sql(mut self, sql: impl Into<String>) -> Self {
        self.todo.push(Action::Sql { sql: sql.into() });
        self
    }

    #[must_use]
    pub(super) fn code(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.todo.push(Action::Code { hint });
        self
    }

    /// Names the statement, and the numbers that make it worth a look.
    #[must_use]
    pub(super) fn about(mut self, statement: &StatementNumbers) -> Self {
        self.statement = Some(statement.sql.clone());
        self.fingerprint = Some(statement.fingerprint);
        self.with("runs", Value::Count(statement.count))
            .with("p99", Value::time(statement.p99))
            .with("in all", Value::time(statement.total))
            .with_some("last from", statement.at.clone().map(Value::Text))
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Callers suffer from it now, or soon will.
    Urgent,
    /// It costs time or space.
    Warning,
    /// Worth a look.
    Hint,
    /// Looked at, and fine.
    Fine,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Urgent => "urgent",
            Self::Warning => "warning",
            Self::Hint => "hint",
            Self::Fine => "fine",
        })
    }
}

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// More connections are needed than there may be.
    PoolTooSmall,
    /// Far fewer connections are needed than there may be.
    PoolTooLarge,
    /// The size of the pool suits its traffic.
    PoolFits,
    /// Connections are held while no statement runs on them.
    HeldIdle,
    /// Callers wait although connections are idle.
    WaitWhileIdle,
    /// Connections are opened and closed all the time.
    Churn,
    /// Borrowing ran out of time.
    Timeouts,
    /// Borrowers vanish in the middle of their work.
    Abandoned,
    /// All processes together may open more connections than the server takes.
    FleetTooLarge,
    /// The server has few connection slots left.
    ServerNearlyFull,
    /// A big table is read from end to end, again and again.
    SequentialScans,
    /// A foreign key whose columns no index begins with.
    UnindexedForeignKey,
    /// An index that nobody uses.
    UnusedIndex,
    /// An index that another one makes needless.
    RedundantIndex,
    /// What a failed `CREATE INDEX CONCURRENTLY` left behind.
    InvalidIndex,
    /// A slow statement would use an index that is not there.
    MissingIndex,
    /// `SELECT *`.
    SelectStar,
    /// Many rows and no `LIMIT`.
    NoLimit,
    /// A sub-query that runs once for each row.
    CorrelatedSubquery,
    /// `LIKE '%..'`, which no plain index serves.
    LeadingWildcard,
    /// Pages by `OFFSET`, which reads what it skips.
    OffsetPaging,
    /// `NOT IN (SELECT ..)`, which cannot be an anti-join and is empty as soon as there is a NULL.
    NotInSubquery,
}

/// A number that says so.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// What was counted or measured.
    pub name: &'static str,
    /// How much.
    pub value: Value,
}

/// A number with its unit, or a word.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Value {
    /// How many.
    Count(u64),
    /// How many in a second.
    PerSecond(f64),
    /// How long, in seconds.
    Seconds(f64),
    /// How large.
    Bytes(u64),
    /// A part of the whole, from 0 to 1.
    Share(f64),
    /// The planner's unit of work.
    Cost(f64),
    /// Anything else.
    Text(String),
}

impl Value {
    pub(super) fn time(duration: Duration) -> Self {
        Self::Seconds(duration.as_secs_f64())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.write_str(&grouped(*count)),
            Self::PerSecond(rate) if *rate >= 10.0 => write!(f, "{rate:.0}/s"),
            Self::PerSecond(rate) => write!(f, "{rate:.2}/s"),
            Self::Seconds(seconds) => write_time(f, *seconds),
            Self::Bytes(bytes) => write_bytes(f, *bytes),
            Self::Share(share) => write!(f, "{:.0} %", share * 100.0),
            Self::Cost(cost) => write!(f, "{cost:.1}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// `1,234,567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn write_time(f: &mut fmt::Formatter<'_>, seconds: f64) -> fmt::Result {
    match seconds {
        s if s >= 172_800.0 => write!(f, "{:.0} days", s / 86_400.0),
        s if s >= 7_200.0 => write!(f, "{:.0} h", s / 3_600.0),
        s if s >= 120.0 => write!(f, "{:.0} min", s / 60.0),
        s if s >= 1.0 => write!(f, "{s:.1} s"),
        s if s >= 0.001 => write!(f, "{:.1} ms", s * 1e3),
        s => write!(f, "{:.0} µs", s * 1e6),
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, power)| bytes >> power > 0) {
        Some((unit, power)) => write!(f, "{:.1} {unit}", bytes as f64 / f64::from(1 << power)),
        None => write!(f, "{bytes} bytes"),
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// A statement to run; never run by the pool itself.
    Sql {
        /// The statement, ready to be copied.
        sql: String,
    },
    /// A setting of the pool to change.
    Setting {
        /// The field of [`PoolConfig`](crate::PoolConfig).
        name: &'static str,
        /// Its new value.
        value: String,
    },
    /// Something to change in the program.
    Code {
        /// What.
        hint: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql { sql } => write!(f, "{sql};"),
            Self::Setting { name, value } => write!(f, "set {name} = {value}"),
            Self::Code { hint } => f.write_str(hint),
        }
    }
}

/// An index that may help: names as they are, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct SuggestedIndex {
    /// The schema of the table; empty on SQLite.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The columns in their order; `true` for descending ones.
    pub columns: Vec<(String, bool)>,
}

impl SuggestedIndex {
    pub(super) fn new(schema: &str, table: &str, columns: Vec<(String, bool)>) -> Self {
        Self {
            schema: schema.to_owned(),
            table: table.to_owned(),
            columns,
        }
    }

    /// The table as it stands in SQL.
    pub(super) fn table_sql(&self) -> String {
        match &*self.schema {
            "" => quote(&self.table),
            schema => format!("{}.{}", quote(schema), quote(&self.table)),
        }
    }

    /// `("a", "b" DESC)`.
    pub(super) fn columns_sql(&self) -> String {
        let one = |(name, falls): &(String, bool)| {
            format!("{}{}", quote(name), if *falls { " DESC" } else { "" })
        };
        let all: Vec<String> = self.columns.iter().map(one).collect();
        format!("({})", all.join(", "))
    }

    /// The statement that creates it: without a name on PostgreSQL, which finds one that is free, and concurrently.
    pub fn create_sql(&self) -> String {
        let (table, columns) = (self.table_sql(), self.columns_sql());
        if self.schema.is_empty() {
            let names: Vec<&str> = self.columns.iter().map(|(name, _)| &**name).collect();
            let name = quote(&format!("{}_{}_idx", self.table, names.join("_")));
            format!("CREATE INDEX {name} ON {table} {columns}")
        } else {
            format!("CREATE INDEX CONCURRENTLY ON {table} {columns}")
        }
    }
}

/// `posts (author_id, created_at desc)`.
impl fmt::Display for SuggestedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one =
            |(name, falls): &(String, bool)| format!("{name}{}", if *falls { " desc" } else { "" });
        let columns: Vec<String> = self.columns.iter().map(one).collect();
        write!(f, "{} ({})", self.table, columns.join(", "))
    }
}
