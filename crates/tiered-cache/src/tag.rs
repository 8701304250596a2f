//! Tags: names of what entries depend on, hashed once so that a check costs one load.

use std::fmt;

use crate::hash;

/// The name of something that entries depend on, such as `"team:3"`; invalidating the tag invalidates
/// every entry that carries it, in every cache of the same [`Caches`](crate::Caches), in O(1).
///
/// Names may have any length and characters; only their 64-bit hash is kept. Two names with the same
/// hash are invalidated together, which costs a reload and no wrong value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag {
    pub(crate) hash: u64,
}

impl Tag {
    /// The tag of that name, the same in every process.
    pub fn new(name: &str) -> Self {
        Self {
            hash: hash::mix(hash::text_hash(name) ^ TAGS),
        }
    }

    /// The tag that stands for all keys of `cache` whose text begins with `prefix`.
    pub(crate) fn of_prefix(cache: u64, prefix: &str) -> Self {
        Self {
            hash: hash::mix(hash::text_hash(prefix) ^ cache ^ PREFIXES),
        }
    }

    /// The tag that stands for all keys of `cache` that its pattern `name` puts in `group`.
    pub(crate) fn of_pattern(cache: u64, name: &str, group: &str) -> Self {
        let named = hash::mix(hash::text_hash(name) ^ PATTERNS);
        Self {
            hash: hash::mix(hash::text_hash(group) ^ cache ^ named),
        }
    }
}

impl From<&str> for Tag {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Tag {
    fn from(name: String) -> Self {
        Self::new(&name)
    }
}

impl From<&String> for Tag {
    fn from(name: &String) -> Self {
        Self::new(name)
    }
}

impl From<&Self> for Tag {
    fn from(tag: &Self) -> Self {
        tag.clone()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:016x})", self.hash)
    }
}

// Salts, so that a tag, a prefix and a key of the same text have floors of their own.
const TAGS: u64 = 0x7461_6773_0000_0001;
const PREFIXES: u64 = 0x7072_6566_0000_0002;
const PATTERNS: u64 = 0x7061_7474_0000_0003;
