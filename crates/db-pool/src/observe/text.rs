//! The text of a statement: its hash, and the form in which it may be shown, without comments and literals.

use std::fmt::{self, Write};

/// What a statement does, as far as its first words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Returns rows and changes none.
    Read,
    /// Changes rows.
    Write,
    /// Begins or ends a transaction.
    Control,
    /// Anything else, changes of the schema among it.
    Other,
}

/// Hashes text that is written into it, without keeping it.
///
/// diesel writes a statement in one piece, followed by its values in pieces of their own, so the first piece alone
/// is the statement.
pub(crate) struct TextHash {
    sql: Option<u64>,
    all: u64,
    left: usize,
}

impl TextHash {
    /// `None` if the text is empty.
    pub(crate) fn of(text: &dyn fmt::Display) -> Option<Self> {
        let mut this = Self {
            sql: None,
            all: SEED,
            left: LONGEST_HASHED,
        };
        // Fails where the values are too long; the hash is then one of their beginning.
        let whole = write!(this, "{text}").is_ok();
        if !whole {
            this.all = fold(this.all, u64::MAX);
        }
        this.sql.is_some().then_some(this)
    }

    /// The hash of the statement alone.
    pub(crate) fn sql(&self) -> u64 {
        self.sql.unwrap_or(SEED)
    }

    /// The hash of the statement with its values; `None` if they are too long to be compared.
    pub(crate) fn with_values(&self) -> Option<u64> {
        (self.left > 0).then_some(self.all)
    }
}

impl Write for TextHash {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if piece.is_empty() {
            return Ok(());
        }
        self.all = hash(self.all, piece.as_bytes());
        if self.sql.is_none() {
            self.sql = Some(self.all);
            return Ok(());
        }
        self.left = self.left.saturating_sub(piece.len());
        if self.left == 0 {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// Not for keys that an enemy chooses: two texts of equal hash would only be counted together.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = fold(seed, bytes.len() as u64);
    for word in words {
        state = fold(state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state, u64::from_le_bytes(last))
}

/// Multiplies to 128 bits and folds the halves, so that every bit reaches every other.
fn fold(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The first digits of pi; any odd numbers would do.
pub(crate) const SEED: u64 = 0x2436_a885_a308_d313;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Values beyond this many bytes of their debug form are not compared: it would cost more than the statement.
const LONGEST_HASHED: usize = 4096;

/// One statement as it may be shown: on one line, without comments, every literal and placeholder as `?`, lists of
/// them as `?, ..`. So statements that differ only in values, or in how many, have one form.
pub(crate) fn normal(sql: &str) -> String {
    let mut lexer = Lexer {
        rest: sql,
        out: String::with_capacity(sql.len().min(LONGEST_SHOWN)),
        space: false,
    };
    while lexer.step() && lexer.out.len() < LONGEST_SHOWN {}
    let Lexer { rest, mut out, .. } = lexer;
    if !rest.is_empty() {
        out.push_str(" ...");
    }
    if out.ends_with(';') {
        out.pop();
    }
    // How a commit is sent where COMMIT alone would hide a failed transaction.
    match out.strip_suffix("; COMMIT") {
        Some("SELECT ?") => "COMMIT".to_owned(),
        _ => out,
    }
}

/// The longest text that is kept of a statement.
const LONGEST_SHOWN: usize = 1024;

struct Lexer<'a> {
    rest: &'a str,
    out: String,
    space: bool,
}

impl<'a> Lexer<'a> {
    /// Moves one token over; `false` at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else {
            return false;
        };
        let after = |length: usize| &rest[length..];
        if first.is_whitespace() {
            self.space = true;
            self.rest = after(first.len_utf8());
        } else if rest.starts_with("--") {
            self.space = true;
            self.rest = rest.find('\n').map_or("", after);
        } else if rest.starts_with("/*") {
            self.space = true;
            self.rest = rest.find("*/").map_or("", |end| after(end + 2));
        } else if let Some(length) = literal(rest) {
            self.rest = after(length);
            self.value();
        } else {
            let length = word(rest, first);
            self.rest = after(length);
            self.word(&rest[..length]);
        }
        true
    }

    fn word(&mut self, word: &str) {
        if self.space && !self.out.is_empty() {
            self.out.push(' ');
        }
        self.space = false;
        self.out.push_str(word);
        if word == ")" {
            self.fold_rows();
        }
    }

