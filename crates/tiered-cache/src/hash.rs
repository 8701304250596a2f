//! Hashes that are the same in every process and release: std's promise neither.

use std::fmt;

/// FNV-1a over the bytes of a key's text, with a final mix; the chunks in which `Display` writes
/// make no difference.
#[derive(Debug)]
pub(crate) struct KeyHasher(u64);

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ seed)
    }

    pub(crate) fn finish(&self) -> u64 {
        mix(self.0)
    }
}

impl fmt::Write for KeyHasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// The hash of a text.
pub(crate) fn text_hash(text: &str) -> u64 {
    let mut hasher = KeyHasher::new(0);
    let _ = fmt::Write::write_str(&mut hasher, text);
    hasher.finish()
}

/// A checksum against damage (not against forgery), eight bytes at a time.
pub(crate) fn checksum(parts: &[&[u8]]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for part in parts {
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            state = step(state, u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        state = step(state, u64::from_le_bytes(last));
        state = step(state, part.len() as u64);
    }
    mix(state)
}

fn step(state: u64, word: u64) -> u64 {
    (state.rotate_left(29) ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// Spreads every input bit over the output (the finaliser of MurmurHash3).
pub(crate) fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// A number that no other process has, from the seed that std takes of the system for its maps.
pub(crate) fn unique() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}
