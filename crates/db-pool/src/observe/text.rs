//! The hash of a statement and of its values, taken while diesel writes them.

use std::fmt::{self, Write};

/// Hashes text that is written into it, without keeping it.
///
/// diesel writes a statement in one piece, followed by its values in pieces of their own, so the first piece alone
/// is the statement.
pub(crate) struct TextHash {
    sql: Option<u64>,
    all: u64,
    left: usize,
}

impl TextHash {
    /// `None` if the text is empty.
    pub(crate) fn of(text: &dyn fmt::Display) -> Option<Self> {
        let mut this = Self {
            sql: None,
            all: SEED,
            left: LONGEST_HASHED,
        };
        // Fails where the values are too long; the hash is then one of their beginning.
        let whole = write!(this, "{text}").is_ok();
        if !whole {
            this.all = fold(this.all, u64::MAX);
        }
        this.sql.is_some().then_some(this)
    }

    /// The hash of the statement alone.
    pub(crate) fn sql(&self) -> u64 {
        self.sql.unwrap_or(SEED)
    }

    /// The hash of the statement with its values; `None` if they are too long to be compared.
    pub(crate) fn with_values(&self) -> Option<u64> {
        (self.left > 0).then_some(self.all)
    }
}

impl Write for TextHash {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if piece.is_empty() {
            return Ok(());
        }
        self.all = hash(self.all, piece.as_bytes());
        if self.sql.is_none() {
            self.sql = Some(self.all);
            return Ok(());
        }
        self.left = self.left.saturating_sub(piece.len());
        if self.left == 0 {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// Not for keys that an enemy chooses: two texts of equal hash would only be counted together.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = fold(seed, bytes.len() as u64);
    for word in words {
        state = fold(state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state, u64::from_le_bytes(last))
}

/// Multiplies to 128 bits and folds the halves, so that every bit reaches every other.
fn fold(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The first digits of pi; any odd numbers would do.
pub(crate) const SEED: u64 = 0x2436_a885_a308_d313;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Values beyond this many bytes of their debug form are not compared: it would cost more than the statement.
const LONGEST_HASHED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_statements_and_values_apart() {
        struct Query<'a>(&'a str, Vec<&'a str>);
        impl fmt::Display for Query<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} -- binds: {:?}", self.0, self.1)
            }
        }
        let of = |sql, values| {
            let hash = TextHash::of(&Query(sql, values)).expect("the text is not empty");
            (hash.sql(), hash.with_values())
        };
        let one = of("SELECT $1", vec!["a"]);
        assert_eq!(one, of("SELECT $1", vec!["a"]));
        assert_eq!(one.0, of("SELECT $1", vec!["b"]).0);
        assert_ne!(one.1, of("SELECT $1", vec!["b"]).1);
        assert_ne!(one.0, of("SELECT $2", vec!["a"]).0);
        assert_eq!(one.0, TextHash::of(&"SELECT $1").expect("not empty").sql());
        assert!(TextHash::of(&"").is_none());
        let long = "x".repeat(LONGEST_HASHED);
        assert_eq!(of("SELECT $1", vec![&long]), (one.0, None));
    }
}
