//! Whether a statement only reads, by its words; the server's read-only session backs it up.

use crate::sql::{Piece, PieceKind, pieces};
use crate::url::BackendKind;

/// Why `sql` must not run on a lane; `None` if it may.
pub(crate) fn refusal(sql: &str) -> Option<&'static str> {
    let mut pieces = pieces(sql, Some(BackendKind::Postgres))
        .filter(|piece| piece.kind != PieceKind::Comment)
        .peekable();
    while pieces.next_if(|piece| is_sign(piece, "(")).is_some() {}
    let Some(first) = pieces.next().filter(|first| first.kind == PieceKind::Word) else {
        return Some("it is no statement");
    };
    if !HEADS.iter().any(|head| first.is(head)) {
        return Some("it does not begin with SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN");
    }
    let explains = first.is("explain");
    let mut before = first;
    for piece in pieces {
        if is_sign(&before, ";") {
            return Some("it is more than one statement");
        }
        // A changing statement stands where one may begin: in brackets, or behind those of a `WITH`.
        let begins = is_sign(&before, "(") || is_sign(&before, ")");
        if begins && CHANGES.iter().any(|change| piece.is(change)) {
            return Some("it changes rows");
        }
        if explains && (piece.is("analyze") || piece.is("analyse")) {
            return Some("EXPLAIN ANALYZE runs what it explains");
        }
        if SESSION.iter().any(|name| is_name(&piece, name)) {
            return Some("it changes the session, which others share");
        }
        before = piece;
    }
    None
}

fn is_sign(piece: &Piece<'_>, sign: &str) -> bool {
    piece.kind == PieceKind::Sign && piece.text == sign
}

/// Whether it names this function, in quotes or not.
fn is_name(piece: &Piece<'_>, name: &str) -> bool {
    piece.is(name) || (piece.kind == PieceKind::Quoted && piece.said() == name)
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
            ("SELECT \"set_config\"('a.b', 'c', false)", "the session"),
            // A carriage return ends a comment.
            (
                "SELECT 1 -- a\r, set_config('a.b', 'c', false)",
                "the session",
            ),
        ];
        for (sql, part) in refused {
            let reason = refusal(sql).unwrap_or_default();
            assert!(reason.contains(part), "{sql}: {reason:?}");
        }
    }
}
