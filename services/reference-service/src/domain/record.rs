//! Records: pieces of knowledge that agents keep, found again by identifier, tag or words.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type},
};
use uuid::Uuid;

use super::{
    check::{Check, Invalid},
    page::CursorKey,
    stamp::{micros, new_id},
};

/// The longest title of a record, in characters; the shortest has one.
pub const RECORD_TITLE_CHARS_MAX: usize = 200;
/// The longest text of a record, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The most tags that a record carries.
pub const TAGS_MAX: usize = 32;
/// The longest tag, in characters; the shortest has one.
pub const TAG_CHARS_MAX: usize = 64;
/// The least importance.
pub const IMPORTANCE_MIN: i16 = 1;
/// The greatest importance.
pub const IMPORTANCE_MAX: i16 = 5;
/// The importance of a record whose creator named none.
pub const IMPORTANCE_DEFAULT: i16 = 3;

/// A piece of knowledge.
// Caches keep it in a format that does not describe itself: every field is always written, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Version 7 identifier; sorts by creation.
    pub id: Uuid,
    /// What it is about, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// The knowledge itself, at most 64 KiB of UTF-8.
    pub text: String,
    /// At most 32 different tags of 1 to 64 characters.
    #[schema(max_items = 32)]
    pub tags: Vec<String>,
    /// From 1 (trivia) to 5 (vital).
    #[schema(minimum = 1, maximum = 5)]
    pub importance: i16,
    /// When the record was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the record was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Rises by one with every stored change; starts at 1.
    pub version: i64,
}

impl Record {
    /// A record created at `now`.
    ///
    /// # Errors
    /// Every limit that `new` breaks.
    pub fn new(new: NewRecord, now: Timestamp) -> Result<Self, Invalid> {
        let now = micros(now);
        let mut record = Self {
            id: new_id(now),
            title: String::new(),
            text: String::new(),
            tags: Vec::new(),
            importance: IMPORTANCE_DEFAULT,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        record.replace(new, now)?;
        Ok(record)
    }

    /// Replaces everything that a caller may set, and notes that this happened at `now`.
    ///
    /// # Errors
    /// Every limit that `new` breaks; nothing is changed.
    pub fn replace(&mut self, new: NewRecord, now: Timestamp) -> Result<(), Invalid> {
        new.validate()?;
        let NewRecord {
            title,
            text,
            tags,
            importance,
        } = new;
        (self.title, self.text, self.importance) = (title, text, importance);
        self.tags = without_repeats(tags);
        self.updated_at = self.updated_at.max(micros(now));
        Ok(())
    }

    /// Where the record stands in a listing.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        RecordKey(self.id)
    }
}

/// What a caller says to create or replace a record; also one line of an import.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// What it is about, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000]*$")]
    pub title: String,
    /// The knowledge itself, at most 64 KiB of UTF-8.
    #[schema(max_length = 65536, pattern = "^[^\\u0000]*$")]
    pub text: String,
    /// At most 32 tags of 1 to 64 characters; repeats are dropped.
    #[serde(default)]
    #[schema(schema_with = tags_schema)]
    pub tags: Vec<String>,
    /// From 1 (trivia) to 5 (vital); 3 when absent.
    #[serde(default = "importance_default")]
    #[schema(minimum = 1, maximum = 5)]
    pub importance: i16,
}

impl NewRecord {
    /// Checks the limits of every field.
    ///
    /// # Errors
    /// Every limit that is broken, not only the first.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut check = Check::default();
        check.chars("/title", &self.title, 1, RECORD_TITLE_CHARS_MAX);
        check.bytes("/text", &self.text, TEXT_BYTES_MAX);
        check.count("/tags", self.tags.len(), TAGS_MAX);
        // The tags past the limit are already reported as one violation: the report stays bounded.
        for (index, tag) in self.tags.iter().take(TAGS_MAX).enumerate() {
            check.chars(&format!("/tags/{index}"), tag, 1, TAG_CHARS_MAX);
        }
        check.range(
            "/importance",
            self.importance,
            IMPORTANCE_MIN,
            IMPORTANCE_MAX,
        );
        check.finish()
    }
}

/// A list of tags with the bounds of each.
fn tags_schema() -> Array {
    let tag = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(TAG_CHARS_MAX))
        .pattern(Some(r"^[^\u0000]*$"));
    ArrayBuilder::new()
        .items(tag)
        .max_items(Some(TAGS_MAX))
        .build()
}

fn importance_default() -> i16 {
    IMPORTANCE_DEFAULT
}

fn without_repeats(tags: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(tags.len());
    tags.into_iter()
        .filter(|tag| seen.insert(tag.clone()))
        .collect()
}

/// Which records a listing shows; absent members do not restrict, the others must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordFilter {
    /// Only records that carry this tag.
    pub tag: Option<String>,
    /// Only records whose title and text together contain every one of these words, in any order
    /// and any case. Anything that is not a letter or a digit only separates words.
    pub query: Option<String>,
    /// Only records of at least this importance.
    pub min_importance: Option<i16>,
}

/// The place of a record in a listing: newest first, which is identifiers falling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey(
    /// The record's identifier.
    pub Uuid,
);

impl CursorKey for RecordKey {
    const KIND: &'static str = "records";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.0.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_record() -> NewRecord {
        NewRecord {
            title: "Tides".to_owned(),
            text: "Follow the moon".to_owned(),
            tags: ["sea", "moon", "sea"].map(str::to_owned).to_vec(),
            importance: 4,
        }
    }

    #[test]
    fn repeated_tags_are_dropped_and_the_order_kept() {
        let record = Record::new(new_record(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(record.tags, ["sea", "moon"]);
        assert_eq!(record.version, 1);
    }

    #[test]
    fn every_broken_limit_is_named() {
        let new = NewRecord {
            title: "t".repeat(RECORD_TITLE_CHARS_MAX + 1),
            text: "x".repeat(TEXT_BYTES_MAX + 1),
            tags: vec![String::new(); TAGS_MAX + 1],
            importance: 0,
        };
        let invalid = new.validate().unwrap_err();
        let broken: Vec<_> = invalid
            .violations()
            .iter()
            .map(|v| (v.pointer.as_str(), v.rule))
            .collect();
        assert_eq!(broken.len(), 4 + TAGS_MAX);
        assert_eq!(broken[0], ("/title", "too_long"));
        assert_eq!(broken[1], ("/text", "too_long"));
        assert_eq!(broken[2], ("/tags", "too_many"));
        assert_eq!(broken[3], ("/tags/0", "too_short"));
        assert_eq!(broken.last(), Some(&("/importance", "out_of_range")));
    }

    #[test]
    fn a_refused_replacement_changes_nothing() {
        let mut record = Record::new(new_record(), Timestamp::UNIX_EPOCH).unwrap();
        let before = record.clone();
        let bad = NewRecord {
            title: "\0".to_owned(),
            ..new_record()
        };
        assert!(record.replace(bad, Timestamp::MAX).is_err());
        assert_eq!(record, before);
    }
}
