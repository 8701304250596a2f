//! Whether a statement only reads, by its words; the server's read-only session backs it up.

/// Why `sql` must not run on a lane; `None` if it may.
pub(crate) fn refusal(sql: &str) -> Option<&'static str> {
    let mut tokens = Tokens { rest: sql };
    let first = match tokens.find(|token| *token != Token::Open) {
        Some(Token::Word(first)) => first,
        _ => return Some("it is no statement"),
    };
    if !HEADS.iter().any(|head| same(first, head)) {
        return Some("it does not begin with SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN");
    }
    let explains = same(first, "explain");
    let mut before = Token::Word(first);
    for token in tokens {
        if before == Token::End {
            return Some("it is more than one statement");
        }
        if let Token::Word(word) = token {
            // A changing statement stands where one may begin: in brackets, or behind those of a `WITH`.
            let begins = matches!(before, Token::Open | Token::Close);
            if begins && CHANGES.iter().any(|change| same(word, change)) {
                return Some("it changes rows");
            }
            if explains && (same(word, "analyze") || same(word, "analyse")) {
                return Some("EXPLAIN ANALYZE runs what it explains");
            }
            if SESSION.iter().any(|name| same(word, name)) {
                return Some("it changes the session, which others share");
            }
        }
        before = token;
    }
    None
}

fn same(word: &str, lower: &str) -> bool {
    word.eq_ignore_ascii_case(lower)
}

const HEADS: [&str; 6] = ["select", "with", "values", "table", "show", "explain"];
const CHANGES: [&str; 4] = ["insert", "update", "delete", "merge"];
/// Functions that a read-only session allows, and whose effect outlives the statement.
const SESSION: [&str; 5] = [
    "set_config",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword or a name without quotes.
    Word(&'a str),
    Open,
    Close,
    /// A semicolon.
    End,
    /// Anything else: a literal, a quoted name, an operator.
    Other,
}

/// The tokens of a statement, without comments.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// Cuts off the first `length` bytes, which end at a character's end.
    fn cut(&mut self, length: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        head
    }

    /// Cuts off everything up to and with the first `end` behind `from`; all of it if there is none.
    fn cut_behind(&mut self, from: usize, end: &str) {
        let tail = self.rest.get(from..).unwrap_or_default();
        let length = tail
            .find(end)
            .map_or(self.rest.len(), |at| from + at + end.len());
        self.cut(length);
    }

    /// Block comments nest in PostgreSQL.
    fn cut_comment(&mut self) {
        let mut depth = 0_u32;
        loop {
            if self.rest.starts_with("/*") {
                (depth, _) = (depth + 1, self.cut(2));
            } else if self.rest.starts_with("*/") {
                (depth, _) = (depth - 1, self.cut(2));
            } else if let Some(other) = self.rest.chars().next() {
                self.cut(other.len_utf8());
            }
            if depth == 0 || self.rest.is_empty() {
                return;
            }
        }
    }

    /// `$tag$ .. $tag$`, or the number of a value such as `$1`.
    fn cut_dollar(&mut self) {
        let tag = self.rest[1..].find('$').map(|at| &self.rest[..at + 2]);
        match tag {
            Some(tag)
                if tag[1..tag.len() - 1]
                    .chars()
                    .all(|c| c.is_alphanumeric() || c == '_') =>
            {
                // `$1 .. $2` has no tag: tags do not begin with a digit.
                if !tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
                    return self.cut_behind(tag.len(), tag);
                }
                self.cut(1);
            }
            _ => {
                self.cut(1);
            }
        }
    }

    /// A string in which a backslash hides the next character.
    fn cut_escaped(&mut self) {
        self.cut(1);
        while let Some(next) = self.rest.chars().next() {
            self.cut(next.len_utf8());
            match next {
                '\\' => {
                    let hidden = self.rest.chars().next().map_or(0, char::len_utf8);
                    self.cut(hidden);
                }
                '\'' => return,
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let first = self.rest.chars().next()?;
            if first.is_whitespace() {
                self.cut(first.len_utf8());
            } else if self.rest.starts_with("--") {
                self.cut_behind(2, "\n");
            } else if self.rest.starts_with("/*") {
                self.cut_comment();
            } else {
                return Some(self.token(first));
            }
        }
    }
}

impl<'a> Tokens<'a> {
    fn token(&mut self, first: char) -> Token<'a> {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        match first {
            '\'' => self.cut_behind(1, "'"),
            '"' => self.cut_behind(1, "\""),
            '$' => self.cut_dollar(),
            _ if part_of_word(first) => {
                let length = self
                    .rest
                    .find(|c| !part_of_word(c))
                    .unwrap_or(self.rest.len());
                let word = self.cut(length);
                if same(word, "e") && self.rest.starts_with('\'') {
                    self.cut_escaped();
                    return Token::Other;
                }
                return Token::Word(word);
            }
            _ => {
                self.cut(first.len_utf8());
                return match first {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    ';' => Token::End,
                    _ => Token::Other,
                };
            }
        }
        Token::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_statements_may_run() {
        for sql in [
            "SELECT 1",
            "select * from \"update\"",
            "  -- a comment; with a semicolon\n SELECT 1;",
            "/* nested /* comment */ */ (SELECT 1) UNION (SELECT 2)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "VALUES (1), (2)",
            "TABLE users",
            "SHOW statement_timeout",
            "EXPLAIN (FORMAT JSON) SELECT 1",
            "SELECT 'it''s; (delete', E'\\'; (delete', $$; (delete$$, $a$ $$ ; $a$, \"insert\" FROM t",
            "SELECT $1, $2 FROM t WHERE a = $3",
            "SELECT updated_at, (updates) FROM inserts",
            "SELECT 'ünïcödé' AS \"naïve\", ø FROM t",
        ] {
            assert_eq!(refusal(sql), None, "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let refused = [
            ("", "no statement"),
            ("-- nothing", "no statement"),
            ("BEGIN", "begin with"),
            ("SET x = 1", "begin with"),
            ("COPY t TO STDOUT", "begin with"),
            ("INSERT INTO t VALUES (1) RETURNING id", "begin with"),
            ("UPDATE t SET a = 1", "begin with"),
            ("CALL p()", "begin with"),
            ("SELECT 1; DROP TABLE t", "more than one"),
            ("SELECT 1;;", "more than one"),
            (
                "WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a",
                "changes rows",
            ),
            (
                "WITH a AS MATERIALIZED (update t SET a = 1 RETURNING *) TABLE a",
                "changes rows",
            ),
            ("WITH a AS (SELECT 1) DELETE FROM t", "changes rows"),
            (
                "WITH a AS (/* x */ MERGE INTO t USING s ON true) SELECT 1",
                "changes rows",
            ),
            ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE"),
            ("EXPLAIN (ANALYZE, BUFFERS) SELECT 1", "EXPLAIN ANALYZE"),
            ("SELECT set_config('a.b', 'c', false)", "the session"),
            ("SELECT pg_advisory_lock(1)", "the session"),
        ];
        for (sql, part) in refused {
            let reason = refusal(sql).unwrap_or_default();
            assert!(reason.contains(part), "{sql}: {reason:?}");
        }
    }

    #[test]
    fn broken_text_ends_the_look_without_a_panic() {
        for sql in [
            "SELECT '",
            "SELECT $",
            "SELECT $a$",
            "SELECT \"",
            "SELECT /*",
            "SELECT E'\\",
            "é'",
        ] {
            let _ = refusal(sql);
        }
    }
}
