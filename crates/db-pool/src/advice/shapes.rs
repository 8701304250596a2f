//! Shapes of statements that are often slow, told from their words; a hint for each statement that took time.

use super::finding::{Finding, FindingKind as Kind, Severity};
use super::input::StatementNumbers;
use crate::sql::{Word, words};

/// What the shape of one statement suggests.
pub(super) fn shapes(statement: &StatementNumbers) -> Vec<Finding> {
    let words = words(&statement.sent);
    let mut found = Vec::new();
    let mut tell = |kind, what: &str, hint: &str| {
        let finding = Finding::new(Severity::Hint, kind, what)
            .about(statement)
            .code(hint);
        found.push(finding);
    };
    if selects_all(&words) {
        tell(
            Kind::SelectStar,
            "a slow statement selects all columns",
            "name the columns that are used: fewer bytes, perhaps an index alone, and no surprise when one is added",
        );
    }
    if begins(&words, "like")
        .any(|rest| matches!(rest.first(), Some(Word::Text(text)) if text.starts_with('%')))
        || begins(&words, "ilike")
            .any(|rest| matches!(rest.first(), Some(Word::Text(text)) if text.starts_with('%')))
    {
        tell(
            Kind::LeadingWildcard,
            "a slow statement looks for a text that may begin anywhere",
            "no plain index serves LIKE '%..': a trigram index (pg_trgm) or a full-text one (FTS5) does",
        );
    }
    if begins(&words, "offset").any(is_deep) {
        tell(
            Kind::OffsetPaging,
            "a slow statement pages by OFFSET, which reads all that it skips",
            "for deep pages remember the last key: WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC",
        );
    }
    if begins(&words, "not").any(|rest| {
        rest.len() > 2 && rest[0].is("in") && rest[1].is_sign("(") && rest[2].is("select")
    }) {
        tell(
            Kind::NotInSubquery,
            "a slow statement asks NOT IN (SELECT ..), which one NULL makes empty and which is no anti-join on PostgreSQL",
            "NOT EXISTS (SELECT .. WHERE ..) says the same without both",
        );
    }
    if let Some(alias) = correlated(&words) {
        tell(
            Kind::CorrelatedSubquery,
            &format!(
                "a slow statement has a sub-query that depends on `{alias}` and may run for each of its rows"
            ),
            "a join with GROUP BY, or LATERAL with LIMIT, lets the planner choose",
        );
    }
    found
}

/// What follows each appearance of `keyword`.
fn begins<'a>(words: &'a [Word], keyword: &'a str) -> impl Iterator<Item = &'a [Word]> {
    let all = words.iter().enumerate();
    all.filter(move |(_, word)| word.is(keyword))
        .map(|(at, _)| &words[at + 1..])
}

/// `SELECT *` or `SELECT t.*`; not `count(*)`, and not inside of `EXISTS`, where the columns do not matter.
fn selects_all(words: &[Word]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        if !word.is("select") {
            return false;
        }
        let before = |back: usize| at.checked_sub(back).map(|at| &words[at]);
        let exists = before(1).is_some_and(|word| word.is_sign("("))
            && before(2).is_some_and(|word| word.is("exists"));
        let mut rest = words[at + 1..].iter();
        let first = rest.next();
        let star = match first {
            Some(word) if word.is_sign("*") => true,
            Some(word) if word.name().is_some() => {
                rest.next().is_some_and(|word| word.is_sign("."))
                    && rest.next().is_some_and(|word| word.is_sign("*"))
            }
            _ => false,
        };
        star && !exists
    })
}

/// A value that may be anything, or a number that is large. `OFFSET 0` keeps PostgreSQL from merging a sub-query.
fn is_deep(rest: &[Word]) -> bool {
    match rest.first() {
        Some(Word::Value(_)) => true,
        Some(Word::Number(number)) => number.parse::<f64>().is_ok_and(|number| number >= 100.0),
        _ => false,
    }
}

/// The outer table or alias that a scalar sub-query names, if one does. `EXISTS` and `IN` are joins to the planner,
/// and a sub-query in `FROM` cannot name its neighbours without `LATERAL`.
fn correlated(words: &[Word]) -> Option<&str> {
    (0..words.len().saturating_sub(1)).find_map(|open| {
        if !(words[open].is_sign("(") && words[open + 1].is("select")) {
            return None;
        }
        let before = open.checked_sub(1).map(|at| &words[at])?;
        let joined = [
            "exists",
            "in",
            "from",
            "join",
            "lateral",
            "as",
            "any",
            "all",
            "array",
            "materialized",
        ];
        if joined.iter().any(|keyword| before.is(keyword))
            || (before.is_sign(",") && in_from(&words[..open]))
        {
            return None;
        }
        let inside = &words[open + 1..open + closing(&words[open..])];
        let own = tables(inside);
        let others: Vec<Word> = [&words[..open], &words[open + inside.len() + 1..]].concat();
        let outer = tables(&others);
        inside.windows(3).find_map(|three| {
            let name = three[0].name()?;
            let qualifies = three[1].is_sign(".") && !own.iter().any(|it| it == name);
            (qualifies && outer.iter().any(|it| it == name)).then_some(name)
        })
    })
}

