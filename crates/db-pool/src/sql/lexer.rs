//! SQL cut into pieces: the one place that knows where a string, a comment, a quoted name or a value begins and ends.
//!
//! Allocates nothing, never panics and takes time in proportion to the text. Every byte that is no blank belongs to
//! exactly one piece, so a question asked of the pieces cannot be misled by what stands in a string or a comment.

use crate::url::BackendKind;

/// What a [`Piece`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Comment,
    /// A keyword or a name without quotes.
    Word,
    /// A name in quotes.
    Quoted,
    /// A string.
    Text,
    Number,
    /// A place for a value: `$1`, `?`, `?2`, `:name`, `@name`, `$name`.
    Value,
    /// An operator, or one bracket, comma, dot or semicolon.
    Sign,
}

/// One piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: PieceKind,
    /// As it stands in the statement, with quotes.
    pub(crate) text: &'a str,
    /// Its first byte in the statement.
    pub(crate) at: usize,
    /// Whether the database surely reads it like this: it is closed, and hangs on no setting or version of the server.
    pub(crate) sure: bool,
}

impl Piece<'_> {
    /// Whether it is this word, in whatever case.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == PieceKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// What a string or a quoted name says; escapes other than quotes and backslashes stay as they are.
    pub(crate) fn said(&self) -> String {
        if self.text.starts_with('$') {
            let fence = self.text[1..].find('$').map_or(0, |end| end + 2);
            let (fence, body) = self.text.split_at(fence);
            return body.strip_suffix(fence).unwrap_or(body).to_owned();
        }
        let Some(open) = self.text.find(['\'', '"', '`', '[']) else {
            return self.text.to_owned();
        };
        let escapes = self.text.starts_with(['e', 'E']);
        let mut chars = self.text[open..].chars().peekable();
        let close = match chars.next() {
            Some('[') => ']',
            Some(quote) => quote,
            None => return String::new(),
        };
        let mut said = String::new();
        while let Some(next) = chars.next() {
            if next == '\\' && escapes {
                said.extend(chars.next());
            } else if next != close || chars.next_if_eq(&close).is_some() {
                said.push(next);
            } else {
                break;
            }
        }
        said
    }
}

/// The pieces of `sql` as this database reads it; `None` where it may be either.
pub(crate) fn pieces(sql: &str, backend: Option<BackendKind>) -> Pieces<'_> {
    Pieces {
        sql,
        at: 0,
        postgres: backend != Some(BackendKind::Sqlite),
        sqlite: backend != Some(BackendKind::Postgres),
    }
}

/// The pieces from here on; see [`pieces`].
pub(crate) struct Pieces<'a> {
    sql: &'a str,
    /// Always the boundary of a character: only bytes of ASCII begin and end pieces, all others are parts of names.
    at: usize,
    /// It may be PostgreSQL's.
    postgres: bool,
    /// It may be SQLite's.
    sqlite: bool,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        self.at += run(&self.sql.as_bytes()[self.at..], is_blank);
        let rest = &self.sql[self.at..];
        let cut = self.first(rest)?;
        let piece = Piece {
            kind: cut.kind,
            text: &rest[..cut.length],
            at: self.at,
            sure: cut.sure,
        };
        self.at += cut.length;
        Some(piece)
    }
}

/// Where the first piece ends.
struct Cut {
    kind: PieceKind,
    length: usize,
    sure: bool,
}

impl Cut {
    fn sure(kind: PieceKind, length: usize) -> Self {
        Self {
            kind,
            length,
            sure: true,
        }
    }
}

