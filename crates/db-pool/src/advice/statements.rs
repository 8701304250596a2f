//! Texts of statements as advice handles them: whether they can be explained, and values put in their places.

use std::ops::Range;

use crate::sql::{Word, placed, words};

/// Whether it is one statement of a kind that `EXPLAIN` takes.
pub(super) fn is_explainable(sql: &str) -> bool {
    let words = words(sql);
    let kinds = [
        "select", "insert", "update", "delete", "with", "values", "merge", "replace",
    ];
    let known = words
        .first()
        .is_some_and(|first| kinds.iter().any(|kind| first.is(kind)));
    let ends = words.iter().position(|word| word.is_sign(";"));
    known && ends.is_none_or(|end| end + 1 == words.len())
}

/// Whether running it changes nothing, as far as its words tell: functions may do anything.
pub(super) fn only_reads(sql: &str) -> bool {
    let words = words(sql);
    let reads = words
        .first()
        .is_some_and(|first| first.is("select") || first.is("with"));
    let changes = [
        "insert", "update", "delete", "merge", "into", "for", "nextval", "setval", "replace",
    ];
    reads
        && !words
            .iter()
            .any(|word| changes.iter().any(|change| word.is(change)))
}

/// The statement with `literal(column)` in the place of each value, where the column that it is compared with is known;
/// a place behind `LIMIT` gets 100, behind `OFFSET` 0. `None` if a place remains.
///
/// Only columns of one table are known to the caller, so a name alone decides.
pub(super) fn with_literals(
    sql: &str,
    mut literal: impl FnMut(&str) -> Option<String>,
) -> Option<String> {
    let placed = placed(sql);
    let mut text = String::new();
    let mut copied = 0;
    for (at, (word, place)) in placed.iter().enumerate() {
        if !matches!(word, Word::Value(_)) {
            continue;
        }
        let value = match compared_with(&placed[..at]) {
            Some(Compared::Column(column)) => literal(&column)?,
            Some(Compared::Limit) => "100".to_owned(),
            Some(Compared::Offset) => "0".to_owned(),
            None => return None,
        };
        text.push_str(&sql[copied..place.start]);
        text.push_str(&value);
        copied = place.end;
    }
    text.push_str(&sql[copied..]);
    Some(text)
}

/// The columns that its values are compared with, each once.
pub(super) fn columns_of_values(sql: &str) -> Vec<String> {
    let placed = placed(sql);
    let mut found = Vec::new();
    for (at, (word, _)) in placed.iter().enumerate() {
        if !matches!(word, Word::Value(_)) {
            continue;
        }
        if let Some(Compared::Column(column)) = compared_with(&placed[..at])
            && !found.contains(&column)
        {
            found.push(column);
        }
    }
    found
}

enum Compared {
    Column(String),
    Limit,
    Offset,
}

fn compared_with(before: &[(Word, Range<usize>)]) -> Option<Compared> {
    let word = |back: usize| before.len().checked_sub(back).map(|at| &before[at].0);
    match word(1)? {
        Word::Plain(last) if last == "limit" => return Some(Compared::Limit),
        Word::Plain(last) if last == "offset" => return Some(Compared::Offset),
        _ => {}
    }
    let mut back = 1;
    // `a IN (?` and `a = ANY (?`: a list takes a list, which a single literal is not.
    if word(1)?.is_sign("(") {
        if !word(2)?.is("in") {
            return None;
        }
        back = 2;
    }
    let compares = match word(back)? {
        Word::Sign(sign) => ["=", "==", "<", ">", "<=", ">=", "<>", "!="].contains(&&**sign),
        Word::Plain(word) => word == "in" || word == "between",
        _ => false,
    };
    let column = word(back + 1)?.name()?;
    compares.then(|| Compared::Column(column.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_statements_that_can_be_explained_are() {
        for sql in [
            "SELECT 1",
            "select 1;",
            "/* a */ WITH x AS (SELECT 1) SELECT 2",
            "DELETE FROM a",
        ] {
            assert!(is_explainable(sql), "{sql}");
        }
        for sql in [
            "SELECT 1; DROP TABLE a",
            "BEGIN",
            "",
            "-- SELECT 1",
            "EXPLAIN SELECT 1",
            "CREATE TABLE a ()",
        ] {
            assert!(!is_explainable(sql), "{sql}");
        }
    }

    #[test]
    fn what_may_change_something_is_not_run() {
        assert!(only_reads("SELECT a FROM b WHERE c = 'delete'"));
        for sql in [
            "SELECT nextval('a')",
            "WITH x AS (DELETE FROM a RETURNING b) SELECT 1",
            "SELECT 1 FOR UPDATE",
            "UPDATE a SET b = 1",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn values_come_from_the_columns_that_they_are_compared_with() {
        let fill = |sql| {
            with_literals(sql, |column| {
                (column != "unknown").then(|| format!("<{column}>"))
            })
        };
        let filled = fill(
            "SELECT 1 FROM t WHERE t.\"A\" = $1 AND b IN (?, 3) AND c BETWEEN ? AND 5 LIMIT $3 OFFSET $4",
        );
        let expected = "SELECT 1 FROM t WHERE t.\"A\" = <A> AND b IN (<b>, 3) AND c BETWEEN <c> AND 5 LIMIT 100 OFFSET 0";
        assert_eq!(filled.as_deref(), Some(expected));
        assert_eq!(
            fill("SELECT '?', a -- $1").as_deref(),
            Some("SELECT '?', a -- $1")
        );
        for sql in ["a = ANY ($1)", "$1 = a", "unknown = $1", "f($1)", "?"] {
            assert_eq!(fill(sql), None, "{sql}");
        }
    }
}
