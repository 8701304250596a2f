//! What one SQL text does, as far as its words tell: which names it mentions, which tables it writes, and what it does
//! to the transaction. Knows nothing of the database; see `knowledge` for what the names mean.

mod names;
mod targets;

use std::collections::BTreeSet;

use self::names::{called, positions};
use self::targets::targets;
use super::tokens::{Token, tokens};
use crate::url::BackendKind;

/// What a text does to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Nothing.
    None,
    /// Opens one.
    Begin,
    /// Ends it and keeps what it did.
    Commit,
    /// Ends it and drops what it did.
    Rollback,
    /// Anything: several of them, or what this file does not follow.
    Mixed,
}

/// Which tables are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Targets {
    /// These; perhaps none.
    Only(BTreeSet<Box<str>>),
    /// Nobody knows.
    All,
}

/// What one text does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) control: Control,
    pub(super) targets: Targets,
    /// The schema changes.
    pub(super) schema: bool,
    /// One query that takes no locks; its result may be kept if its names allow it.
    pub(super) query: bool,
    /// Every name that occurs anywhere: no table that is read is missing.
    pub(super) mentioned: BTreeSet<Box<str>>,
    /// Names that stand where a table stands, common table expressions excepted.
    pub(super) tables: BTreeSet<Box<str>>,
    /// Names that are called.
    pub(super) called: BTreeSet<Box<str>>,
}

impl Statement {
    /// Reads `sql`; what cannot be read counts as writing everything.
    pub(super) fn parse(sql: &str, kind: BackendKind) -> Self {
        let mut whole = Self::nothing();
        if sql.len() > MAX_BYTES {
            return Self::unknown();
        }
        let Ok(all) = tokens(sql, kind) else {
            return Self::unknown();
        };
        let mut parts = 0;
        let mut pure = true;
        for part in all.split(|token| *token == Token::Symbol(';')) {
            if part.is_empty() {
                continue;
            }
            parts += 1;
            let one = Self::part(part, kind);
            pure &= one.control != Control::None || one.writes_nothing();
            whole.add(one);
        }
        if parts != 1 {
            whole.query = false;
            // One that ends or begins it among others that write: too much to follow.
            if whole.control != Control::None && !(pure && whole.writes_nothing()) {
                whole.control = Control::Mixed;
            }
        }
        whole
    }

    pub(super) fn writes_nothing(&self) -> bool {
        matches!(&self.targets, Targets::Only(targets) if targets.is_empty())
    }

    fn nothing() -> Self {
        Self {
            control: Control::None,
            targets: Targets::Only(BTreeSet::new()),
            schema: false,
            query: true,
            mentioned: BTreeSet::new(),
            tables: BTreeSet::new(),
            called: BTreeSet::new(),
        }
    }

    fn unknown() -> Self {
        Self {
            control: Control::Mixed,
            schema: true,
            ..Self::everything()
        }
    }

    fn everything() -> Self {
        Self {
            targets: Targets::All,
            query: false,
            ..Self::nothing()
        }
    }

    fn with(control: Control) -> Self {
        Self {
            control,
            query: false,
            ..Self::nothing()
        }
    }

    fn add(&mut self, mut other: Self) {
        self.control = match (self.control, other.control) {
            (one, Control::None) | (Control::None, one) => one,
            _ => Control::Mixed,
        };
        match (&mut self.targets, &mut other.targets) {
            (Targets::Only(these), Targets::Only(those)) => these.append(those),
            (these, _) => *these = Targets::All,
        }
        self.schema |= other.schema;
        self.query &= other.query;
        self.mentioned.append(&mut other.mentioned);
        self.tables.append(&mut other.tables);
        self.called.append(&mut other.called);
    }

