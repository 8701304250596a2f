//! Where names stand in a statement: tables behind FROM and JOIN, common table expressions, calls.

use std::collections::BTreeSet;

use crate::cache::tokens::Token;

/// Names where a table stands: behind FROM, JOIN, TABLE and the commas of a FROM list.
pub(super) fn positions(part: &[Token<'_>]) -> BTreeSet<Box<str>> {
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
pub(super) fn called(part: &[Token<'_>]) -> BTreeSet<Box<str>> {
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

/// A table's name at `at`, without its schema, and where it ends.
pub(super) fn named(part: &[Token<'_>], mut at: usize) -> Option<(Box<str>, usize)> {
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
