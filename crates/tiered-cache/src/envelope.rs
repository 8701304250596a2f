//! The bytes that stand for a value in Redis and on disk: our own header, so that foreign, damaged,
//! older or differently typed bytes are a miss, never an error and never a wrong value.
//!
//! ```text
//! 0  magic and layout version     8  checksum of all but itself   16 type fingerprint
//! 24 epoch                        32 origin (who wrote)           40 version of the fill
//! 48 expiry, unix ms              56 length before compression    60 key text, then the value
//! ```

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{hash::checksum, policy::Compression};

/// How one cache turns its values into bytes and back.
pub(crate) struct Codec<V> {
    encode: fn(&V) -> Result<Vec<u8>, postcard::Error>,
    decode: fn(&[u8]) -> Option<V>,
    pub(crate) fingerprint: u64,
    pub(crate) epoch: u64,
    pub(crate) origin: u64,
    pub(crate) compression: Compression,
    pub(crate) compress_above: usize,
    pub(crate) max_value_bytes: usize,
}

/// A value's bytes before it is known which fill they belong to.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    raw_len: u32,
    codec: u8,
}

/// What the header says of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) origin: u64,
    pub(crate) version: u64,
    pub(crate) expires_ms: u64,
}

/// Why a value cannot be kept below memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unkept {
    TooLarge,
    Unencodable,
}

/// Why bytes are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Not ours, damaged, of another type, or under another key.
    Invalid,
    /// Ours, but filled under another epoch or expired.
    Stale,
}

impl<V: Serialize + DeserializeOwned> Codec<V> {
    pub(crate) fn new(fingerprint: u64, epoch: u64, origin: u64, policy: &crate::Policy) -> Self {
        Self {
            encode: |value| postcard::to_stdvec(value),
            // Bytes left over mean that it was another type.
            decode: |bytes| match postcard::take_from_bytes(bytes) {
                Ok((value, [])) => Some(value),
                _ => None,
            },
            fingerprint,
            epoch,
            origin,
            compression: policy.compression,
            compress_above: policy.compress_above,
            max_value_bytes: policy.max_value_bytes,
        }
    }
}

impl<V> Codec<V> {
    pub(crate) fn encode(&self, value: &V) -> Result<Body, Unkept> {
        let bytes = (self.encode)(value).map_err(|_| Unkept::Unencodable)?;
        if bytes.len() > self.max_value_bytes {
            return Err(Unkept::TooLarge);
        }
        let raw_len = u32::try_from(bytes.len()).map_err(|_| Unkept::TooLarge)?;
        if self.compression == Compression::Lz4 && bytes.len() >= self.compress_above {
            let packed = lz4_flex::block::compress(&bytes);
            if packed.len() < bytes.len() {
                return Ok(Body {
                    bytes: packed,
                    raw_len,
                    codec: LZ4,
                });
            }
        }
        Ok(Body {
            bytes,
            raw_len,
            codec: PLAIN,
        })
    }

    pub(crate) fn seal(&self, body: &Body, key: &str, version: u64, expires_ms: u64) -> Bytes {
        let mut out = Vec::with_capacity(HEADER + key.len() + body.bytes.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[body.codec, 0]);
        // Longer keys never come here: `key_text` turns them away.
        let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&key_len.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        for field in [
            self.fingerprint,
            self.epoch,
            self.origin,
            version,
            expires_ms,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&body.raw_len.to_le_bytes());
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&body.bytes);
        let sum = checksum(&[&out[..8], &out[16..]]);
        out[8..16].copy_from_slice(&sum.to_le_bytes());
        Bytes::from(out)
    }

    /// The value and the stamp of its fill; the caller checks the stamp against the floors.
    pub(crate) fn open(&self, bytes: &[u8], key: &str, now_ms: u64) -> Result<(V, Stamp), Reject> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Reject::Invalid)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let key_len = usize::from(u16::from_le_bytes([header[6], header[7]]));
        let raw_len = u32::from_le_bytes([header[56], header[57], header[58], header[59]]) as usize;
        if &header[..4] != MAGIC || word(8) != checksum(&[&bytes[..8], &bytes[16..]]) {
            return Err(Reject::Invalid);
        }
        if word(16) != self.fingerprint || rest.get(..key_len) != Some(key.as_bytes()) {
            return Err(Reject::Invalid);
        }
        let stamp = Stamp {
            origin: word(32),
            version: word(40),
            expires_ms: word(48),
        };
        if word(24) != self.epoch || stamp.expires_ms <= now_ms {
            return Err(Reject::Stale);
        }
        let body = &rest[key_len..];
        let value = match header[4] {
            PLAIN => (self.decode)(body),
            // The length is bounded before anything of that size is allocated.
            LZ4 if raw_len <= self.max_value_bytes => lz4_flex::block::decompress(body, raw_len)
                .ok()
                .and_then(|raw| (self.decode)(&raw)),
            _ => None,
        };
        Ok((value.ok_or(Reject::Invalid)?, stamp))
    }
}

