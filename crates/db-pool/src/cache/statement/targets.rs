//! Which tables a statement writes: those behind its verbs.

use std::collections::BTreeSet;

use super::Targets;
use super::names::named;
use crate::cache::tokens::Token;

/// Behind each verb that writes stands the name of the table; a verb in any other place counts as writing everything.
pub(super) fn targets(part: &[Token<'_>]) -> Targets {
    let mut names = BTreeSet::new();
    for (at, token) in part.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &part[before]);
        // `t.update`, `update.a` and `AS update` are names.
        let dot = |token: &Token<'_>| *token == Token::Symbol('.');
        let is_name = before.is_some_and(|before| dot(before) || before.is("AS"))
            || part.get(at + 1).is_some_and(dot);
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