/// Whether the text ends inside of a `FROM` list.
fn in_from(words: &[Word]) -> bool {
    let clause = words.iter().rev().find(|word| {
        let clauses = [
            "select",
            "from",
            "where",
            "set",
            "values",
            "by",
            "having",
            "returning",
        ];
        clauses.iter().any(|clause| word.is(clause))
    });
    clause.is_some_and(|word| word.is("from"))
}

/// How many words from an opening bracket to its closing one.
fn closing(words: &[Word]) -> usize {
    let mut depth = 0_usize;
    let end = words.iter().position(|word| {
        if word.is_sign("(") {
            depth += 1;
        } else if word.is_sign(")") {
            depth = depth.saturating_sub(1);
        }
        depth == 0
    });
    end.unwrap_or(words.len())
}

/// Aliases or names of the tables behind `FROM` and `JOIN`.
fn tables(words: &[Word]) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_from = false;
    let mut at = 0;
    while at < words.len() {
        let word = &words[at];
        let begins = word.is("from") || word.is("join") || (in_from && word.is_sign(","));
        if ["where", "group", "order", "limit", "on", "set", "select"]
            .iter()
            .any(|it| word.is(it))
        {
            in_from = false;
        }
        at += 1;
        if !begins {
            continue;
        }
        in_from = true;
        let mut last = None;
        while let Some(name) = words.get(at).and_then(Word::name) {
            last = Some(name.to_owned());
            at += 1;
            if !words.get(at).is_some_and(|word| word.is_sign(".")) {
                break;
            }
            at += 1;
        }
        if words.get(at).is_some_and(|word| word.is("as")) {
            at += 1;
        }
        // An alias hides the name.
        if let Some(alias) = words
            .get(at)
            .and_then(Word::name)
            .filter(|name| !CLAUSES.contains(name))
        {
            last = Some(alias.to_owned());
            at += 1;
        }
        found.extend(last);
    }
    found
}

const CLAUSES: &[&str] = &[
    "where",
    "on",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "group",
    "order",
    "limit",
    "offset",
    "union",
    "set",
    "using",
    "having",
    "for",
    "returning",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sql: &str) -> Vec<Kind> {
        let statement = StatementNumbers {
            sent: sql.to_owned(),
            ..StatementNumbers::default()
        };
        shapes(&statement).into_iter().map(|it| it.kind).collect()
    }

    #[test]
    fn shapes_are_told_from_the_words() {
        for (sql, expected) in [
            ("SELECT * FROM t", Kind::SelectStar),
            ("SELECT t.* FROM t JOIN u ON u.id = t.id", Kind::SelectStar),
            ("SELECT a FROM t WHERE b LIKE '%x'", Kind::LeadingWildcard),
            (
                "SELECT a FROM t WHERE b ILIKE '%' || $1",
                Kind::LeadingWildcard,
            ),
            ("SELECT a FROM t LIMIT $1 OFFSET $2", Kind::OffsetPaging),
            ("SELECT a FROM t LIMIT 10 OFFSET 5000", Kind::OffsetPaging),
            (
                "SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)",
                Kind::NotInSubquery,
            ),
            (
                "SELECT (SELECT count(*) FROM posts p WHERE p.author = u.id) FROM users u",
                Kind::CorrelatedSubquery,
            ),
            (
                "SELECT a FROM t WHERE a > (SELECT avg(a) FROM t AS o WHERE o.kind = t.kind)",
                Kind::CorrelatedSubquery,
            ),
        ] {
            assert_eq!(told(sql), [expected], "{sql}");
        }
    }

    #[test]
    fn strings_comments_and_harmless_relatives_raise_no_alarm() {
        for sql in [
            "SELECT count(*) FROM t",
            "SELECT a FROM t WHERE b = 'SELECT * FROM x' -- SELECT * NOT IN (SELECT 1)",
            "SELECT a /* OFFSET 9999 */ FROM t WHERE c LIKE 'x%' AND d NOT LIKE $1",
            "SELECT a FROM t WHERE EXISTS (SELECT * FROM u WHERE u.id = t.id)",
            "SELECT a FROM t WHERE b IN (SELECT b FROM u) OFFSET 0",
            "SELECT a FROM t WHERE b NOT IN (1, 2)",
            "SELECT a * 2 FROM t",
            "SELECT x.a FROM t, (SELECT u.a FROM u WHERE u.b = 1) x",
            "SELECT a FROM t WHERE b = (SELECT max(u.b) FROM u)",
            "WITH c AS (SELECT t.a FROM t) SELECT c.a FROM c, t",
            "SELECT (",
            "",
        ] {
            assert_eq!(told(sql), [], "{sql}");
        }
    }
}
