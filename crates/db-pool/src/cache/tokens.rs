//! The words, names, literals and symbols of a statement: just enough to see which tables it names.
//!
//! What cannot be read for certain is an error, which the rest of the cache takes as "may touch every table".

use crate::sql::{PieceKind, pieces};
use crate::url::BackendKind;

/// One piece of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A bare word: a keyword or a name.
    Word(&'a str),
    /// A quoted name, without its quotes.
    Quoted(String),
    /// A string, a number or a parameter.
    Literal,
    /// Anything else; of an operator its first character.
    Symbol(char),
}

impl Token<'_> {
    /// Whether it is this keyword; `keyword` is in capitals.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// The name that it may be, as the cache compares names.
    pub(super) fn name(&self) -> Option<Box<str>> {
        match self {
            Self::Word(word) => Some(normal(word)),
            Self::Quoted(name) => Some(normal(name)),
            Self::Literal | Self::Symbol(_) => None,
        }
    }
}

/// The text cannot be read for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Names are compared without case, and as far as PostgreSQL keeps them: two tables may then count as one, which
/// costs a result now and then; one table can never count as two.
pub(super) fn normal(name: &str) -> Box<str> {
    let mut lower = name.to_lowercase();
    let end = (0..=NAME_BYTES.min(lower.len()))
        .rev()
        .find(|at| lower.is_char_boundary(*at));
    lower.truncate(end.unwrap_or(0));
    lower.into_boxed_str()
}

/// All tokens of `sql`.
///
/// # Errors
/// [`Unreadable`] where something is not closed or its meaning depends on a setting of the server.
pub(super) fn tokens(sql: &str, kind: BackendKind) -> Result<Vec<Token<'_>>, Unreadable> {
    let mut all = Vec::with_capacity(sql.len() / 5);
    for piece in pieces(sql, Some(kind)) {
        if !piece.sure {
            return Err(Unreadable);
        }
        all.push(match piece.kind {
            PieceKind::Comment => continue,
            PieceKind::Word => Token::Word(piece.text),
            PieceKind::Quoted => Token::Quoted(piece.said()),
            PieceKind::Text | PieceKind::Number | PieceKind::Value => Token::Literal,
            PieceKind::Sign => Token::Symbol(piece.text.chars().next().unwrap_or_default()),
        });
    }
    Ok(all)
}

/// What PostgreSQL keeps of a name.
const NAME_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str, kind: BackendKind) -> Vec<String> {
        let all = tokens(sql, kind).expect("readable");
        all.iter()
            .filter_map(|token| Some(token.name()?.into_string()))
            .collect()
    }

    #[test]
    fn names_inside_comments_and_strings_are_no_names() {
        let sql = "select a/* x /* y */ z */ -- b\n, 'c''d' , \"E\"\"f\" from $t$ g $$ h $t$, $1, e'\\'i'";
        let seen = names(sql, BackendKind::Postgres);
        assert_eq!(seen, ["select", "a", "e\"f", "from"]);
        let sql = "select [a b], `c`, ?1, :d, @e, $f /* /* */ from g, x'00'";
        let seen = names(sql, BackendKind::Sqlite);
        assert_eq!(seen, ["select", "a b", "c", "from", "g"]);
    }

    #[test]
    fn what_is_not_closed_or_ambiguous_is_unreadable() {
        for sql in [
            "'a", "\"a", "/* /* */", "$a$ $b$", "'\\'", "U&\"a\"", "1FROM t",
        ] {
            assert_eq!(tokens(sql, BackendKind::Postgres), Err(Unreadable), "{sql}");
        }
        assert_eq!(tokens("[a", BackendKind::Sqlite), Err(Unreadable));
    }

    #[test]
    fn names_compare_without_case_and_as_far_as_postgres_keeps_them() {
        assert_eq!(&*normal("Users"), "users");
        assert_eq!(normal(&"é".repeat(40)).len(), 62);
        assert_eq!(&*normal(""), "");
    }
}
