//! Which columns a condition compares and in which order rows are wanted, read from the text of SQL.
//!
//! No parser: what is found is only ever a candidate, and the planner has the last word.

use crate::sql::Word;

/// A column that a condition compares with something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    /// The table or alias before the dot.
    pub(super) qualifier: Option<String>,
    pub(super) column: String,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    Equal,
    Range,
}

/// The columns that `words` compare, in the order of the text.
pub(super) fn compared(words: &[Word]) -> Vec<Compared> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(how) = comparison(word, &words[at + 1..]) else {
            continue;
        };
        // `u.id = p.author_id` compares both.
        if word.is_sign("=")
            && let Some((qualifier, column)) = column_after(&words[at + 1..])
        {
            found.push(Compared {
                qualifier,
                column,
                how,
            });
        }
        let Some((qualifier, column, begins)) = column_before(&words[..at]) else {
            continue;
        };
        // `NOT a = 1` finds nothing through an index.
        if begins > 0 && words[begins - 1].is("not") {
            continue;
        }
        found.push(Compared {
            qualifier,
            column,
            how,
        });
    }
    found
}

fn comparison(word: &Word, rest: &[Word]) -> Option<How> {
    match word {
        Word::Sign(sign) => match &**sign {
            "=" | "==" => Some(How::Equal),
            "<" | ">" | "<=" | ">=" => Some(How::Range),
            _ => None,
        },
        Word::Plain(word) => match &**word {
            "in" => Some(How::Equal),
            "between" => Some(How::Range),
            "is" if rest.first().is_some_and(|next| next.is("null")) => Some(How::Equal),
            _ => None,
        },
        _ => None,
    }
}

/// The bare column that ends here, brackets and casts around it left out, and where it begins.
///
/// A function of a column is none: a plain index does not serve it.
fn column_before(words: &[Word]) -> Option<(Option<String>, String, usize)> {
    let mut end = words.len();
    // `((a.b)::character varying` has the cast behind the bracket.
    let cast = words.iter().rposition(|word| word.is_sign("::"));
    if let Some(cast) = cast.filter(|cast| {
        words[cast + 1..]
            .iter()
            .all(|word| matches!(word, Word::Plain(_)))
    }) {
        end = cast;
    }
    let mut closed = 0;
    while end > 0 && words[end - 1].is_sign(")") {
        closed += 1;
        end -= 1;
    }
    let column = words[..end].last()?.name()?.to_owned();
    if is_keyword(&words[end - 1]) {
        return None;
    }
    let dotted = end >= 3 && words[end - 2].is_sign(".");
    let qualifier = if dotted { words[end - 3].name() } else { None };
    let mut begins = if qualifier.is_some() {
        end - 3
    } else {
        end - 1
    };
    // The schema before the table, too.
    while begins >= 2 && words[begins - 1].is_sign(".") {
        begins -= 2;
    }
    for _ in 0..closed {
        if begins == 0 || !words[begins - 1].is_sign("(") {
            return None;
        }
        begins -= 1;
    }
    let called = closed > 0
        && begins > 0
        && words[begins - 1].name().is_some()
        && !is_keyword(&words[begins - 1]);
    // `a + b = 1` and `a || b = 'x'` compare no column.
    let computed = begins > 0
        && matches!(&words[begins - 1], Word::Sign(sign) if !matches!(&**sign, "(" | "," | ")" | ";"));
    (!called && !computed).then(|| (qualifier.map(str::to_owned), column, begins))
}

/// The column with its table that begins here; one without could be a function or a constant.
fn column_after(words: &[Word]) -> Option<(Option<String>, String)> {
    let [table, dot, column, rest @ ..] = words else {
        return None;
    };
    let ends = rest
        .first()
        .is_none_or(|next| next.is_sign(")") || next.is_sign(";") || is_clause(next));
    let (table, column) = (table.name()?, column.name()?);
    (dot.is_sign(".") && ends).then(|| (Some(table.to_owned()), column.to_owned()))
}

fn is_clause(word: &Word) -> bool {
    let clauses = [
        "and", "or", "where", "join", "inner", "left", "right", "full", "cross", "group", "order",
        "limit",
    ];
    clauses.iter().any(|clause| word.is(clause))
}

fn is_keyword(word: &Word) -> bool {
    let keywords = [
        "and", "or", "not", "where", "on", "when", "then", "having", "select", "in", "any", "all",
        "case", "else", "end", "null", "true", "false", "is", "between", "set", "values", "exists",
        "like",
    ];
    matches!(word, Word::Plain(word) if keywords.contains(&&**word))
}

/// A column by which rows are ordered: qualifier, name, descending.
pub(super) type Ordered = (Option<String>, String, bool);

/// The columns of one list behind `ORDER BY`; up to the first that is no bare column.
pub(super) fn ordered(words: &[Word]) -> Vec<Ordered> {
    let mut found = Vec::new();
    for key in words.split(|word| word.is_sign(",")) {
        let name = |at: usize| key.get(at).and_then(Word::name);
        let dotted = key.get(1).is_some_and(|word| word.is_sign("."));
        let (qualifier, column, rest) = match (name(0), name(2)) {
            (Some(table), Some(column)) if dotted => (Some(table.to_owned()), column, &key[3..]),
            (Some(column), _) if !dotted => (None, column, &key[1..]),
            _ => break,
        };
        let plain = matches!(rest, [] | [Word::Plain(_)])
            || rest.get(1).is_some_and(|word| word.is("nulls"));
        if !plain {
            break;
        }
        let falls = rest.first().is_some_and(|word| word.is("desc"));
        found.push((qualifier, column.to_owned(), falls));
    }
    found
}

