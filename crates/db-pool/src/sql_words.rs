//! SQL text cut into words, so that names in strings and comments are never taken for SQL; and safe quoting.

use std::ops::Range;

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
    placed(sql).into_iter().map(|(word, _)| word).collect()
}

/// The words of `sql` and the bytes that they stand for.
pub(crate) fn placed(sql: &str) -> Vec<(Word, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let length = match first {
            _ if first.is_whitespace() => first.len_utf8(),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            _ => {
                let (word, length) = word(rest, first);
                found.push((word, at..at + length));
                length
            }
        };
        at += length;
    }
    found
}

/// The first word of `rest` and its length; `rest` begins with `first`, which begins a word.
fn word(rest: &str, first: char) -> (Word, usize) {
    let escapes = matches!(first, 'e' | 'E') && rest[1..].starts_with('\'');
    match first {
        '\'' => quoted(rest, '\'', false).map_word(Word::Text),
        _ if escapes => {
            let (text, length) = quoted(&rest[1..], '\'', true);
            (Word::Text(text), length + 1)
        }
        '"' | '`' => quoted(rest, first, false).map_word(Word::Quoted),
        '$' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => numbered(rest),
        '$' => dollar(rest),
        '?' => numbered(rest),
        ':' if !rest.starts_with("::") && rest[1..].starts_with(is_name) => named(rest),
        '@' if rest[1..].starts_with(is_name) => named(rest),
        _ if first.is_ascii_digit() => {
            let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
            (Word::Number(rest[..length].to_owned()), length)
        }
        _ if is_name(first) => {
            let length = run(rest, |c| is_name(c) || c == '$');
            (Word::Plain(rest[..length].to_lowercase()), length)
        }
        _ if OPERATOR.contains(first) => {
            let length = operator(rest);
            (Word::Sign(rest[..length].to_owned()), length)
        }
        _ => (Word::Sign(first.to_string()), first.len_utf8()),
    }
}

trait MapWord {
    fn map_word(self, make: impl FnOnce(String) -> Word) -> (Word, usize);
}

impl MapWord for (String, usize) {
    fn map_word(self, make: impl FnOnce(String) -> Word) -> (Word, usize) {
        (make(self.0), self.1)
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn run(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

/// Comments may hold comments, as in PostgreSQL.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        let step = if here.starts_with(b"/*") {
            depth += 1;
            2
        } else if here.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// What stands in quotes, where a doubled quote is one, and the length with the quotes.
fn quoted(rest: &str, quote: char, escapes: bool) -> (String, usize) {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            text.extend(chars.next().map(|(_, c)| c));
        } else if c != quote {
            text.push(c);
        } else if chars.next_if(|(_, c)| *c == quote).is_some() {
            text.push(quote);
        } else {
            return (text, at + 1);
        }
    }
    (text, rest.len())
}

fn numbered(rest: &str) -> (Word, usize) {
    let digits = run(&rest[1..], |c| c.is_ascii_digit());
    (Word::Value(rest[1..=digits].parse().ok()), digits + 1)
}

fn named(rest: &str) -> (Word, usize) {
    (Word::Value(None), 1 + run(&rest[1..], is_name))
}

/// `$tag$ text $tag$`, or a value with a name as SQLite has them.
fn dollar(rest: &str) -> (Word, usize) {
    let tag = 1 + run(&rest[1..], is_name);
    if !rest[tag..].starts_with('$') {
        return if tag > 1 {
            (Word::Value(None), tag)
        } else {
            (Word::Sign("$".to_owned()), 1)
        };
    }
    let fence = &rest[..=tag];
    let body = &rest[fence.len()..];
    match body.find(fence) {
        Some(end) => (Word::Text(body[..end].to_owned()), end + 2 * fence.len()),
        None => (Word::Text(body.to_owned()), rest.len()),
    }
}

/// The length of an operator, which ends where a comment begins.
fn operator(rest: &str) -> usize {
    let length = run(rest, |c| OPERATOR.contains(c));
    let end = ["--", "/*"]
        .iter()
        .filter_map(|begin| rest[..length].find(begin))
        .min();
    end.unwrap_or(length).max(1)
}

const OPERATOR: &str = "+-*/<>=~!@#%^&|:";

/// A name in quotes, whatever it holds, as both databases read it.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
            ("x<>--c\ny", "x <> y"),
            ("`a` [b]", "<a> [ b ]"),
            ("'never ends", "'never ends'"),
            ("É = 'ü'", "é = 'ü'"),
            ("", ""),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[test]
    fn quoting_survives_hostile_names() {
        assert_eq!(
            quote("a\"; DROP TABLE b; --"),
            "\"a\"\"; DROP TABLE b; --\""
        );
        assert_eq!(words(&quote("a\"b")), [Word::Quoted("a\"b".to_owned())]);
    }
}
