//! A place in PostgreSQL's write-ahead log: what a commit hands out and a replica must have reached.

use std::fmt;
use std::str::FromStr;

/// A place in the write-ahead log of PostgreSQL; later places are greater.
///
/// Shown and parsed as the server writes it, two hexadecimal halves: `16/B374D848`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// The place so many bytes after the beginning of the log.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The distance from the beginning of the log, in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The text is no place in a write-ahead log; `16/B374D848` would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a write-ahead log; expected two hexadecimal numbers as in `16/B374D848`")]
pub struct LsnError;

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let (high, low) = text.split_once('/').ok_or(LsnError)?;
        let half = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            match u32::from_str_radix(digits, 16) {
                Ok(number) if plain => Ok(u64::from(number)),
                _ => Err(LsnError),
            }
        };
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_as_written_and_keep_their_order() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(
                text.parse::<Lsn>().map(|lsn| lsn.to_string()),
                Ok(text.to_owned())
            );
        }
        assert!("1/0".parse::<Lsn>().ok() > "0/FFFFFFFF".parse::<Lsn>().ok());
        for text in ["", "1", "/", "1/", "+1/2", "1/123456789", "g/0"] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnError), "{text}");
        }
    }
}
