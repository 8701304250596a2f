//! What the database has against what the program declares, as a function of plain data.

use super::declare::Index;
use super::report::IndexState;
use crate::sql::{Word, words};

/// An index as the database describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Existing {
    pub(crate) name: String,
    /// `None` for an expression.
    pub(crate) columns: Vec<(Option<String>, bool)>,
    pub(crate) unique: bool,
    /// The condition of a partial index, as the database writes it.
    pub(crate) filter: Option<String>,
    /// `false` for what a failed `CREATE INDEX CONCURRENTLY` leaves behind.
    pub(crate) valid: bool,
    /// Somebody builds it right now.
    pub(crate) building: bool,
    /// Something that makes it unfit for plain comparisons: a method other than B-tree, an operator class.
    pub(crate) special: Option<String>,
}

/// In what state a declared index is, given all indexes of its table; `None` if there is no such table.
pub(crate) fn state(declared: &Index, found: Option<&[Existing]>) -> IndexState {
    let Some(found) = found else {
        return IndexState::NoTable;
    };
    let wanted = declared.name();
    let mut unclear = None;
    let mut unfit = None;
    for index in found {
        let named = index.name == wanted;
        if !same_columns(declared, index) {
            if named {
                let what = format!("it covers ({})", columns(index));
                unfit = Some(IndexState::different(index, what));
            }
            continue;
        }
        let filter = same_filter(declared.filter, index.filter.as_deref());
        match verdict(declared, index, filter) {
            Verdict::Fits if index.building => return IndexState::building(index),
            Verdict::Fits if !index.valid && named => return IndexState::invalid(index),
            Verdict::Fits if index.valid => return IndexState::present(index),
            Verdict::Unclear(what) if unclear.is_none() => {
                unclear = Some(IndexState::unclear(index, what));
            }
            Verdict::Different(what) if named => unfit = Some(IndexState::different(index, what)),
            _ => {}
        }
    }
    // Of the same name before anything else: creating it would fail.
    unfit.or(unclear).unwrap_or(IndexState::Missing)
}

enum Verdict {
    Fits,
    Different(String),
    Unclear(String),
}

fn verdict(declared: &Index, index: &Existing, filter: SameFilter) -> Verdict {
    let shown = || index.filter.clone().unwrap_or_default();
    match filter {
        _ if declared.unique && !index.unique => Verdict::Different("it is not unique".to_owned()),
        _ if index.special.is_some() => Verdict::Different(format!(
            "it uses {}",
            index.special.clone().unwrap_or_default()
        )),
        SameFilter::Yes => Verdict::Fits,
        SameFilter::OnlyDeclared => Verdict::Different("it covers all rows".to_owned()),
        SameFilter::OnlyFound => {
            Verdict::Different(format!("it covers only rows where {}", shown()))
        }
        SameFilter::Unclear => Verdict::Unclear(format!(
            "whether its condition `{}` is the declared one cannot be told from the text",
            shown()
        )),
    }
}

fn same_columns(declared: &Index, index: &Existing) -> bool {
    let wanted = (0..declared.columns.len())
        .map(|at| (Some(declared.columns[at]), declared.is_descending(at)));
    wanted.eq(index
        .columns
        .iter()
        .map(|(name, falls)| (name.as_deref(), *falls)))
}

