//! What lies in Redis under a key: a head of fixed width that scripts can compare, then the envelope.

use bytes::{BufMut, Bytes, BytesMut};

use crate::coherence::Version;

/// A value or tombstone as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    Value {
        version: Version,
        /// Everything older than this is stale.
        soft: Version,
        envelope: Bytes,
    },
    Tombstone,
}

/// Reads strictly: foreign bytes are `None`.
pub(super) fn parse(bytes: &Bytes) -> Option<Stored> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let version = digits(&head[1..1 + DIGITS])?;
    let soft = digits(&head[1 + DIGITS..])?;
    match head[0] {
        b'V' => Some(Stored::Value {
            version,
            soft,
            envelope: bytes.slice(HEAD..),
        }),
        b'T' if rest.is_empty() => Some(Stored::Tombstone),
        _ => None,
    }
}

/// The bytes of a value.
pub(super) fn value(version: Version, envelope: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD + envelope.len());
    bytes.put_u8(b'V');
    bytes.put_slice(padded(version).as_bytes());
    bytes.put_slice(padded(Version(0)).as_bytes());
    bytes.put_slice(envelope);
    bytes.freeze()
}

/// A version as the scripts want it.
pub(super) fn padded(version: Version) -> String {
    format!("{:0DIGITS$}", version.0.min(VERSION_MAX))
}

fn digits(text: &[u8]) -> Option<Version> {
    let mut number = 0_u64;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        // 17 digits cannot overflow.
        number = number * 10 + u64::from(byte - b'0');
    }
    (number <= VERSION_MAX).then_some(Version(number))
}

/// The last integer that a double holds like all before it.
pub(super) const VERSION_MAX: u64 = (1 << 53) - 1;
const DIGITS: usize = 17;
const HEAD: usize = 1 + 2 * DIGITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written() {
        for version in [0, 1, VERSION_MAX] {
            let version = Version(version);
            let bytes = value(version, b"envelope");
            let expected = Stored::Value {
                version,
                soft: Version(0),
                envelope: Bytes::from_static(b"envelope"),
            };
            assert_eq!(parse(&bytes), Some(expected));
        }
    }

    #[test]
    fn foreign_bytes_are_no_value() {
        let nines = "9".repeat(17);
        let zeros = "0".repeat(17);
        let foreign = [
            String::new(),
            "V".to_owned(),
            format!("V{zeros}"),
            format!("V{zeros}{}", "0".repeat(16)),
            format!("v{zeros}{zeros}x"),
            format!("V{nines}{zeros}x"),
            format!("V{zeros}{nines}x"),
            format!("V{zeros}{}+0", "0".repeat(15)),
            format!("T{zeros}{zeros}x"),
            "x".repeat(200),
        ];
        for text in foreign {
            assert_eq!(parse(&Bytes::from(text.clone())), None, "{text}");
        }
        let tombstone = Bytes::from(format!("T{zeros}{zeros}"));
        assert_eq!(parse(&tombstone), Some(Stored::Tombstone));
    }
}
