//! The bytes that stand for an entry below memory: our own header, so that foreign, damaged, older or
//! differently typed bytes are a miss, never an error and never a wrong value.
//!
//! ```text
//!  0  "TC", layout, flags          4  checksum of all but itself   12  fingerprint of the cache
//! 20  origin (whose version)      28  numbers of 1 to 10 bytes: version, times, cost, tags, lengths
//!     then tags, validator, key text, and the body: compression, length before it, bytes
//! ```
//!
//! With the default policy that is 55 bytes more than the key's text and the encoded value: 28 fixed, 8 for
//! the version of a shared log, 15 for the times, 4 for lengths and compression. Each tag takes 8 more.

use std::{any::type_name, fmt, sync::Arc};

use bytes::Bytes;

use super::{
    Codec, Compression, compression,
    wire::{Reader, put_number, put_times, read_times},
};
use crate::{
    coherence::Version,
    hash::{checksum, mix, text_hash},
    memory::Times,
    policy::Policy,
};

/// How one cache turns its entries into bytes and back.
pub(crate) struct Envelope<V> {
    codec: Arc<dyn Codec<V>>,
    fingerprint: u64,
    compression: Compression,
    compress_above: usize,
    max_value_bytes: usize,
}

/// What makes entries the same cache's: all of it goes into the fingerprint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) cache: &'a str,
    /// Of all caches together, set by the user.
    pub(crate) epoch: u64,
    /// Of this cache, set by the user.
    pub(crate) schema: u32,
}

/// A value's bytes before it is known which tier and fill they belong to: made once, sealed for each
/// tier, or held by the memory tier as they are.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// The mark of the compression, the length before it, the bytes; empty for "there is none".
    bytes: Bytes,
    /// Of `bytes`, so that sealing for a second tier does not read them again.
    sum: u64,
    raw_len: usize,
}

/// What is said of an entry besides its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    /// Whose version it is: the shared log's epoch, or this process's own log.
    pub(crate) origin: u64,
    /// The version of the fill, on the scale of `origin`.
    pub(crate) version: Version,
    pub(crate) times: Times,
    /// At most [`TAGS_MAX`].
    pub(crate) tags: &'a [u64],
    /// Left out when it is longer than 1,024 bytes: the next load is then unconditional.
    pub(crate) validator: Option<&'a str>,
}

/// An entry as it was found; the caller checks origin and version against the floors.
#[derive(Debug)]
pub(crate) struct Opened<V> {
    pub(crate) content: OpenedContent<V>,
    /// How many bytes the encoding of the value has, uncompressed.
    pub(crate) raw_len: usize,
    pub(crate) origin: u64,
    pub(crate) version: Version,
    pub(crate) times: Times,
    pub(crate) tags: Box<[u64]>,
    pub(crate) validator: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenedContent<V> {
    Value(V),
    /// It is known that there is none.
    Absent,
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
    /// Not ours, or damaged.
    Invalid,
    /// Ours and whole, but of another type, schema, epoch, codec or key, or larger than is kept now.
    Foreign,
    /// Past its last use.
    Stale,
}

impl<V: 'static> Envelope<V> {
    pub(crate) fn new<K>(
        codec: Arc<dyn Codec<V>>,
        identity: &Identity<'_>,
        policy: &Policy,
    ) -> Self {
        let texts = [
            identity.namespace,
            identity.cache,
            type_name::<K>(),
            type_name::<V>(),
            codec.name(),
        ];
        let numbers = [
            identity.epoch,
            u64::from(identity.schema),
            codec.fingerprint(),
        ];
        let parts = texts.into_iter().map(text_hash).chain(numbers);
        Self {
            // Each part is mixed before the next, so that none stands in for another.
            fingerprint: parts.fold(0, |state, part| mix(state.rotate_left(5) ^ part)),
            codec,
            compression: policy.compression,
            compress_above: policy.compress_above,
            max_value_bytes: policy.max_value_bytes,
        }
    }

    /// The bytes of a value.
    pub(crate) fn encode(&self, value: &V) -> Result<Body, Unkept> {
        let raw = self.codec.encode(value).map_err(|error| {
            tracing::debug!(error = &*error, "value not encodable");
            Unkept::Unencodable
        })?;
        if raw.len() > self.max_value_bytes {
            return Err(Unkept::TooLarge);
        }
        let raw_len = raw.len();
        let (mark, packed) = self.compression.pack(raw, self.compress_above);
        let mut bytes = Vec::with_capacity(packed.len() + 6);
        bytes.push(mark);
        put_number(&mut bytes, raw_len as u64);
        bytes.extend_from_slice(&packed);
        Ok(Body::new(bytes.into(), raw_len))
    }

    /// The value of [`Body::packed`].
    pub(crate) fn unpack(&self, packed: &[u8]) -> Result<V, Reject> {
        self.unpack_sized(packed).map(|(value, _)| value)
    }

    /// With the length of the encoding.
    fn unpack_sized(&self, packed: &[u8]) -> Result<(V, usize), Reject> {
        let mut reader = Reader(packed);
        let mark = reader.byte().ok_or(Reject::Invalid)?;
        let len = reader.number().ok_or(Reject::Invalid)?;
        // Bounded before anything of that length is allocated.
        let len = usize::try_from(len).map_err(|_| Reject::Foreign)?;
        if len > self.max_value_bytes {
            return Err(Reject::Foreign);
        }
        let raw = compression::unpack(mark, reader.0, len).ok_or(Reject::Foreign)?;
        let value = self.codec.decode(&raw).map_err(|error| {
            tracing::debug!(error = &*error, "bytes of another type");
            Reject::Foreign
        })?;
        Ok((value, len))
    }

