//! Full-text search: the words of what a user typed, and the condition that each database has for it.

use std::collections::HashSet;

use diesel::{
    expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate},
    pg::Pg,
    query_builder::{AstPass, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{Bool, Text},
    sqlite::Sqlite,
};

use super::schema::records;

/// The most different words that a search looks for; further ones are ignored.
const WORDS_MAX: usize = 64;
/// The longest word that can be found, in bytes; PostgreSQL indexes none of more than 2,047.
const WORD_BYTES_MAX: usize = 1_024;

/// The condition that a record's title and text together contain every word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainsWords {
    fts5: String,
    tsquery: String,
    probe: bool,
}

impl ContainsWords {
    /// The condition for what a user typed; nothing when no record can fulfil it, because the text
    /// has no word at all or one that is too long to be indexed.
    ///
    /// Everything but letters and digits separates words, so no text is ever a syntax error, and the
    /// operators of the query languages have no meaning.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut seen = HashSet::new();
        let words: Vec<&str> = text
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty() && seen.insert(*word))
            .take(WORDS_MAX)
            .collect();
        if words.is_empty() || words.iter().any(|word| word.len() > WORD_BYTES_MAX) {
            return None;
        }
        // In quotes a word is a plain string for FTS5, also when it reads like an operator.
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        Some(Self {
            fts5: quoted.join(" "),
            tsquery: words.join(" "),
            probe: false,
        })
    }

    /// The same condition for a query that walks records in another order, such as that of a tag.
    ///
    /// SQLite would otherwise look up every found record for every record walked.
    pub(super) fn probing(mut self) -> Self {
        self.probe = true;
        self
    }
}

impl QueryFragment<Sqlite> for ContainsWords {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        // The plus keeps SQLite from using an index of the column, and changes nothing else.
        out.push_sql(if self.probe { "+" } else { "" });
        out.push_sql(
            "\"records\".\"seq\" IN (SELECT rowid FROM records_words WHERE records_words MATCH ",
        );
        out.push_bind_param::<Text, _>(&self.fts5)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryFragment<Pg> for ContainsWords {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("\"records\".\"words\" @@ plainto_tsquery('simple', searchable(");
        out.push_bind_param::<Text, _>(&self.tsquery)?;
        out.push_sql("))");
        Ok(())
    }
}

// The rest tells diesel that this is an ordinary condition on `records`.

impl Expression for ContainsWords {
    type SqlType = Bool;
}

impl<QS> AppearsOnTable<QS> for ContainsWords where records::id: AppearsOnTable<QS> {}

impl<QS> SelectableExpression<QS> for ContainsWords where records::id: SelectableExpression<QS> {}

impl<GB> ValidGrouping<GB> for ContainsWords {
    type IsAggregate = is_aggregate::No;
}

// Two spellings on SQLite: the type alone does not identify the statement.
impl QueryId for ContainsWords {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<String> {
        ContainsWords::parse(text).map(|found| found.tsquery)
    }

    #[test]
    fn everything_but_letters_and_digits_only_separates() {
        assert_eq!(
            words("Rust's  \"async\" OR (tide* -pool):^2"),
            Some("Rust s async OR tide pool 2".to_owned())
        );
        assert_eq!(
            words("naïve Ümlaut 東京"),
            Some("naïve Ümlaut 東京".to_owned())
        );
        assert_eq!(words("nul\0nul 🙂"), Some("nul".to_owned()));
    }

    #[test]
    fn a_text_without_a_findable_word_finds_nothing() {
        for text in ["", "   ", "\"", "* - ' ; --", "\0", "🙂🙂"] {
            assert_eq!(words(text), None, "{text}");
        }
        assert_eq!(words(&"x".repeat(10_000)), None);
    }

    #[test]
    fn the_number_of_words_is_bounded() {
        let text: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let found = words(&text.join(" ")).unwrap();
        assert_eq!(found.split(' ').count(), WORDS_MAX);
    }
}