impl<V> fmt::Debug for Codec<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Three letters and the version of the layout.
const MAGIC: &[u8; 4] = b"TCE\x01";
const HEADER: usize = 60;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

#[cfg(test)]
mod tests {
    use super::{Codec, HEADER, Reject, Stamp, Unkept};
    use crate::policy::{Compression, Policy};

    const NOW: u64 = 1_000;

    fn codec(compression: Compression) -> Codec<Vec<String>> {
        let policy = Policy {
            compression,
            compress_above: 100,
            ..Policy::default()
        };
        Codec::new(1, 2, 3, &policy)
    }

    fn texts() -> Vec<String> {
        (0..40).map(|number| format!("text {number}")).collect()
    }

    #[test]
    fn what_was_sealed_is_opened_compressed_or_not() {
        let mut sizes = Vec::new();
        for compression in [Compression::None, Compression::Lz4] {
            let codec = codec(compression);
            let body = codec.encode(&texts()).expect("it can be encoded");
            let bytes = codec.seal(&body, "key", 7, NOW + 1);
            let (value, stamp) = codec.open(&bytes, "key", NOW).expect("it is whole");
            assert_eq!(value, texts());
            assert_eq!(
                stamp,
                Stamp {
                    origin: 3,
                    version: 7,
                    expires_ms: NOW + 1
                }
            );
            sizes.push(bytes.len());
        }
        assert!(sizes[1] < sizes[0], "LZ4 made it smaller: {sizes:?}");
    }

    #[test]
    fn no_damage_gives_a_value() {
        for compression in [Compression::None, Compression::Lz4] {
            let codec = codec(compression);
            let body = codec.encode(&texts()).expect("it can be encoded");
            let bytes = codec.seal(&body, "key", 7, NOW + 1);
            for len in 0..bytes.len() {
                assert_eq!(codec.open(&bytes[..len], "key", NOW), Err(Reject::Invalid));
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(codec.open(&damaged, "key", NOW), Err(Reject::Invalid));
            }
        }
    }

    #[test]
    fn another_key_type_or_epoch_and_a_past_expiry_are_rejected() {
        let codec = codec(Compression::None);
        let body = codec.encode(&texts()).expect("it can be encoded");
        let bytes = codec.seal(&body, "key", 7, NOW + 1);
        assert_eq!(codec.open(&bytes, "other", NOW), Err(Reject::Invalid));
        assert_eq!(codec.open(&bytes, "key", NOW + 1), Err(Reject::Stale));
        let typed: Codec<Vec<String>> = Codec::new(9, 2, 3, &Policy::default());
        assert_eq!(typed.open(&bytes, "key", NOW), Err(Reject::Invalid));
        let later: Codec<Vec<String>> = Codec::new(1, 9, 3, &Policy::default());
        assert_eq!(later.open(&bytes, "key", NOW), Err(Reject::Stale));
    }

    #[test]
    fn a_value_over_the_limit_is_not_encoded_and_an_exact_one_is() {
        let sized = |max_value_bytes| -> Codec<String> {
            Codec::new(
                1,
                2,
                3,
                &Policy {
                    max_value_bytes,
                    ..Policy::default()
                },
            )
        };
        let text = "x".repeat(99);
        let encoded = text.len() + 1;
        assert!(sized(encoded).encode(&text).is_ok());
        assert_eq!(
            sized(encoded - 1).encode(&text).err(),
            Some(Unkept::TooLarge)
        );
        let bytes = sized(encoded).seal(
            &sized(encoded).encode(&text).expect("just right"),
            "",
            0,
            NOW + 1,
        );
        assert_eq!(bytes.len(), HEADER + encoded);
    }
}
