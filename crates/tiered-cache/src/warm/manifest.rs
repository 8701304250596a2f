//! The manifest: a small file that names the hottest keys of the last run, so that the next one can warm
//! them. Damage costs the warming and nothing else.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::hash::checksum;

/// The hot keys of every cache that keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) sections: Vec<Section>,
}

/// The hot keys of one cache, the hottest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) cache: String,
    /// Of the key's type and its shape: keys of another one are not read.
    pub(crate) fingerprint: u64,
    /// Each encoded by itself, so that one that cannot be read costs only itself.
    pub(crate) keys: Vec<Vec<u8>>,
}

impl Manifest {
    /// What the file holds; nothing, and a warning, when it is damaged or too large. Blocks.
    pub(crate) fn read(path: &Path) -> Self {
        let damaged = |reason: &str| {
            tracing::warn!(path = %path.display(), reason, "manifest of hot keys ignored");
            Self::default()
        };
        let mut bytes = Vec::new();
        // One more than allowed, so that a file that is too long shows.
        let opened = File::open(path)
            .and_then(|file| file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => return damaged(&error.to_string()),
            Ok(_) => {}
        }
        match Self::decode(&bytes) {
            Ok(manifest) => manifest,
            Err(reason) => damaged(reason),
        }
    }

    /// What is known of a cache.
    pub(crate) fn section(&self, cache: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.cache == cache)
    }

    /// The manifest of a process that found this one and has these sections of its own. While it is
    /// `young`, it keeps what it found beside what it has seen itself, which is little yet.
    pub(crate) fn followed_by(&self, sections: Vec<Section>, young: bool) -> Self {
        let mut next = Self { sections };
        if !young {
            return next;
        }
        for old in &self.sections {
            match next.sections.iter_mut().find(|new| new.cache == old.cache) {
                Some(new) if new.fingerprint == old.fingerprint => new.fill_up(old),
                Some(_) => {}
                None => next.sections.push(old.clone()),
            }
        }
        next
    }

    /// Replaces the file: whoever reads it finds the old or the new one, also after a crash. Blocks.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = temporary(path);
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&self.encode())?;
            file.sync_all()
        });
        let replaced = written.and_then(|()| fs::rename(&temporary, path));
        if replaced.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        replaced
    }

    /// Head, checksum, body. What does not fit into [`BYTES_MAX`] is left out, the coldest first.
    fn encode(&self) -> Vec<u8> {
        let mut body = self.body();
        let mut fitting = self.clone();
        while body.len() > BYTES_MAX - HEAD {
            for section in &mut fitting.sections {
                section.keys.truncate(section.keys.len() / 2);
            }
            body = fitting.body();
            if fitting
                .sections
                .iter()
                .all(|section| section.keys.is_empty())
            {
                break;
            }
        }
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&checksum(&[&body]).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn body(&self) -> Vec<u8> {
        // Names, numbers and bytes: nothing that postcard refuses.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > BYTES_MAX {
            return Err("it is too large");
        }
        let (head, body) = bytes.split_at_checked(HEAD).ok_or("it is truncated")?;
        let sum = head
            .strip_prefix(MAGIC)
            .ok_or("it is of another version, or no manifest")?;
        if sum != checksum(&[body]).to_le_bytes() {
            return Err("its checksum does not match");
        }
        postcard::from_bytes(body).map_err(|_| "its content cannot be read")
    }
}

impl Section {
    /// Encodes the keys; one that cannot be encoded, or is longer than keys may be, is left out.
    pub(crate) fn of<K: Serialize>(cache: &str, fingerprint: u64, keys: &[K]) -> Self {
        let encoded = keys.iter().filter_map(|key| postcard::to_stdvec(key).ok());
        Self {
            cache: cache.to_owned(),
            fingerprint,
            keys: encoded
                .filter(|key| key.len() <= KEY_BYTES_MAX)
                .take(KEYS_MAX)
                .collect(),
        }
    }

