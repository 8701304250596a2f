//! What one SQL text does, as far as its words tell: which names it mentions, which tables it writes, and what it does
//! to the transaction. Knows nothing of the database; see `knowledge` for what the names mean.

use std::collections::BTreeSet;

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

/// Behind each verb that writes stands the name of the table; a verb in any other place counts as writing everything.
fn targets(part: &[Token<'_>]) -> Targets {
    let mut names = BTreeSet::new();
    for (at, token) in part.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &part[before]);
        // `t.update` and `AS update` are names.
        let is_name = before.is_some_and(|before| *before == Token::Symbol('.') || before.is("AS"));
        if is_name {
            continue;
        }
        match target(part, at, token, before) {
            Ok(None) => {}
            Ok(Some(found)) => names.extend(found),
            Err(()) => return Targets::All,
        }
    }
    Targets::Only(names)
}

type Names = Vec<Box<str>>;

fn target(
    part: &[Token<'_>],
    at: usize,
    verb: &Token<'_>,
    before: Option<&Token<'_>>,
) -> Result<Option<Names>, ()> {
    let after = |word: &str| before.is_some_and(|before| before.is(word));
    let next = |word: &str| part.get(at + 1).is_some_and(|token| token.is(word));
    // `INSERT OR REPLACE INTO`, `UPDATE OR IGNORE`
    let skipped = if next("OR") { at + 3 } else { at + 1 };
    let behind = |at: usize, word: &str| {
        part.get(at)
            .is_some_and(|token| token.is(word))
            .then_some(at + 1)
    };
    let from = if verb.is("INSERT") || verb.is("MERGE") {
        if after("THEN") {
            return Ok(None); // a branch of MERGE
        }
        behind(skipped, "INTO")
    } else if verb.is("REPLACE") {
        if at > 0 && (!next("INTO") || after("OR")) {
            return Ok(None); // the function, or `INSERT OR REPLACE`
        }
        behind(at + 1, "INTO")
    } else if verb.is("UPDATE") {
        // `FOR UPDATE`, `FOR NO KEY UPDATE`, `DO UPDATE SET`, `THEN UPDATE SET`
        let branch = next("SET") && (after("DO") || after("THEN"));
        if after("FOR") || after("KEY") || branch {
            return Ok(None);
        }
        Some(skipped)
    } else if verb.is("DELETE") {
        if after("THEN") {
            return Ok(None);
        }
        behind(at + 1, "FROM")
    } else if at == 0 && verb.is("COPY") {
        return copied(part);
    } else if at == 0 && verb.is("TRUNCATE") {
        return truncated(part).map(Some);
    } else if at == 0 && verb.is("REFRESH") {
        let name = part.iter().rposition(|token| token.is("VIEW")).ok_or(())? + 1;
        let name = behind(name, "CONCURRENTLY").unwrap_or(name);
        return named(part, name)
            .map(|(name, _)| Some(vec![name]))
            .ok_or(());
    } else {
        return Ok(None);
    };
    let (name, _) = from.and_then(|from| named(part, from)).ok_or(())?;
    Ok(Some(vec![name]))
}

/// `COPY t FROM` writes, `COPY t TO` and `COPY (query) TO` read, as does what is inside the parentheses.
fn copied(part: &[Token<'_>]) -> Result<Option<Names>, ()> {
    if part.get(1) == Some(&Token::Symbol('(')) {
        return Ok(None);
    }
    let (name, _) = named(part, 1).ok_or(())?;
    Ok(part
        .iter()
        .any(|token| token.is("FROM"))
        .then_some(vec![name]))
}

fn truncated(part: &[Token<'_>]) -> Result<Names, ()> {
    if part.iter().any(|token| token.is("CASCADE")) {
        return Err(()); // empties tables whatever their foreign keys do otherwise
    }
    let mut at = if part.get(1).is_some_and(|token| token.is("TABLE")) {
        2
    } else {
        1
    };
    let mut names = Vec::new();
    loop {
        let (name, next) = named(part, at).ok_or(())?;
        names.push(name);
        let star = part.get(next) == Some(&Token::Symbol('*'));
        let next = if star { next + 1 } else { next };
        if part.get(next) != Some(&Token::Symbol(',')) {
            return Ok(names);
        }
        at = next + 1;
    }
}

/// A table's name at `at`, without its schema, and where it ends.
fn named(part: &[Token<'_>], mut at: usize) -> Option<(Box<str>, usize)> {
    let only = part.get(at)?.is("ONLY") && part.get(at + 1)? != &Token::Symbol('.');
    if only {
        at += 1;
    }
    if only && part.get(at)? == &Token::Symbol('(') {
        at += 1;
    }
    let mut name = part.get(at)?.name()?;
    while part.get(at + 1) == Some(&Token::Symbol('.')) {
        at += 2;
        name = part.get(at)?.name()?;
    }
    Some((name, at + 1))
}

/// Names where a table stands: behind FROM, JOIN, TABLE and the commas of a FROM list.
fn positions(part: &[Token<'_>]) -> BTreeSet<Box<str>> {
    let mut found = BTreeSet::new();
    let mut expressions = BTreeSet::new();
    // For each open parenthesis: has a verb been seen, so that FROM is its clause and no argument; is this the list?
    let mut levels = vec![(false, false)];
    let mut expected = false;
    for (at, token) in part.iter().enumerate() {
        let Some(level) = levels.last_mut() else {
            break; // more closed than opened
        };
        let distinct = at > 1
            && part[at - 1].is("DISTINCT")
            && (part[at - 2].is("IS") || part[at - 2].is("NOT"));
        let (verb, list) = level;
        match token {
            Token::Symbol('(') => {
                // A parenthesised list of joins goes on with names; a sub-query brings its own clauses.
                levels.push((expected, expected));
                continue;
            }
            Token::Symbol(')') => {
                levels.pop();
                expected = false;
                continue;
            }
            Token::Symbol(',') if *list => expected = true,
            _ if token.is("SELECT") || token.is("DELETE") || token.is("UPDATE") => {
                (*verb, *list, expected) = (true, false, false);
            }
            _ if token.is("FROM") && *verb && !distinct => (*list, expected) = (true, true),
            _ if token.is("JOIN") || (token.is("TABLE") && at == 0) => expected = true,
            _ if expected && (token.is("LATERAL") || token.is("ONLY")) => {}
            _ if ENDS.iter().any(|word| token.is(word)) => (*list, expected) = (false, false),
            _ if expected => {
                if let Some((name, next)) = named(part, at)
                    && part.get(next) != Some(&Token::Symbol('('))
                {
                    found.insert(name);
                }
                expected = false;
            }
            _ => {}
        }
        if is_expression(part, at)
            && let Some(name) = token.name()
        {
            expressions.insert(name);
        }
    }
    found.retain(|name| !expressions.contains(name));
    found
}

/// Whether the word at `at` names a common table expression: `name [(columns)] AS [[NOT] MATERIALIZED] (`.
fn is_expression(part: &[Token<'_>], at: usize) -> bool {
    let mut next = at + 1;
    if part.get(next) == Some(&Token::Symbol('(')) {
        let closed = part[next..]
            .iter()
            .position(|token| *token == Token::Symbol(')'));
        let Some(closed) = closed else { return false };
        next += closed + 1;
    }
    if !part.get(next).is_some_and(|token| token.is("AS")) {
        return false;
    }
    next += 1;
    while part
        .get(next)
        .is_some_and(|token| token.is("NOT") || token.is("MATERIALIZED"))
    {
        next += 1;
    }
    part.get(next) == Some(&Token::Symbol('('))
}

/// Names in front of a parenthesis, but for keywords and lists of columns.
fn called(part: &[Token<'_>]) -> BTreeSet<Box<str>> {
    let calls = part.windows(2).enumerate().filter(|(at, pair)| {
        let before = at.checked_sub(1).map(|before| &part[before]);
        let columns = before.is_some_and(|before| before.is("AS") || before.is("INTO"));
        pair[1] == Token::Symbol('(')
            && !columns
            && !NO_CALLS.iter().any(|word| pair[0].is(word))
            && !is_expression(part, *at)
    });
    calls.filter_map(|(_, pair)| pair[0].name()).collect()
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

const LOCKS: &[&str] = &["UPDATE", "SHARE", "NO", "KEY"];

/// What ends a FROM list.
const ENDS: &[&str] = &[
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "WINDOW",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "FOR",
    "SET",
    "RETURNING",
    "VALUES",
];

/// Words that a parenthesis may follow without a call.
const NO_CALLS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "CHAR",
    "CHARACTER",
    "CUBE",
    "DEC",
    "DECIMAL",
    "DISTINCT",
    "DO",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FILTER",
    "FLOAT",
    "FROM",
    "GROUP",
    "GROUPING",
    "HAVING",
    "IN",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LATERAL",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "NOT",
    "NUMERIC",
    "OFFSET",
    "ON",
    "ONLY",
    "OR",
    "OVER",
    "PARTITION",
    "RANGE",
    "RETURNING",
    "ROLLUP",
    "ROW",
    "ROWS",
    "SELECT",
    "SET",
    "SETS",
    "SIMILAR",
    "SOME",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "UNION",
    "UPDATE",
    "USING",
    "VALUES",
    "VARCHAR",
    "VARYING",
    "WHEN",
    "WHERE",
    "WITHIN",
];
