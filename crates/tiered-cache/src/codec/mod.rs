//! How values become bytes and back: formats, compression, and the envelope that makes foreign, damaged,
//! older or differently typed bytes a miss.

mod compression;
mod envelope;
mod format;
mod shape;
mod wire;

pub use compression::Compression;
pub(crate) use envelope::{
    Body, Envelope, Header, Identity, Opened, OpenedContent, Reject, TAGS_MAX,
};
pub use format::Format;
pub(crate) use shape::of as shape_of;

use crate::error::BoxError;

/// Turns the values of a cache into bytes and back; [`Format`] does it for every serde type.
///
/// ```
/// use tiered_cache::{BoxError, Codec};
///
/// struct Text;
///
/// impl Codec<String> for Text {
///     fn name(&self) -> &'static str {
///         "text"
///     }
///
///     fn encode(&self, value: &String) -> Result<Vec<u8>, BoxError> {
///         Ok(value.clone().into_bytes())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
///         Ok(String::from_utf8(bytes.to_vec())?)
///     }
/// }
/// ```
pub trait Codec<V>: Send + Sync + 'static {
    /// Its name, part of the identity of each entry: entries of another codec are misses. Name another
    /// version when the bytes change.
    fn name(&self) -> &'static str;

    /// A number that differs where the bytes of one type do not fit another, also part of the identity
    /// of each entry. Asked once for each cache.
    fn fingerprint(&self) -> u64 {
        0
    }

    /// The bytes of a value.
    ///
    /// # Errors
    /// Whatever keeps the value from being encoded; it is then returned, but kept in no tier.
    fn encode(&self, value: &V) -> Result<Vec<u8>, BoxError>;

    /// The value of bytes that [`encode`](Self::encode) made, perhaps in an older build. Bytes that it
    /// has not made must give an error, not a panic; they were checked against damage before.
    ///
    /// # Errors
    /// Whatever is wrong with them; the entry is then a miss.
    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError>;
}
