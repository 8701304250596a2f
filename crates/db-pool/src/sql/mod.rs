//! SQL text: one lexer, and the questions that are asked of it. What only one part asks stands in that part.

mod lexer;
mod normal;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod words;

pub(crate) use self::lexer::{Piece, PieceKind, pieces};
pub(crate) use self::normal::{Kind, kind, normal, summary};
#[cfg(feature = "postgres")]
pub(crate) use self::words::numbered_values;
#[cfg(any(feature = "advice", feature = "sqlite"))]
pub(crate) use self::words::placed;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use self::words::{Word, words};

/// A name in quotes, whatever it holds, as both databases read it.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