/// The list behind each `ORDER BY`, up to the end of its brackets or the next clause.
#[cfg(feature = "sqlite")]
pub(super) fn order_lists(words: &[Word]) -> Vec<&[Word]> {
    let mut lists = Vec::new();
    for at in 0..words.len().saturating_sub(1) {
        if !(words[at].is("order") && words[at + 1].is("by")) {
            continue;
        }
        let rest = &words[at + 2..];
        let mut depth = 0_usize;
        let end = rest.iter().position(|word| {
            if word.is_sign("(") {
                depth += 1;
            } else if word.is_sign(")") {
                if depth == 0 {
                    return true;
                }
                depth -= 1;
            }
            let next = [
                "limit",
                "offset",
                "fetch",
                "for",
                "union",
                "intersect",
                "except",
                "rows",
                "range",
            ];
            depth == 0 && (word.is_sign(";") || next.iter().any(|clause| word.is(clause)))
        });
        lists.push(&rest[..end.unwrap_or(rest.len())]);
    }
    lists
}

/// Candidates for an index from what is compared and ordered: equal columns first, then one range, or the order.
///
/// At most three of each kind: more columns seldom help, and each costs with every write.
pub(super) fn candidates(compared: &[Compared], order: &[Ordered]) -> Vec<Vec<(String, bool)>> {
    let mut equal: Vec<(String, bool)> = Vec::new();
    let mut ranges: Vec<(String, bool)> = Vec::new();
    for one in compared {
        let list = match one.how {
            How::Equal => &mut equal,
            How::Range => &mut ranges,
        };
        let column = (one.column.clone(), false);
        if list.len() < 3 && !list.contains(&column) {
            list.push(column);
        }
    }
    ranges.retain(|range| !equal.contains(range));
    let order: Vec<(String, bool)> = order
        .iter()
        .map(|(_, column, falls)| (column.clone(), *falls))
        .filter(|(column, _)| !equal.iter().any(|(name, _)| name == column))
        .take(3)
        .collect();
    let mut found: Vec<Vec<(String, bool)>> = Vec::new();
    let joined = |more: &[(String, bool)]| [&*equal, more].concat();
    let all = [
        joined(ranges.get(..1).unwrap_or_default()),
        joined(&order),
        equal.clone(),
    ];
    for candidate in all {
        if !candidate.is_empty() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::words;

    fn found(sql: &str) -> String {
        let one = |it: Compared| {
            let dot = it.qualifier.map(|table| format!("{table}."));
            let sign = if it.how == How::Equal { "=" } else { "~" };
            format!("{}{}{sign}", dot.unwrap_or_default(), it.column)
        };
        let all: Vec<String> = compared(&words(sql)).into_iter().map(one).collect();
        all.join(" ")
    }

    #[test]
    fn bare_columns_are_found_in_what_people_and_databases_write() {
        for (sql, expected) in [
            (
                "WHERE author_id = $1 AND created_at > $2",
                "author_id= created_at~",
            ),
            (
                "(((posts.title)::text = $1) AND (posts.n >= 3))",
                "posts.title= posts.n~",
            ),
            ("((p.name)::character varying = 'x')", "p.name="),
            ("WHERE \"a\".\"B c\" IN (1, 2) AND d IS NULL", "a.B c= d="),
            ("WHERE s.t.c = ANY ($1)", "t.c="),
            ("WHERE a BETWEEN 1 AND 2", "a~"),
            ("(author_id = ANY ($1))", "author_id="),
            (
                "ON u.id = p.author_id WHERE a = b.c + 1",
                "p.author_id= u.id= a=",
            ),
        ] {
            assert_eq!(found(sql), expected, "{sql}");
        }
    }

    #[test]
    fn functions_sums_negations_and_values_are_no_columns() {
        for sql in [
            "WHERE lower(email) = $1",
            "WHERE a + b = 1",
            "WHERE a <> 1 AND b IS NOT NULL",
            "WHERE NOT a = 1",
            "WHERE $1 = 2 AND 'b = 1' = 'c'",
            "WHERE a NOT IN (1)",
            "-- WHERE a = 1",
            "=",
            ") = 1",
        ] {
            assert_eq!(found(sql), "", "{sql}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn the_order_ends_at_the_first_key_that_is_no_column() {
        let sql = "SELECT 1 ORDER BY p.at DESC, id, lower(x), y LIMIT 3";
        let list = words(sql);
        let lists = order_lists(&list);
        let keys = ordered(lists[0]);
        assert_eq!(
            keys,
            [
                (Some("p".to_owned()), "at".to_owned(), true),
                (None, "id".to_owned(), false)
            ]
        );
        assert!(order_lists(&words("ORDER")).is_empty());
    }

    #[test]
    fn equal_columns_come_first_then_one_range_or_the_order() {
        let list = words("WHERE a > 1 AND b = 2 AND c < 3 AND b = 4");
        let order = [(None, "d".to_owned(), true), (None, "b".to_owned(), false)];
        let shown: Vec<String> = candidates(&compared(&list), &order)
            .into_iter()
            .map(|columns| {
                columns
                    .iter()
                    .map(|(name, falls)| format!("{name}{}", if *falls { "-" } else { "" }))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert_eq!(shown, ["b a", "b d-", "b"]);
        assert!(candidates(&[], &[]).is_empty());
    }
}