    /// The bytes of an entry for one tier.
    pub(crate) fn seal(&self, body: &Body, key: &str, header: &Header<'_>) -> Bytes {
        let tags = &header.tags[..header.tags.len().min(TAGS_MAX)];
        let validator = header.validator.filter(|text| text.len() <= VALIDATOR_MAX);
        let room = HEADER_TYPICAL + key.len() + tags.len() * 8 + body.bytes.len();
        let mut out = Vec::with_capacity(room + validator.map_or(0, str::len));
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(body.bytes.is_empty(), ABSENT) | flag(validator.is_some(), VALIDATED);
        out.extend_from_slice(MAGIC);
        out.push(flags);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&header.origin.to_le_bytes());
        put_number(&mut out, header.version.0);
        put_times(&mut out, &header.times);
        put_number(&mut out, tags.len() as u64);
        put_number(&mut out, key.len() as u64);
        if let Some(validator) = validator {
            put_number(&mut out, validator.len() as u64);
            out.extend_from_slice(validator.as_bytes());
        }
        for tag in tags {
            out.extend_from_slice(&tag.to_le_bytes());
        }
        out.extend_from_slice(key.as_bytes());
        let sum = total(&out, body.sum);
        out[SUM_AT..SUM_END].copy_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&body.bytes);
        out.into()
    }

    /// The entry that the bytes stand for, as of `now`.
    pub(crate) fn open(&self, bytes: &Bytes, key: &str, now: u64) -> Result<Opened<V>, Reject> {
        let found = Parts::read(bytes).ok_or(Reject::Invalid)?;
        if found.fingerprint != self.fingerprint || found.key != key.as_bytes() {
            return Err(Reject::Foreign);
        }
        let times = found.times.not_after(now);
        if times.over(now) {
            return Err(Reject::Stale);
        }
        let (content, raw_len) = if found.flags & ABSENT != 0 {
            (OpenedContent::Absent, 0)
        } else {
            let (value, raw_len) = self.unpack_sized(found.body)?;
            (OpenedContent::Value(value), raw_len)
        };
        Ok(Opened {
            content,
            raw_len,
            origin: found.origin,
            version: found.version,
            times,
            tags: found.tags,
            validator: found.validator.map(Into::into),
        })
    }
}

impl Body {
    /// The body of "there is none".
    pub(crate) fn absent() -> Self {
        Self::new(Bytes::new(), 0)
    }

    /// The bytes for the memory tier; [`Envelope::unpack`] gives the value back.
    pub(crate) fn packed(&self) -> Bytes {
        self.bytes.clone()
    }

    /// How many bytes it takes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes the encoding had before compression.
    pub(crate) fn raw_len(&self) -> usize {
        self.raw_len
    }

    fn new(bytes: Bytes, raw_len: usize) -> Self {
        Self {
            sum: checksum(&[&bytes]),
            bytes,
            raw_len,
        }
    }
}

impl<V: 'static> fmt::Debug for Envelope<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("codec", &self.codec.name())
            .field("fingerprint", &format_args!("{:016x}", self.fingerprint))
            .finish_non_exhaustive()
    }
}

/// A whole envelope, taken apart.
struct Parts<'a> {
    flags: u8,
    fingerprint: u64,
    origin: u64,
    version: Version,
    times: Times,
    tags: Box<[u64]>,
    validator: Option<&'a str>,
    key: &'a [u8],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `None` for what is not ours, or damaged.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (parts, sum) = Self::parse(bytes)?;
        let head = &bytes[..bytes.len() - parts.body.len()];
        (sum == total(head, checksum(&[parts.body]))).then_some(parts)
    }

    /// The parts, and the checksum that they must have.
    fn parse(bytes: &'a [u8]) -> Option<(Self, u64)> {
        let mut reader = Reader(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let flags = reader.byte()?;
        let sum = reader.word()?;
        let fingerprint = reader.word()?;
        let origin = reader.word()?;
        let version = Version(reader.number()?);
        let times = read_times(&mut reader)?;
        let tags = reader.length(TAGS_MAX)?;
        let key = reader.length(usize::from(u16::MAX))?;
        let validator = if flags & VALIDATED != 0 {
            let len = reader.length(VALIDATOR_MAX)?;
            Some(str::from_utf8(reader.take(len)?).ok()?)
        } else {
            None
        };
        let (tags, _) = reader.take(tags * 8)?.as_chunks::<8>();
        let key = reader.take(key)?;
        let parts = Self {
            flags,
            fingerprint,
            origin,
            version,
            times,
            tags: tags.iter().map(|tag| u64::from_le_bytes(*tag)).collect(),
            validator,
            key,
            body: reader.0,
        };
        Some((parts, sum))
    }
}

/// The checksum of an envelope: of its head but for the place of the checksum, and of its body.
fn total(head: &[u8], body: u64) -> u64 {
    checksum(&[&head[..SUM_AT], &head[SUM_END..], &body.to_le_bytes()])
}

/// More tags than any policy allows an entry, with room for those that prefixes and patterns add.
pub(crate) const TAGS_MAX: usize = 2048;
/// ETags and times are short; what is longer is no validator but a value.
const VALIDATOR_MAX: usize = 1024;
/// Two letters and the version of the layout.
const MAGIC: &[u8; 3] = b"TC\x02";
const SUM_AT: usize = 4;
const SUM_END: usize = 12;
/// Of the header without key, tags and validator, for one allocation.
const HEADER_TYPICAL: usize = 64;
const ABSENT: u8 = 1;
const VALIDATED: u8 = 2;

#[cfg(test)]
mod tests;