    /// One statement, which is not empty.
    fn part(part: &[Token<'_>], kind: BackendKind) -> Self {
        let first = part
            .iter()
            .find(|token| **token != Token::Symbol('('))
            .unwrap_or(&part[0]);
        let is = |words: &[&str]| words.iter().any(|word| first.is(word));
        if is(&["SELECT", "VALUES", "WITH", "TABLE"]) {
            return Self::query(part);
        }
        if is(&[
            "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "TRUNCATE", "COPY", "REFRESH",
        ]) {
            return Self::change(part);
        }
        if is(&["EXPLAIN", "DECLARE"]) && !part.iter().any(|token| token.is("EXECUTE")) {
            let mut inner = Self::query(part);
            inner.query = false;
            return inner;
        }
        if let Some(control) = control(part, kind) {
            return Self::with(control);
        }
        if is(HARMLESS) || is_index(part) {
            return Self::with(Control::None);
        }
        Self {
            schema: is(&[
                "CREATE", "ALTER", "DROP", "ATTACH", "DETACH", "IMPORT", "DO", "CALL",
            ]),
            ..Self::everything()
        }
    }

    fn query(part: &[Token<'_>]) -> Self {
        let mut one = Self::change(part);
        let locks = part
            .windows(2)
            .any(|pair| pair[0].is("FOR") && LOCKS.iter().any(|word| pair[1].is(word)));
        one.query = one.writes_nothing() && !locks;
        one
    }

    /// Names and targets of a statement that reads and writes rows.
    fn change(part: &[Token<'_>]) -> Self {
        let mut targets = targets(part);
        // `SELECT .. INTO` makes a table.
        let makes = part[0].is("SELECT") || part[0].is("WITH") || part[0].is("EXPLAIN");
        if makes && part.iter().any(|token| token.is("INTO")) && none(&targets) {
            targets = Targets::All;
        }
        Self {
            schema: targets == Targets::All,
            targets,
            query: false,
            mentioned: part.iter().filter_map(Token::name).collect(),
            tables: positions(part),
            called: called(part),
            control: Control::None,
        }
    }
}

/// All names in `sql`; `None` if it cannot be read.
#[cfg(feature = "sqlite")]
pub(super) fn mentioned(sql: &str) -> Option<BTreeSet<Box<str>>> {
    let all = tokens(sql, BackendKind::Sqlite).ok()?;
    Some(all.iter().filter_map(Token::name).collect())
}

/// The tables that the body of a PostgreSQL function writes; `None` if that cannot be told.
#[cfg(feature = "postgres")]
pub(super) fn body_writes(
    body: &str,
    may_write: &dyn Fn(&str) -> bool,
) -> Option<BTreeSet<Box<str>>> {
    let all = tokens(body, BackendKind::Postgres).ok()?;
    let mut written = BTreeSet::new();
    for part in all.split(|token| *token == Token::Symbol(';')) {
        if part
            .iter()
            .any(|token| RUNS.iter().any(|word| token.is(word)))
        {
            return None;
        }
        match targets(part) {
            Targets::Only(names) => written.extend(names),
            Targets::All => return None,
        }
        // `INSERT INTO t (columns)` looks like a call of `t`.
        let calls = called(part);
        if calls
            .iter()
            .any(|name| !written.contains(name) && may_write(name))
        {
            return None;
        }
    }
    Some(written)
}

fn none(targets: &Targets) -> bool {
    matches!(targets, Targets::Only(targets) if targets.is_empty())
}

/// What a statement does to the transaction; `None` if it is about something else.
fn control(part: &[Token<'_>], kind: BackendKind) -> Option<Control> {
    let chained = part.iter().any(|token| token.is("CHAIN"));
    let follows = |at: usize, word| part.get(at).is_some_and(|token| token.is(word));
    let first = &part[0];
    let control = if first.is("BEGIN") || (first.is("START") && follows(1, "TRANSACTION")) {
        Control::Begin
    } else if first.is("COMMIT") || first.is("END") {
        Control::Commit
    } else if first.is("ROLLBACK") || first.is("ABORT") {
        let savepoint = part.iter().any(|token| token.is("TO"));
        if savepoint && !follows(1, "PREPARED") {
            return Some(Control::None); // what came before it may still be committed
        }
        Control::Rollback
    } else if first.is("SAVEPOINT") || first.is("RELEASE") {
        // Outside of a transaction SQLite opens one with it; PostgreSQL refuses.
        return Some(match kind {
            BackendKind::Postgres => Control::None,
            BackendKind::Sqlite => Control::Mixed,
        });
    } else if first.is("PREPARE") && follows(1, "TRANSACTION") {
        Control::Mixed
    } else {
        return None;
    };
    if follows(1, "PREPARED") {
        return None; // another session's transaction: all tables, at once
    }
    Some(if chained { Control::Mixed } else { control })
}

/// An index changes no result.
fn is_index(part: &[Token<'_>]) -> bool {
    let second = part.get(1..3).unwrap_or_default();
    let index = second.iter().any(|token| token.is("INDEX"));
    index && (part[0].is("CREATE") || part[0].is("DROP"))
}

/// Longer texts are not read.
const MAX_BYTES: usize = 1 << 20;

/// Statements that change no row of a table.
const HARMLESS: &[&str] = &[
    "SET",
    "RESET",
    "SHOW",
    "PRAGMA",
    "ANALYZE",
    "VACUUM",
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "LOCK",
    "CHECKPOINT",
    "REINDEX",
    "CLUSTER",
    "COMMENT",
    "FETCH",
    "MOVE",
    "CLOSE",
    "PREPARE",
    "DEALLOCATE",
    "DISCARD",
    "LOAD",
];

/// What lets the body of a function do anything.
#[cfg(feature = "postgres")]
const RUNS: &[&str] = &[
    "EXECUTE", "CALL", "ALTER", "CREATE", "DROP", "TRUNCATE", "COPY", "REFRESH",
];

const LOCKS: &[&str] = &["UPDATE", "SHARE", "NO", "KEY"];

#[cfg(test)]
mod tests;