fn columns(index: &Existing) -> String {
    let one = |(name, falls): &(Option<String>, bool)| {
        let order = if *falls { " desc" } else { "" };
        format!("{}{order}", name.as_deref().unwrap_or("an expression"))
    };
    index.columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SameFilter {
    Yes,
    OnlyDeclared,
    OnlyFound,
    Unclear,
}

fn same_filter(declared: Option<&str>, found: Option<&str>) -> SameFilter {
    match (declared, found) {
        (None, None) => SameFilter::Yes,
        (Some(_), None) => SameFilter::OnlyDeclared,
        (None, Some(_)) => SameFilter::OnlyFound,
        (Some(declared), Some(found)) if plain(declared) == plain(found) => SameFilter::Yes,
        _ => SameFilter::Unclear,
    }
}

/// A condition without what databases add when they write it down: brackets around the whole and around single
/// comparisons, casts, quotes that change nothing.
///
/// Brackets around `OR` inside of `AND` matter, so a text with both keeps all of its brackets.
fn plain(condition: &str) -> Vec<Word> {
    let all = words(condition);
    let has = |keyword: &str| all.iter().any(|word| word.is(keyword));
    let keep_brackets = has("or") && has("and") || has("not") || has("in") || has("any");
    let mut plain = Vec::new();
    let mut rest = all.into_iter().peekable();
    while let Some(word) = rest.next() {
        match word {
            Word::Sign(sign) if sign == "::" => {
                // A type is a name, perhaps with a length in brackets or further words.
                rest.next();
                while rest
                    .next_if(|word| {
                        matches!(
                            word.name(),
                            Some("varying" | "precision" | "zone" | "without" | "with" | "time")
                        )
                    })
                    .is_some()
                {}
            }
            Word::Sign(sign) if !keep_brackets && (sign == "(" || sign == ")") => {}
            Word::Sign(sign) if sign == "!=" => plain.push(Word::Sign("<>".to_owned())),
            Word::Sign(sign) if sign == "==" => plain.push(Word::Sign("=".to_owned())),
            Word::Quoted(name) if name == name.to_lowercase() => plain.push(Word::Plain(name)),
            word => plain.push(word),
        }
    }
    while keep_brackets && wrapped(&plain) {
        plain.pop();
        plain.remove(0);
    }
    plain
}

/// Whether the first bracket closes with the last word.
fn wrapped(words: &[Word]) -> bool {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate() {
        if word.is_sign("(") {
            depth += 1;
        } else if word.is_sign(")") {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return at > 0 && at + 1 == words.len();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(columns: &[(&str, bool)]) -> Existing {
        Existing {
            name: "posts_author_id_idx".to_owned(),
            columns: columns
                .iter()
                .map(|(name, falls)| (Some((*name).to_owned()), *falls))
                .collect(),
            valid: true,
            ..Existing::default()
        }
    }

    const WANTED: Index = Index::on("posts", &["author_id"]);

    fn told(declared: &Index, found: &[Existing]) -> String {
        state(declared, Some(found)).to_string()
    }

    #[test]
    fn columns_count_in_their_order_and_direction() {
        let good = existing(&[("author_id", false)]);
        assert_eq!(
            told(&WANTED, std::slice::from_ref(&good)),
            "present as posts_author_id_idx"
        );
        let elsewhere = Existing {
            name: "other".to_owned(),
            ..good
        };
        assert_eq!(told(&WANTED, &[elsewhere]), "present as other");
        assert_eq!(state(&WANTED, None).to_string(), "no such table");
        assert_eq!(told(&WANTED, &[]), "missing");
        for other in [
            &[("author_id", true)][..],
            &[("author_id", false), ("at", false)],
            &[("at", false)],
        ] {
            let told = told(&WANTED, &[existing(other)]);
            assert!(
                told.starts_with("different: posts_author_id_idx: it covers ("),
                "{told}"
            );
        }
    }

    #[test]
    fn a_unique_index_serves_where_a_plain_one_is_wanted_and_not_the_other_way_round() {
        let plain = existing(&[("author_id", false)]);
        let unique = Existing {
            unique: true,
            ..plain.clone()
        };
        assert_eq!(
            told(&WANTED, std::slice::from_ref(&unique)),
            "present as posts_author_id_idx"
        );
        let wanted = WANTED.unique().named("posts_author_id_idx");
        assert_eq!(told(&wanted, &[unique]), "present as posts_author_id_idx");
        assert_eq!(
            told(&wanted, std::slice::from_ref(&plain)),
            "different: posts_author_id_idx: it is not unique"
        );
        assert_eq!(
            told(&WANTED.unique(), &[plain]),
            "missing",
            "another name is free"
        );
    }

    #[test]
    fn invalid_leftovers_count_only_under_the_name_that_would_be_created() {
        let invalid = Existing {
            valid: false,
            ..existing(&[("author_id", false)])
        };
        assert_eq!(
            told(&WANTED, std::slice::from_ref(&invalid)),
            "invalid: posts_author_id_idx"
        );
        let building = Existing {
            building: true,
            ..invalid.clone()
        };
        assert_eq!(
            told(&WANTED, &[building]),
            "being built: posts_author_id_idx"
        );
        let other = Existing {
            name: "other".to_owned(),
            ..invalid
        };
        assert_eq!(told(&WANTED, &[other]), "missing");
    }

    #[test]
    fn conditions_are_equal_whatever_the_database_adds_when_it_writes_them_down() {
        for (declared, found) in [
            ("deleted_at IS NULL", "(deleted_at IS NULL)"),
            (
                "kind = 'A b' AND n > 3",
                "((kind = 'A b'::text) AND (n > 3))",
            ),
            ("kind != 'x'", "((kind)::text <> 'x'::character varying)"),
            ("\"state\" = 1", "(state = 1)"),
            ("a = 1 AND (b = 2 OR c = 3)", "(a = 1 AND (b = 2 OR c = 3))"),
        ] {
            let same = same_filter(Some(declared), Some(found));
            assert_eq!(same, SameFilter::Yes, "{declared} / {found}");
        }
        for (declared, found) in [
            ("kind = 'a'", "(kind = 'A')"),
            ("a = 1 AND (b = 2 OR c = 3)", "(a = 1 AND b = 2 OR c = 3)"),
            ("n > 3", "(3 < n)"),
            ("\"State\" = 1", "(state = 1)"),
        ] {
            let same = same_filter(Some(declared), Some(found));
            assert_eq!(same, SameFilter::Unclear, "{declared} / {found}");
        }
        let partial = Existing {
            filter: Some("(3 < n)".to_owned()),
            ..existing(&[("author_id", false)])
        };
        let wanted = WANTED.filter("n > 3");
        assert!(
            told(&wanted, std::slice::from_ref(&partial))
                .starts_with("unclear: posts_author_id_idx")
        );
        assert_eq!(
            told(&WANTED, &[partial]),
            "different: posts_author_id_idx: it covers only rows where (3 < n)"
        );
    }
}
