//! Keyset pages: a slice of a listing and the opaque cursor that continues after it.
//!
//! A cursor is base64url without padding over: a format byte, eight bytes that identify the listing
//! and its filter, the sort key of the last row shown, and a checksum of all of these. The checksum
//! finds accidents, not forgery: a cursor grants nothing that the listing itself would not show.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::ToSchema;

/// The longest text that is looked at as a cursor, in bytes; real ones have at most 52.
const CURSOR_BYTES_MAX: usize = 128;
/// Names the layout; a later layout takes another number, and old cursors are then malformed.
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 1 + 8;
const CHECKSUM_BYTES: usize = 4;

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows of this page, in the order of the listing.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` rows out of up to `limit + 1` that were fetched.
    ///
    /// The row too many only proves that there is more; `cursor` is asked about the last row shown.
    pub fn cut(mut rows: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next }
    }
}

/// The sort key of a listing, as cursors carry it.
pub trait CursorKey: Sized {
    /// Names the listing, so that a cursor of one never continues another.
    const KIND: &'static str;

    /// Appends the key in a fixed layout.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads what [`write`](Self::write) wrote; nothing when `bytes` is anything else.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The cursor that continues after `key` in the listing that `filter` restricts.
#[must_use]
pub fn encode_cursor<K: CursorKey>(key: &K, filter: &impl Serialize) -> String {
    let mut bytes = vec![FORMAT];
    bytes.extend(filter_hash::<K>(filter).to_be_bytes());
    key.write(&mut bytes);
    bytes.extend(checksum(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor back.
///
/// # Errors
/// [`CursorError::Malformed`] for a text that [`encode_cursor`] never made, and
/// [`CursorError::OtherFilter`] for a cursor of another listing or of another filter.
pub fn decode_cursor<K: CursorKey>(text: &str, filter: &impl Serialize) -> Result<K, CursorError> {
    if text.len() > CURSOR_BYTES_MAX {
        return Err(CursorError::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| CursorError::Malformed)?;
    let (body, sum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(CursorError::Malformed)?;
    let (head, key) = body
        .split_at_checked(HEAD_BYTES)
        .ok_or(CursorError::Malformed)?;
    if *sum != checksum(body) || head[0] != FORMAT {
        return Err(CursorError::Malformed);
    }
    if head[1..] != filter_hash::<K>(filter).to_be_bytes() {
        return Err(CursorError::OtherFilter);
    }
    K::read(key).ok_or(CursorError::Malformed)
}

/// Why a text is no cursor of this listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The text was never a cursor, or was damaged on its way.
    #[error("malformed cursor; pass the cursor of the previous page unchanged")]
    Malformed,
    /// The cursor continues another listing.
    #[error("the cursor belongs to another filter; repeat the filter of the first page")]
    OtherFilter,
}

/// Identifies listing and filter; stable across processes and releases, unlike `std::hash`.
fn filter_hash<K: CursorKey>(filter: &impl Serialize) -> u64 {
    let mut bytes = K::KIND.as_bytes().to_vec();
    bytes.push(0);
    // A filter is a struct of plain members, which always serializes; if one ever did not, all its
    // cursors would share one hash and still be checked for kind and damage.
    bytes.extend(serde_json::to_vec(filter).unwrap_or_default());
    fnv1a(&bytes)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [.., a, b, c, d] = fnv1a(bytes).to_be_bytes();
    [a, b, c, d]
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RecordFilter, RecordKey, TaskFilter, TaskKey, new_id};

    fn key() -> TaskKey {
        let created_at = "2026-01-02T03:04:05.123456Z".parse().unwrap();
        TaskKey {
            priority: 9,
            created_at,
            id: new_id(created_at),
        }
    }

    fn filter(agent: &str) -> TaskFilter {
        TaskFilter {
            assigned_agent_id: Some(agent.to_owned()),
            ..TaskFilter::default()
        }
    }

    #[test]
    fn a_cursor_reads_back_under_the_same_filter_only() {
        let cursor = encode_cursor(&key(), &filter("a"));
        assert_eq!(cursor.len(), 52);
        let same: TaskKey = decode_cursor(&cursor, &filter("a")).unwrap();
        assert_eq!(
            (same.priority, same.created_at),
            (key().priority, key().created_at)
        );
        let other = decode_cursor::<TaskKey>(&cursor, &filter("b"));
        assert_eq!(other, Err(CursorError::OtherFilter));
    }

    #[test]
    fn a_cursor_of_one_listing_never_continues_another() {
        let cursor = encode_cursor(&key(), &TaskFilter::default());
        let other = decode_cursor::<RecordKey>(&cursor, &RecordFilter::default());
        assert_eq!(other, Err(CursorError::OtherFilter));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let cursor = encode_cursor(&key(), &filter("a"));
        for index in 0..cursor.len() {
            for replacement in ['A', 'z', '_', '=', ' ', '+'] {
                let mut damaged: Vec<char> = cursor.chars().collect();
                damaged[index] = replacement;
                let damaged: String = damaged.into_iter().collect();
                let read = decode_cursor::<TaskKey>(&damaged, &filter("a"));
                assert_eq!(read.is_ok(), damaged == cursor, "{index} {replacement}");
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_malformed() {
        let long = "A".repeat(10_000);
        let cursor = encode_cursor(&key(), &filter("a"));
        let short = &cursor[..cursor.len() - 4];
        for text in ["", "A", "AAAA", "%%%", "🙂", "\0", short, &long] {
            let read = decode_cursor::<TaskKey>(text, &filter("a"));
            assert_eq!(read, Err(CursorError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_page_is_cut_at_its_limit_and_points_at_its_last_row() {
        let page = Page::cut(vec![1, 2, 3], 2, |row| format!("after {row}"));
        assert_eq!(
            page,
            Page {
                items: vec![1, 2],
                next: Some("after 2".to_owned())
            }
        );
        let last = Page::cut(vec![1, 2], 2, |_| unreachable!("nothing follows"));
        assert_eq!(
            last,
            Page {
                items: vec![1, 2],
                next: None
            }
        );
        let empty = Page::<i32>::cut(Vec::new(), 0, |_| unreachable!("nothing follows"));
        assert_eq!(
            empty,
            Page {
                items: Vec::new(),
                next: None
            }
        );
    }
}