impl Pieces<'_> {
    fn first(&self, rest: &str) -> Option<Cut> {
        use PieceKind::{Comment, Quoted, Sign, Value, Word};
        let bytes = rest.as_bytes();
        let cut = match *bytes {
            [] => return None,
            [b'-', b'-', ..] => {
                let ends = |byte| byte == b'\n' || (byte == b'\r' && !self.sqlite);
                Cut::sure(Comment, run(bytes, |byte| !ends(byte)))
            }
            [b'/', b'*', ..] => self.block_comment(bytes),
            [b'\'', ..] => self.string(bytes, 1, false),
            [b'e' | b'E', b'\'', ..] if self.postgres => self.string(bytes, 2, true),
            [b'b' | b'B' | b'n' | b'N' | b'x' | b'X', b'\'', ..] => self.string(bytes, 2, false),
            // Escapes of its own.
            [b'u' | b'U', b'&', b'\'', ..] if self.postgres => Cut {
                sure: false,
                ..self.string(bytes, 3, false)
            },
            [b'u' | b'U', b'&', b'"', ..] if self.postgres => Cut {
                sure: false,
                ..quoted(Quoted, bytes, 3, b'"', false)
            },
            [b'"', ..] => quoted(Quoted, bytes, 1, b'"', false),
            [b'`', ..] if self.sqlite => quoted(Quoted, bytes, 1, b'`', false),
            [b'[', ..] if !self.postgres => bracketed(bytes),
            [b'$', ..] => self.dollar(rest),
            [b'?', ..] if self.sqlite => {
                Cut::sure(Value, 1 + run(&bytes[1..], |byte| byte.is_ascii_digit()))
            }
            [b':', b':' | b'=', ..] => Cut::sure(Sign, 2),
            [b':' | b'@', next, ..] if self.sqlite && is_name(next) => {
                Cut::sure(Value, 1 + run(&bytes[1..], is_name))
            }
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => number(bytes),
            [first, ..] if is_name(first) => Cut::sure(Word, run(bytes, is_name)),
            [first, ..] if is_operator(first) => Cut::sure(Sign, self.operator(bytes)),
            _ => Cut::sure(Sign, 1),
        };
        Some(cut)
    }

    /// PostgreSQL's comments nest, SQLite's do not.
    fn block_comment(&self, bytes: &[u8]) -> Cut {
        let (mut depth, mut at) = (1_usize, 2);
        while depth > 0 && at < bytes.len() {
            match bytes[at..] {
                [b'/', b'*', ..] if self.postgres => (depth, at) = (depth + 1, at + 2),
                [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
        }
        Cut {
            kind: PieceKind::Comment,
            length: at,
            sure: depth == 0,
        }
    }

    /// A string whose text begins at `from`.
    fn string(&self, bytes: &[u8], from: usize, escapes: bool) -> Cut {
        let cut = quoted(PieceKind::Text, bytes, from, b'\'', escapes);
        // Where such a string ends hangs on `standard_conforming_strings`.
        let unsure =
            self.postgres && !escapes && bytes[..cut.length].windows(2).any(|two| two == b"\\'");
        Cut {
            sure: cut.sure && !unsure,
            ..cut
        }
    }

    /// `$1`, `$name`, or a string between two equal `$tag$`.
    fn dollar(&self, rest: &str) -> Cut {
        let bytes = &rest.as_bytes()[1..];
        let digits = run(bytes, |byte| byte.is_ascii_digit());
        if digits > 0 {
            let length = run(bytes, is_name);
            return Cut {
                kind: PieceKind::Value,
                length: 1 + length,
                sure: length == digits,
            };
        }
        let tag = run(bytes, |byte| is_name(byte) && byte != b'$');
        if self.postgres && bytes.get(tag) == Some(&b'$') {
            let (fence, body) = rest.split_at(tag + 2);
            let end = body.find(fence);
            return Cut {
                kind: PieceKind::Text,
                length: end.map_or(rest.len(), |end| end + 2 * fence.len()),
                sure: end.is_some(),
            };
        }
        if self.sqlite && tag > 0 {
            return Cut::sure(PieceKind::Value, 1 + run(bytes, is_name));
        }
        Cut::sure(PieceKind::Sign, 1)
    }

    /// An operator ends where a comment or a value with a name begins.
    fn operator(&self, bytes: &[u8]) -> usize {
        let mut at = 1;
        while at < bytes.len() && is_operator(bytes[at]) {
            match bytes[at..] {
                [b'-', b'-', ..] | [b'/', b'*', ..] => break,
                // Nearly always `column=@name`; PostgreSQL has `<@`, `|@|` and others.
                [b'@', next, ..] if self.sqlite && is_name(next) => {
                    if !self.postgres || bytes[at - 1] == b'=' {
                        break;
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
        at
    }
}

/// What stands in quotes from `from` on, where a doubled quote is one.
fn quoted(kind: PieceKind, bytes: &[u8], from: usize, quote: u8, escapes: bool) -> Cut {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte != quote => at += 1,
            _ if bytes.get(at + 1) == Some(&quote) => at += 2,
            _ => return Cut::sure(kind, at + 1),
        }
    }
    Cut {
        kind,
        length: bytes.len(),
        sure: false,
    }
}

/// A name in brackets, which cannot be doubled.
fn bracketed(bytes: &[u8]) -> Cut {
    let length = run(bytes, |byte| byte != b']');
    Cut {
        kind: PieceKind::Quoted,
        length: (length + 1).min(bytes.len()),
        sure: length < bytes.len(),
    }
}

/// A number with whatever follows it directly: older servers take `1FROM` for two words, others for an error.
fn number(bytes: &[u8]) -> Cut {
    let digits =
        |from: usize| from + run(&bytes[from..], |byte| byte.is_ascii_digit() || byte == b'_');
    let mut at = match *bytes {
        [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', digit, ..] if digit.is_ascii_hexdigit() => {
            2 + run(&bytes[2..], |byte| byte.is_ascii_hexdigit() || byte == b'_')
        }
        _ => digits(0),
    };
    let mut sure = true;
    match bytes[at..] {
        [b'.', b'.', ..] => {}
        [b'.', next, ..] if is_name(next) && !next.is_ascii_digit() => sure = false,
        [b'.', ..] => at = digits(at + 1),
        _ => {}
    }
    match bytes[at..] {
        [b'e' | b'E', b'0'..=b'9', ..] => at = digits(at + 1),
        [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..] => at = digits(at + 2),
        _ => {}
    }
    let more = run(&bytes[at..], is_name);
    Cut {
        kind: PieceKind::Number,
        length: at + more,
        sure: sure && more == 0,
    }
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

/// Other blanks of Unicode are parts of names to both databases.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// Both databases take every character above ASCII as part of a name.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EITHER: [Option<BackendKind>; 3] =
        [None, Some(BackendKind::Postgres), Some(BackendKind::Sqlite)];

    /// One line of kind and text for each piece; `?` behind what is not sure.
    fn shown(sql: &str, backend: Option<BackendKind>) -> String {
        let one = |piece: Piece<'_>| {
            let kind = match piece.kind {
                PieceKind::Comment => "-",
                PieceKind::Word => "w",
                PieceKind::Quoted => "q",
                PieceKind::Text => "t",
                PieceKind::Number => "n",
                PieceKind::Value => "v",
                PieceKind::Sign => "s",
            };
            let sure = if piece.sure { "" } else { "?" };
            format!("{kind}{sure}\u{b7}{}", piece.text)
        };
        pieces(sql, backend).map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_both_databases_read_alike() {
        for (sql, expected) in [
            ("a.\"B\"\"c\"", "w·a s·. q·\"B\"\"c\""),
            ("a='it''s -- no'--yes", "w·a s·= t·'it''s -- no' -·--yes"),
            (
                "1.5e-3>=-2,.5 7. 0x1F",
                "n·1.5e-3 s·>=- n·2 s·, n·.5 n·7. n·0x1F",
            ),
            ("1FROM t 1.FROM 1e", "n?·1FROM w·t n?·1 s·. w·FROM n?·1e"),
            ("x<>--c\ny", "w·x s·<> -·--c w·y"),
            ("'open", "t?·'open"),
            ("\"open", "q?·\"open"),
            ("a /*", "w·a -?·/*"),
            ("É\u{a0}ü", "w·É\u{a0}ü"),
            ("X'ff' date'x'", "t·X'ff' w·date t·'x'"),
            ("(*),;\0", "s·( s·* s·) s·, s·; s·\0"),
            ("", ""),
        ] {
            for backend in EITHER {
                assert_eq!(shown(sql, backend), expected, "{sql} {backend:?}");
            }
        }
    }

    #[test]
    fn what_only_one_of_them_reads_so() {
        let (postgres, sqlite) = (EITHER[1], EITHER[2]);
        for (sql, backend, expected) in [
            ("/* /* */ x */ y", postgres, "-·/* /* */ x */ w·y"),
            ("/* /* */ x */ y", sqlite, "-·/* /* */ w·x s·*/ w·y"),
            ("--a\rb", postgres, "-·--a w·b"),
            ("--a\rb", sqlite, "-·--a\rb"),
            (r"E'a\'b' 'a\'", postgres, r"t·E'a\'b' t?·'a\'"),
            (r"'a\'", sqlite, r"t·'a\'"),
            ("U&'a' u&\"b\"", postgres, "t?·U&'a' q?·u&\"b\""),
            ("$$a$b$$ $x$'$x$ $1", postgres, "t·$$a$b$$ t·$x$'$x$ v·$1"),
            ("$1a $y$ never", postgres, "v?·$1a t?·$y$ never"),
            ("$", postgres, "s·$"),
            ("$x @y :z ?1 ?", sqlite, "v·$x v·@y v·:z v·?1 v·?"),
            ("a=@b=:c", sqlite, "w·a s·= v·@b s·= v·:c"),
            ("a=@b=:c", None, "w·a s·= v·@b s·= v·:c"),
            (
                "a<@b::c ?| d",
                postgres,
                "w·a s·<@ w·b s·:: w·c s·? s·| w·d",
            ),
            ("a<@b::c", None, "w·a s·<@ w·b s·:: w·c"),
            ("[a]]b `c``d`", sqlite, "q·[a] s·] w·b q·`c``d`"),
            ("[1]", postgres, "s·[ n·1 s·]"),
            ("[open", sqlite, "q?·[open"),
        ] {
            assert_eq!(shown(sql, backend), expected, "{sql}");
        }
    }

    #[test]
    fn a_string_and_a_quoted_name_say_what_is_inside() {
        for (sql, said) in [
            ("'it''s'", "it's"),
            (r"e'a\'b'", "a'b"),
            ("x'00'", "00"),
            ("$t$a'$t$", "a'"),
            ("$t$a", "a"),
            ("$$", ""),
            ("\"a\"\"b\"", "a\"b"),
            ("U&\"a\"", "a"),
            ("`a`", "a"),
            ("'open", "open"),
            ("'", ""),
        ] {
            let piece = pieces(sql, None).next().expect("a piece");
            assert_eq!(piece.said(), said, "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_byte_but_blanks_is_in_one_piece(
            sql in "(?s).{0,60}",
            quotes in "['\"$`\\[\\]/*eEuUxX&\\\\ \r\n:@?.1a-]{0,60}",
        ) {
            for backend in EITHER {
                for text in [&sql, &quotes, &format!("{quotes}{sql}{quotes}")] {
                    let mut end = 0;
                    for piece in pieces(text, backend) {
                        proptest::prop_assert!(text[end..piece.at].bytes().all(is_blank));
                        proptest::prop_assert!(!piece.text.is_empty());
                        end = piece.at + piece.text.len();
                        let _ = piece.said();
                    }
                    proptest::prop_assert!(text[end..].bytes().all(is_blank));
                }
            }
        }

        #[test]
        fn a_quoted_name_is_one_piece_that_says_the_name(name in "(?s).{1,40}") {
            for backend in EITHER {
                let sql = crate::sql::quote(&name);
                let all: Vec<_> = pieces(&sql, backend).collect();
                proptest::prop_assert_eq!(all.len(), 1);
                proptest::prop_assert_eq!(all[0].said(), name.clone());
            }
        }
    }
}