    /// Adds the other's keys after its own, until it has as many as the longer of the two.
    fn fill_up(&mut self, other: &Self) {
        let own: BTreeSet<Vec<u8>> = self.keys.iter().cloned().collect();
        let room = other.keys.len().saturating_sub(self.keys.len());
        let more = other.keys.iter().filter(|key| !own.contains(*key));
        self.keys.extend(more.take(room).cloned());
    }

    /// The keys that can be read as `K`.
    pub(crate) fn keys<K: serde::de::DeserializeOwned>(&self) -> Vec<K> {
        let decoded = self.keys.iter().filter_map(|key| {
            // Bytes left over mean that it was another type.
            let (key, rest) = postcard::take_from_bytes(key).ok()?;
            rest.is_empty().then_some(key)
        });
        decoded.take(KEYS_MAX).collect()
    }
}

/// In the same folder, or else the renaming would not be atomic.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    name.into()
}

/// The last digit is the version of the layout.
const MAGIC: &[u8] = b"tiered-cache hot keys 1\n";
const HEAD: usize = MAGIC.len() + 8;
const BYTES_MAX: usize = 16 << 20;
/// For each cache; as many as can be warmed in some minutes.
pub(crate) const KEYS_MAX: usize = 100_000;
const KEY_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BYTES_MAX, Manifest, Section};

    fn manifest() -> Manifest {
        Manifest {
            sections: vec![
                Section::of("users", 7, &[3_u64, 1, 2]),
                Section::of("names", 8, &["b".to_owned(), "a".to_owned()]),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_in_its_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hot");
        assert_eq!(Manifest::read(&path), Manifest::default());
        manifest().write(&path).expect("the folder is writable");
        manifest().write(&path).expect("it is replaced");
        let read = Manifest::read(&path);
        assert_eq!(read, manifest());
        assert_eq!(read.sections[0].keys::<u64>(), [3, 1, 2]);
        assert_eq!(read.sections[1].keys::<String>(), ["b", "a"]);
        let files = fs::read_dir(folder.path()).expect("it is there").count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn bytes_left_over_are_no_key() {
        let section = Section::of("pairs", 7, &[(1_u8, 2_u8)]);
        assert_eq!(section.keys::<(u8, u8)>(), [(1, 2)]);
        assert_eq!(section.keys::<u8>(), [0; 0]);
    }

    #[test]
    fn a_young_process_keeps_what_it_found_after_what_it_has_seen() {
        let seen = || vec![Section::of("users", 7, &[9_u64, 2])];
        let young = manifest().followed_by(seen(), true);
        assert_eq!(young.sections[0].keys::<u64>(), [9, 2, 3]);
        assert_eq!(young.section("names"), manifest().section("names"));
        let old = manifest().followed_by(seen(), false);
        assert_eq!(old.sections, seen());
        let retyped = manifest().followed_by(vec![Section::of("users", 8, &["x"])], true);
        assert_eq!(retyped.sections[0].keys.len(), 1);
    }

    #[test]
    fn any_damage_to_the_file_makes_it_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hot");
        let whole = manifest().encode();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("it is writable");
            assert_eq!(Manifest::read(&path), Manifest::default(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).expect("it is writable");
            assert_eq!(Manifest::read(&path), Manifest::default(), "byte {at}");
        }
        fs::write(&path, vec![b'x'; BYTES_MAX + 1]).expect("it is writable");
        assert_eq!(Manifest::read(&path), Manifest::default());
        assert_eq!(Manifest::read(folder.path()), Manifest::default());
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_of_the_writing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gone").join("hot");
        manifest()
            .write(&path)
            .expect_err("there is no such folder");
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_hottest() {
        let keys: Vec<String> = (0..20_000).map(|key| format!("{key:0>1500}")).collect();
        let manifest = Manifest {
            sections: vec![Section::of("long", 1, &keys)],
        };
        let bytes = manifest.encode();
        assert!(bytes.len() <= BYTES_MAX);
        let read = Manifest::decode(&bytes).expect("it is whole");
        let kept = read.sections[0].keys::<String>();
        assert!(kept.len() > 5_000, "{}", kept.len());
        assert_eq!(kept[..], keys[..kept.len()]);
    }
}
