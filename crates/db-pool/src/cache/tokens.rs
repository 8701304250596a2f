//! Cuts SQL text into words, names, literals and symbols: just enough to see which tables a statement names.
//!
//! Exact about what can hide or fake a name: comments, strings, quoted names, dollar quotes. What it cannot read for
//! certain is an error, which the rest of the cache takes as "may touch every table".

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
    /// Anything else, one character each.
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
    let mut scanner = Scanner {
        sql,
        at: 0,
        postgres: kind == BackendKind::Postgres,
    };
    let mut all = Vec::with_capacity(sql.len() / 5);
    while let Some(token) = scanner.next()? {
        all.push(token);
    }
    Ok(all)
}

struct Scanner<'a> {
    sql: &'a str,
    /// Always a character boundary.
    at: usize,
    postgres: bool,
}

impl<'a> Scanner<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, Unreadable> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.peek() else {
            return Ok(None);
        };
        let token = match first {
            '\'' => self.string(false)?,
            '"' => Token::Quoted(self.quoted('"')?),
            '`' if !self.postgres => Token::Quoted(self.quoted('`')?),
            '[' if !self.postgres => Token::Quoted(self.quoted(']')?),
            '$' => self.dollar()?,
            '?' | ':' | '@' if !self.postgres => {
                self.bump();
                self.word();
                Token::Literal
            }
            _ if first.is_ascii_digit() => {
                // What follows a number directly, as in `1e5` or `0x1f`, belongs to it.
                self.word();
                Token::Literal
            }
            _ if is_name(first) => {
                let word = self.word();
                return self.prefixed(word, start).map(Some);
            }
            _ => {
                self.bump();
                Token::Symbol(first)
            }
        };
        Ok(Some(token))
    }

    /// A word, unless it turns out to be the prefix of a string or of a quoted name.
    fn prefixed(&mut self, word: &'a str, start: usize) -> Result<Token<'a>, Unreadable> {
        let next = self.peek();
        if self.postgres && word.eq_ignore_ascii_case("u") && next == Some('&') {
            let quote = self.sql[start..].chars().nth(2);
            if matches!(quote, Some('\'' | '"')) {
                return Err(Unreadable); // escapes of its own
            }
        }
        if next == Some('\'') && word.len() == 1 {
            let escapes = self.postgres && word.eq_ignore_ascii_case("e");
            if escapes || "bBxXnN".contains(word) {
                return self.string(escapes);
            }
        }
        Ok(Token::Word(word))
    }

    fn skip_blanks(&mut self) -> Result<(), Unreadable> {
        loop {
            let rest = &self.sql[self.at..];
            if rest.starts_with("--") {
                let ends = |next| next == '\n' || (next == '\r' && self.postgres);
                self.at += rest.find(ends).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.block_comment()?;
            } else if rest.starts_with(is_blank) {
                self.bump();
            } else {
                return Ok(());
            }
        }
    }

    /// PostgreSQL's nest, SQLite's do not.
    fn block_comment(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        loop {
            let rest = &self.sql[self.at..];
            if rest.starts_with("/*") && (depth == 0 || self.postgres) {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else if self.bump().is_none() {
                return Err(Unreadable);
            }
        }
    }

    fn string(&mut self, escapes: bool) -> Result<Token<'a>, Unreadable> {
        self.bump();
        let mut before = ' ';
        loop {
            match self.bump().ok_or(Unreadable)? {
                '\\' if escapes => {
                    self.bump();
                }
                // Its meaning hangs on `standard_conforming_strings`.
                '\'' if before == '\\' && self.postgres && !escapes => return Err(Unreadable),
                '\'' if self.peek() == Some('\'') => {
                    self.bump();
                }
                '\'' => return Ok(Token::Literal),
                other => before = other,
            }
        }
    }

    fn quoted(&mut self, close: char) -> Result<String, Unreadable> {
        self.bump();
        let mut name = String::new();
        loop {
            let next = self.bump().ok_or(Unreadable)?;
            if next == close {
                // Brackets cannot be doubled.
                if close == ']' || self.peek() != Some(close) {
                    return Ok(name);
                }
                self.bump();
            }
            name.push(next);
        }
    }

    /// A parameter, or in PostgreSQL a string between two equal `$tag$`.
    fn dollar(&mut self) -> Result<Token<'a>, Unreadable> {
        let start = self.at;
        self.bump();
        if self.postgres && !self.peek().is_some_and(|next| next.is_ascii_digit()) {
            while self.peek().is_some_and(|next| is_name(next) && next != '$') {
                self.bump();
            }
            if self.peek() != Some('$') {
                return Ok(Token::Symbol('$'));
            }
            self.bump();
            let tag = &self.sql[start..self.at];
            let end = self.sql[self.at..].find(tag).ok_or(Unreadable)?;
            self.at += end + tag.len();
        } else {
            self.word();
        }
        Ok(Token::Literal)
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.sql[self.at..];
        let length = rest.find(|next| !is_name(next)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn peek(&self) -> Option<char> {
        self.sql[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }
}

/// Other blanks of Unicode are parts of names to both databases.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Both databases take every character above ASCII as part of a name.
fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
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
        for sql in ["'a", "\"a", "/* /* */", "$a$ $b$", "'\\'", "U&\"a\""] {
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

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "(?s).{0,80}", quotes in "['\"$`\\[\\]/*eEuU&\\\\ -]{0,40}") {
            for kind in [BackendKind::Postgres, BackendKind::Sqlite] {
                for text in [&sql, &quotes, &format!("{quotes}{sql}")] {
                    let _ = tokens(text, kind);
                }
            }
        }
    }
}
