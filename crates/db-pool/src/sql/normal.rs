//! The form in which a statement may be shown, without comments and literals, and what it says at a glance.

use super::lexer::{Piece, PieceKind, pieces};

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

/// One statement as it may be shown: on one line, without comments, every literal and placeholder as `?`, lists of
/// them as `?, ..`. So statements that differ only in values, or in how many, have one form.
pub(crate) fn normal(sql: &str) -> String {
    let mut shown = Shown {
        text: String::with_capacity(sql.len().min(LONGEST_SHOWN)),
        space: false,
    };
    let mut end = 0;
    for piece in pieces(sql, None) {
        if shown.text.len() >= LONGEST_SHOWN {
            shown.text.push_str(" ...");
            break;
        }
        shown.space |= piece.at > end;
        end = piece.at + piece.text.len();
        shown.add(piece);
    }
    let mut text = shown.text;
    if text.ends_with(';') {
        text.pop();
    }
    // How a commit is sent where COMMIT alone would hide a failed transaction.
    match text.strip_suffix("; COMMIT") {
        Some("SELECT ?") => "COMMIT".to_owned(),
        _ => text,
    }
}

/// About the longest text that is kept of a statement.
const LONGEST_SHOWN: usize = 1024;

struct Shown {
    text: String,
    space: bool,
}

impl Shown {
    fn add(&mut self, piece: Piece<'_>) {
        match piece.kind {
            PieceKind::Comment => self.space = true,
            PieceKind::Text | PieceKind::Number | PieceKind::Value => self.value(),
            PieceKind::Word | PieceKind::Quoted | PieceKind::Sign => {
                let end = piece.text.floor_char_boundary(LONGEST_SHOWN);
                self.word(&piece.text[..end]);
            }
        }
    }

    fn word(&mut self, word: &str) {
        if self.space && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.space = false;
        self.text.push_str(word);
        if word == ")" {
            self.fold_rows();
        }
    }

    /// A literal or placeholder; a list keeps its first one only.
    fn value(&mut self) {
        if let Some(list) = self.text.trim_end().strip_suffix(',') {
            let list = list.trim_end();
            if list.ends_with("..") || list.ends_with('?') {
                self.text.truncate(list.len());
                self.space = false;
                if !self.text.ends_with("..") {
                    self.text.push_str(", ..");
                }
                return;
            }
        }
        self.word("?");
    }

    /// `(?), (?)` is `(?), ..`: how many rows an INSERT has is no other statement.
    fn fold_rows(&mut self) {
        let Some(open) = self.text.rfind('(') else {
            return;
        };
        let (before, row) = self.text.split_at(open);
        if row != "(?)" && row != "(?, ..)" {
            return;
        }
        let Some(before) = before.trim_end().strip_suffix(',') else {
            return;
        };
        let before = before.trim_end();
        if before.ends_with("), ..") {
            self.text.truncate(before.len());
        } else if before.ends_with(row) {
            self.text.truncate(before.len());
            self.text.push_str(", ..");
        }
    }
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
            ("SELECT $tag, a=:b", "SELECT ?, a=?"),
            ("a /* b /* 'c' */ d */ , -1", "a , -?"),
            ("SELECT U&'a' || .5", "SELECT ? || ?"),
        ] {
            assert_eq!(normal(sql), shown);
        }
        let long = normal(&format!("SELECT {}", "abc, ".repeat(1000)));
        assert!(long.len() < LONGEST_SHOWN + 16 && long.ends_with(" ..."));
        let long = normal(&format!("SELECT \"{}\" FROM t", "\u{e9}".repeat(4000)));
        assert!(long.len() < 2 * LONGEST_SHOWN && long.ends_with(" ..."));
    }

    #[test]
    fn the_first_words_tell_what_a_statement_does() {
        for (sql, expected, short) in [
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
            assert_eq!((kind(sql), &*summary(sql)), (expected, short), "{sql}");
        }
    }
}