    /// A literal or placeholder; a list keeps its first one only.
    fn value(&mut self) {
        if let Some(list) = self.out.trim_end().strip_suffix(',') {
            let list = list.trim_end();
            if list.ends_with("..") || list.ends_with('?') {
                self.out.truncate(list.len());
                self.space = false;
                if !self.out.ends_with("..") {
                    self.out.push_str(", ..");
                }
                return;
            }
        }
        self.word("?");
    }

    /// `(?), (?)` is `(?), ..`: how many rows an INSERT has is no other statement.
    fn fold_rows(&mut self) {
        let Some(open) = self.out.rfind('(') else {
            return;
        };
        let (before, row) = self.out.split_at(open);
        if row != "(?)" && row != "(?, ..)" {
            return;
        }
        let Some(before) = before.trim_end().strip_suffix(',') else {
            return;
        };
        let before = before.trim_end();
        if before.ends_with("), ..") {
            self.out.truncate(before.len());
        } else if before.ends_with(row) {
            self.out.truncate(before.len());
            self.out.push_str(", ..");
        }
    }
}

/// The length of the literal or placeholder that `rest` begins with.
fn literal(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| {
        let more = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.' || *byte == b'_';
        from + bytes[from..].iter().take_while(|byte| more(byte)).count()
    };
    match bytes {
        [b'\'', ..] => Some(quoted(bytes, 1, false)),
        [b'e' | b'E', b'\'', ..] => Some(quoted(bytes, 2, true)),
        [b'x' | b'X' | b'b' | b'B' | b'n' | b'N', b'\'', ..] => Some(quoted(bytes, 2, false)),
        [b'?', ..] => Some(digits(1)),
        [b'$', b'0'..=b'9', ..] => Some(digits(1)),
        [b'$', ..] => {
            let tag = rest[1..].find('$')? + 2;
            let is_tag = bytes[1..tag - 1]
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            let end = is_tag.then(|| rest[tag..].find(&rest[..tag]));
            end.map(|end| end.map_or(rest.len(), |end| end + 2 * tag))
        }
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => Some(digits(1)),
        _ => None,
    }
}

/// The length of a string whose text begins at `from`; what is never closed goes to the end.
fn quoted(bytes: &[u8], from: usize, backslash: bool) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if backslash => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of a name, a quoted name or a single sign.
fn word(rest: &str, first: char) -> usize {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if first == '"' || first == '`' {
        return rest[1..].find(first).map_or(rest.len(), |end| end + 2);
    }
    if part(first) {
        return rest.find(|c| !part(c)).unwrap_or(rest.len());
    }
    first.len_utf8()
}

/// How many values the PostgreSQL statement wants: the highest number after a `$`.
pub(crate) fn placeholders(sql: &str) -> usize {
    let mut rest = sql;
    let mut most = 0;
    while let Some(first) = rest.chars().next() {
        let length = match literal(rest) {
            Some(length) => {
                let number = rest[..length].strip_prefix('$');
                most = most.max(number.and_then(|it| it.parse().ok()).unwrap_or(0));
                length
            }
            None if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            None if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            None => word(rest, first),
        };
        rest = &rest[length..];
    }
    most
}

/// What a statement in its [`normal`] form does.
pub(crate) fn kind(normal: &str) -> Kind {
    let mut words = words(normal);
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    match &*first {
        "SELECT" | "VALUES" | "TABLE" | "SHOW" => Kind::Read,
        "WITH" if words.any(changes) => Kind::Write,
        "WITH" => Kind::Read,
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => {
            Kind::Control
        }
        _ if changes(&first) => Kind::Write,
        _ => Kind::Other,
    }
}

