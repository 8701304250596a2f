//! The formats for serde types.

use serde::{Serialize, de::DeserializeOwned};

use super::{Codec, shape};
use crate::error::BoxError;

/// How serde types are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// The smallest and fastest: values without names or types. Fields must be read as they were
    /// written, so a changed type is a miss (its shape is part of each entry's identity), and types
    /// that need to see the format while they decode cannot be used: `serde_json::Value`,
    /// `#[serde(untagged)]`, `#[serde(flatten)]`, `#[serde(tag = ..)]`, `skip_serializing_if`.
    #[default]
    Postcard,
    /// MessagePack with the names of fields: larger and slower, for every serde type. Entries outlive
    /// a change of the type as far as serde can read them (`#[serde(default)]` for a new field); raise
    /// `Policy::schema` where the meaning changed.
    MessagePack,
}

impl<V: Serialize + DeserializeOwned> Codec<V> for Format {
    fn name(&self) -> &'static str {
        match self {
            Self::Postcard => "postcard",
            Self::MessagePack => "msgpack",
        }
    }

    fn fingerprint(&self) -> u64 {
        match self {
            Self::Postcard => shape::of::<V>(),
            Self::MessagePack => 0,
        }
    }

    fn encode(&self, value: &V) -> Result<Vec<u8>, BoxError> {
        match self {
            Self::Postcard => Ok(postcard::to_stdvec(value)?),
            Self::MessagePack => Ok(rmp_serde::to_vec_named(value)?),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        // Bytes left over mean that it was another type.
        let (value, rest) = match self {
            Self::Postcard => postcard::take_from_bytes(bytes)?,
            Self::MessagePack => {
                let mut reader = rmp_serde::Deserializer::new(bytes);
                reader.set_max_depth(DEPTH_MAX);
                let value = V::deserialize(&mut reader)?;
                (value, *reader.get_ref())
            }
        };
        if rest.is_empty() {
            Ok(value)
        } else {
            Err("bytes are left over after the value".into())
        }
    }
}

/// As serde_json's. The default of 1,024 overflows the stack of a thread of 2 MiB in a debug build.
const DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::Format;
    use crate::codec::Codec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        age: Option<u8>,
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Map(BTreeMap<String, bool>),
    }

    #[test]
    fn both_formats_give_back_what_they_took_and_no_more() {
        let value = New {
            age: Some(36),
            name: "Ada".into(),
        };
        for format in [Format::Postcard, Format::MessagePack] {
            let mut bytes = format.encode(&value).expect("it is encodable");
            let back: New = format.decode(&bytes).expect("it is whole");
            assert_eq!(back, value);
            bytes.push(0);
            let more: Result<New, _> = format.decode(&bytes);
            assert!(more.is_err(), "{format:?} takes bytes left over");
        }
    }

    #[test]
    fn message_pack_reads_what_an_older_type_wrote_and_what_names_no_type() {
        let old = Old { name: "Ada".into() };
        let bytes = Format::MessagePack.encode(&old).expect("it is encodable");
        let new: New = Format::MessagePack.decode(&bytes).expect("it is readable");
        assert_eq!((new.name.as_str(), new.age), ("Ada", None));
        let map = Untagged::Map(BTreeMap::from([("yes".to_owned(), true)]));
        for value in [Untagged::Number(7), map] {
            let bytes = Format::MessagePack.encode(&value).expect("it is encodable");
            let back: Untagged = Format::MessagePack.decode(&bytes).expect("it is whole");
            assert_eq!(back, value);
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow_of_the_stack() {
        let nested = vec![0x91; 1 << 20];
        let value: Result<serde_json::Value, _> = Format::MessagePack.decode(&nested);
        assert!(value.is_err());
    }
}
