//! The words of a SQL text, so that names in strings and comments are never taken for SQL.

use super::lexer::{Piece, PieceKind, pieces};
#[cfg(feature = "postgres")]
use crate::url::BackendKind;

/// One word of a SQL text. Comments and white space are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A keyword or a name without quotes, in lower case.
    Plain(String),
    /// A name in quotes, as it is.
    Quoted(String),
    /// A string, without its quotes.
    Text(String),
    Number(String),
    /// A place for a value: `$1`, `?`, `?2`, `:name`; the number that it names, if it names one.
    Value(Option<u32>),
    /// An operator, or one bracket, comma, dot or semicolon.
    Sign(String),
}

impl Word {
    /// Whether it is this keyword, given in lower case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Plain(word) if word == keyword)
    }

    pub(crate) fn is_sign(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(it) if it == sign)
    }

    /// The name that it may be.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Plain(name) | Self::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// The words of `sql`. What is not SQL gives words too; a quote that never ends reaches to the end of the text.
pub(crate) fn words(sql: &str) -> Vec<Word> {
    pieces(sql, None).filter_map(word).collect()
}

/// The words of `sql` and the bytes that they stand for.
#[cfg(any(feature = "advice", feature = "sqlite"))]
pub(crate) fn placed(sql: &str) -> Vec<(Word, std::ops::Range<usize>)> {
    pieces(sql, None)
        .filter_map(|piece| Some((word(piece)?, piece.at..piece.at + piece.text.len())))
        .collect()
}

/// How many values a PostgreSQL statement takes: the highest number behind a `$`.
#[cfg(feature = "postgres")]
pub(crate) fn numbered_values(sql: &str) -> usize {
    let number = |piece: Piece<'_>| match piece.kind {
        PieceKind::Value => piece.text[1..].parse().ok(),
        _ => None,
    };
    let all = pieces(sql, Some(BackendKind::Postgres)).filter_map(number);
    // The protocol carries no more.
    all.max().unwrap_or(0).min(usize::from(u16::MAX))
}

fn word(piece: Piece<'_>) -> Option<Word> {
    Some(match piece.kind {
        PieceKind::Comment => return None,
        PieceKind::Word => Word::Plain(piece.text.to_lowercase()),
        PieceKind::Quoted => Word::Quoted(piece.said()),
        PieceKind::Text => Word::Text(piece.said()),
        PieceKind::Number => Word::Number(piece.text.to_owned()),
        PieceKind::Value => Word::Value(piece.text[1..].parse().ok()),
        PieceKind::Sign => Word::Sign(piece.text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sql: &str) -> String {
        let one = |word: &Word| match word {
            Word::Plain(it) => it.clone(),
            Word::Quoted(it) => format!("<{it}>"),
            Word::Text(it) => format!("'{it}'"),
            Word::Number(it) => format!("#{it}"),
            Word::Value(it) => format!("${}", it.map(|n| n.to_string()).unwrap_or_default()),
            Word::Sign(it) => it.clone(),
        };
        words(sql).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strings_comments_and_quoted_names_are_told_from_sql() {
        for (sql, expected) in [
            ("SELECT a.\"B \"\"c\" FROM t", "select a . <B \"c> from t"),
            ("a='it''s -- no'--yes\n=b", "a = 'it's -- no' = b"),
            ("/* a /* b */ c */ x /*", "x"),
            (r"E'a\'b' 'a\'", r"'a'b' 'a\'"),
            ("$$a$b$$ $x$ 'y' $x$ $1 $name", "'a$b' ' 'y' ' $1 $"),
            ("? ?2 :id @id a::text", "$ $2 $ $ a :: text"),
            ("1.5e3>=-2", "#1.5e3 >=- #2"),
            ("a=:b AND x'ff'", "a = $ and 'ff'"),
            ("x<>--c\ny", "x <> y"),
            ("`a` [b]", "<a> [ b ]"),
            ("'never ends", "'never ends'"),
            ("É = 'ü'", "é = 'ü'"),
            ("", ""),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn places_for_values_are_counted_where_they_are_places() {
        for (sql, count) in [
            ("SELECT $2, $1, $2", 2),
            (
                "SELECT '$9', $$ $8 $$, \"$7\" -- $6\n /* $5 /* */ $4 */ , $3::text, a$4",
                3,
            ),
            ("SELECT 1", 0),
            ("SELECT $4000000000", 65_535),
        ] {
            assert_eq!(numbered_values(sql), count, "{sql}");
        }
    }
}