/// The verb and the first table, such as `SELECT users`: few enough to group by.
pub(crate) fn summary(normal: &str) -> String {
    let mut words = words(normal).filter(|word| !word.is_empty());
    let verb = words.next().unwrap_or_default().to_ascii_uppercase();
    let table = match &*verb {
        "UPDATE" => words.next(),
        _ => words
            .by_ref()
            .find(|word| {
                ["FROM", "INTO"]
                    .iter()
                    .any(|it| word.eq_ignore_ascii_case(it))
            })
            .and_then(|_| words.next()),
    };
    match table {
        Some(table) if matches!(kind(normal), Kind::Read | Kind::Write) => {
            let short: String = table.chars().take(64).collect();
            format!("{verb} {short}")
        }
        _ => verb.chars().take(64).collect(),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
}

fn changes(word: &str) -> bool {
    ["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "TRUNCATE"]
        .iter()
        .any(|verb| word.eq_ignore_ascii_case(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_comments_and_lists_vanish_and_names_stay() {
        for (sql, shown) in [
            (
                "SELECT  a1,\n b FROM t2 WHERE id=$1;",
                "SELECT a1, b FROM t2 WHERE id=?",
            ),
            (
                "SELECT * FROM t WHERE x = 'it''s' -- why\nAND y = 1.5e3",
                "SELECT * FROM t WHERE x = ? AND y = ?",
            ),
            (
                "SELECT E'a\\'b', $$c$$, $x$d$ $x$, X'ff' /* e */",
                "SELECT ?, ..",
            ),
            ("SELECT \"a 'b\" FROM `c`", "SELECT \"a 'b\" FROM `c`"),
            (
                "x IN (1,2, 3) AND y IN ($1) LIMIT 5",
                "x IN (?, ..) AND y IN (?) LIMIT ?",
            ),
            (
                "INSERT INTO t (a, b) VALUES (?, ?), (?, ?), (?, ?)",
                "INSERT INTO t (a, b) VALUES (?, ..), ..",
            ),
            (
                "INSERT INTO t (a) VALUES ($1), ($2), ($3) RETURNING id",
                "INSERT INTO t (a) VALUES (?), .. RETURNING id",
            ),
            ("SELECT 'never closed", "SELECT ?"),
            (
                "SELECT '\u{e9}', \u{e9} FROM \"\u{e9}",
                "SELECT ?, \u{e9} FROM \"\u{e9}",
            ),
            ("SELECT 1; COMMIT", "COMMIT"),
            ("", ""),
            ("$", "$"),
            ("SELECT $tag", "SELECT $tag"),
        ] {
            assert_eq!(normal(sql), shown);
        }
        let long = normal(&format!("SELECT {}", "abc, ".repeat(1000)));
        assert!(long.len() < LONGEST_SHOWN + 16 && long.ends_with(" ..."));
    }

    #[test]
    fn the_first_words_tell_what_a_statement_does() {
        for (sql, does, short) in [
            (
                "SELECT \"users\".\"id\" FROM \"users\" WHERE ?",
                Kind::Read,
                "SELECT users",
            ),
            ("select ?", Kind::Read, "SELECT"),
            (
                "INSERT INTO app.t (a) VALUES (?)",
                Kind::Write,
                "INSERT app.t",
            ),
            ("UPDATE \"posts\" SET a = ?", Kind::Write, "UPDATE posts"),
            (
                "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
                Kind::Write,
                "WITH t",
            ),
            ("WITH x AS (SELECT ?) SELECT * FROM x", Kind::Read, "WITH x"),
            ("COMMIT", Kind::Control, "COMMIT"),
            ("SAVEPOINT diesel_savepoint_1", Kind::Control, "SAVEPOINT"),
            ("CREATE TABLE t (id INT)", Kind::Other, "CREATE"),
            ("", Kind::Other, ""),
        ] {
            assert_eq!((kind(sql), &*summary(sql)), (does, short), "{sql}");
        }
    }

    #[test]
    fn places_for_values_are_counted_where_they_are_places() {
        for (sql, count) in [
            ("SELECT $2, $1, $2", 2),
            (
                "SELECT '$9', $$ $8 $$, \"$7\" -- $6\n /* $5 */ , $4::text, a$3",
                4,
            ),
            ("SELECT 1", 0),
        ] {
            assert_eq!(placeholders(sql), count, "{sql}");
        }
    }

    #[test]
    fn the_hash_tells_statements_and_values_apart() {
        struct Query<'a>(&'a str, Vec<&'a str>);
        impl fmt::Display for Query<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} -- binds: {:?}", self.0, self.1)
            }
        }
        let of = |sql, values| {
            let hash = TextHash::of(&Query(sql, values)).expect("the text is not empty");
            (hash.sql(), hash.with_values())
        };
        let one = of("SELECT $1", vec!["a"]);
        assert_eq!(one, of("SELECT $1", vec!["a"]));
        assert_eq!(one.0, of("SELECT $1", vec!["b"]).0);
        assert_ne!(one.1, of("SELECT $1", vec!["b"]).1);
        assert_ne!(one.0, of("SELECT $2", vec!["a"]).0);
        assert_eq!(one.0, TextHash::of(&"SELECT $1").expect("not empty").sql());
        assert!(TextHash::of(&"").is_none());
        let long = "x".repeat(LONGEST_HASHED);
        assert_eq!(of("SELECT $1", vec![&long]), (one.0, None));
    }
}
