//! Keys: what a type needs to name entries in memory, in Redis and on disk.

use std::{
    fmt::{self, Display},
    hash::Hash,
};

use crate::hash::KeyHasher;

/// A type that can name the entries of a cache; implemented for every key that is `Display`
/// (numbers, `String`, UUIDs, ...).
///
/// Two keys that are not equal must give different text: the text is the key in Redis and on disk.
/// Text of more than 1,024 bytes is kept in memory only.
pub trait CacheKey: Hash + Eq + Clone + Send + Sync + 'static {
    /// Writes the text of the key.
    ///
    /// # Errors
    /// Only those of `out`.
    fn write_key(&self, out: &mut dyn fmt::Write) -> fmt::Result;
}

impl<T: Display + Hash + Eq + Clone + Send + Sync + 'static> CacheKey for T {
    fn write_key(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// The hash of the key's text under `seed` (the cache), the same in every process.
pub(crate) fn key_hash<K: CacheKey>(key: &K, seed: u64) -> u64 {
    let mut hasher = KeyHasher::new(seed);
    // A hasher never fails to write; a `Display` that fails midway does so each time.
    let _ = key.write_key(&mut hasher);
    hasher.finish()
}

/// The text of the key; `None` when it is too long for the tiers below memory.
pub(crate) fn key_text<K: CacheKey>(key: &K) -> Option<String> {
    let mut text = String::with_capacity(40);
    key.write_key(&mut text).ok()?;
    (text.len() <= KEY_BYTES_MAX).then_some(text)
}

/// The beginning of the key's text: as much of it as [`key_text`] takes, so that keys of every length
/// have their prefixes.
pub(crate) fn key_head<K: CacheKey>(key: &K) -> String {
    let mut head = Head {
        text: String::with_capacity(40),
        whole: true,
    };
    // An error says that the rest is cut off, or is the key's own, which has it each time.
    let _ = key.write_key(&mut head);
    head.text
}

struct Head {
    text: String,
    whole: bool,
}

impl fmt::Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = KEY_BYTES_MAX - self.text.len();
        if self.whole {
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
            self.whole = text.len() <= room;
        }
        if self.whole { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Long enough for any sensible key, short enough not to fill Redis with keys.
pub(crate) const KEY_BYTES_MAX: usize = 1024;
