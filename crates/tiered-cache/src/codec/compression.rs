//! Compression of encoded values: kept only where it makes them smaller, undone only into a length that
//! was bounded before.

use std::borrow::Cow;

/// How encoded values of at least `Policy::compress_above` bytes are compressed. Each entry says how it
/// was, so changing it leaves what is there readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: for values that are compressed already.
    None,
    /// LZ4 (pure Rust): so fast that it pays for itself on the way to Redis.
    #[default]
    Lz4,
    /// Zstandard at level 3: about a third smaller than LZ4 on text, several times slower to make.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Compression {
    /// The mark of how the bytes are compressed, and the bytes: as they were if that is no larger.
    pub(super) fn pack(self, raw: Vec<u8>, above: usize) -> (u8, Vec<u8>) {
        if raw.len() < above {
            return (PLAIN, raw);
        }
        let (mark, packed) = match self {
            Self::None => return (PLAIN, raw),
            Self::Lz4 => (LZ4, lz4_flex::block::compress(&raw)),
            #[cfg(feature = "zstd")]
            Self::Zstd => match zstd::bulk::compress(&raw, ZSTD_LEVEL) {
                Ok(packed) => (ZSTD, packed),
                Err(_) => return (PLAIN, raw),
            },
        };
        if packed.len() < raw.len() {
            (mark, packed)
        } else {
            (PLAIN, raw)
        }
    }
}

/// Undoes [`Compression::pack`]: exactly `len` bytes, or `None` for damage, for a compression that this
/// build does not have, and for a length that the bytes cannot give. The caller has bounded `len`:
/// nothing longer is allocated, whatever the bytes say.
pub(super) fn unpack(mark: u8, packed: &[u8], len: usize) -> Option<Cow<'_, [u8]>> {
    let raw = match mark {
        PLAIN => Cow::Borrowed(packed),
        LZ4 => Cow::Owned(lz4_flex::block::decompress(packed, len).ok()?),
        #[cfg(feature = "zstd")]
        ZSTD => Cow::Owned(zstd::bulk::decompress(packed, len).ok()?),
        _ => return None,
    };
    (raw.len() == len).then_some(raw)
}

/// zstd's own default.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
#[cfg(feature = "zstd")]
const ZSTD: u8 = 2;

#[cfg(test)]
mod tests {
    use super::{Compression, PLAIN, unpack};

    const ALL: &[Compression] = &[
        Compression::None,
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ];

    #[test]
    fn what_was_packed_is_unpacked_and_only_to_its_own_length() {
        let text = b"one text as good as another, ".repeat(50);
        for compression in ALL {
            let (mark, packed) = compression.pack(text.clone(), 100);
            let smaller = *compression != Compression::None;
            assert_eq!(packed.len() < text.len(), smaller, "{compression:?}");
            assert_eq!(unpack(mark, &packed, text.len()).as_deref(), Some(&*text));
            for len in [0, text.len() - 1, text.len() + 1] {
                assert_eq!(
                    unpack(mark, &packed, len),
                    None,
                    "{compression:?} into {len}"
                );
            }
        }
    }

    #[test]
    fn what_is_short_or_grows_stays_as_it_is() {
        let noise: Vec<u8> = (0..2_000_u64)
            .map(|at| crate::hash::mix(at + 1) as u8)
            .collect();
        for compression in ALL {
            let (mark, packed) = compression.pack(noise.clone(), 100);
            assert_eq!((mark, &packed), (PLAIN, &noise), "{compression:?}");
            let (mark, packed) = compression.pack(vec![0; 99], 100);
            assert_eq!((mark, packed.len()), (PLAIN, 99), "{compression:?}");
        }
    }

    #[test]
    fn an_unknown_mark_is_a_miss() {
        assert_eq!(unpack(200, b"text", 4), None);
    }
}
