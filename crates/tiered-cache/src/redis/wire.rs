//! How records of the log are written: cells of 18 characters, which the scripts take apart as well.

use fred::types::Resp3Frame as Frame;

use super::layout::VERSION_MAX;
use crate::coherence::{Effect, Record, Target, Version};

/// Kind, 16 hexadecimal digits, effect.
pub(super) fn encode(changes: &[(Target, Effect)]) -> String {
    let mut text = String::with_capacity(changes.len() * CELL);
    for (target, effect) in changes {
        let (kind, hash) = match target {
            Target::Key(hash) => ('k', *hash),
            Target::Tag(hash) => ('t', *hash),
            Target::Cache(hash) => ('c', *hash),
            Target::All => ('a', 0),
        };
        let effect = match effect {
            Effect::Expire => 'e',
            Effect::Remove => 'r',
        };
        text.push(kind);
        text.push_str(&format!("{hash:016x}"));
        text.push(effect);
    }
    text
}

/// What nobody can read (a later release wrote it, or somebody else) stands for everything: a needless
/// reload is better than a change that was missed.
pub(super) fn decode(text: &str) -> Vec<(Target, Effect)> {
    let (cells, rest) = text.as_bytes().as_chunks::<CELL>();
    let changes: Option<Vec<_>> = cells.iter().map(decode_cell).collect();
    match changes {
        Some(changes) if rest.is_empty() => changes,
        _ => vec![EVERYTHING],
    }
}

fn decode_cell(cell: &[u8; CELL]) -> Option<(Target, Effect)> {
    let hash = std::str::from_utf8(&cell[1..CELL - 1]).ok()?;
    let hash = hex(hash)?;
    let target = match cell[0] {
        b'k' => Target::Key(hash),
        b't' => Target::Tag(hash),
        b'c' => Target::Cache(hash),
        // The common floor of those that were forgotten covers all.
        b'a' | b'*' => Target::All,
        _ => return None,
    };
    let effect = match cell[CELL - 1] {
        b'e' => Effect::Expire,
        b'r' => Effect::Remove,
        _ => return None,
    };
    Some((target, effect))
}

/// One row of the stream; `None` when not even its version can be read.
pub(super) fn record(row: &Frame) -> Option<Record> {
    let [id, fields] = array(row)? else {
        return None;
    };
    let (version, _) = text(id)?.split_once('-')?;
    let version = self::version(version)?;
    let (by, changes) = fields_of(fields).unwrap_or_else(|| (0, vec![EVERYTHING]));
    Some(Record {
        version,
        by,
        changes,
    })
}

fn fields_of(fields: &Frame) -> Option<(u64, Vec<(Target, Effect)>)> {
    let mut texts = [""; 6];
    let fields = array(fields)?;
    if fields.len() != texts.len() {
        return None;
    }
    for (text, field) in texts.iter_mut().zip(fields) {
        *text = self::text(field)?;
    }
    let ["p", _, "b", by, "c", changes] = texts else {
        return None;
    };
    Some((hex(by)?, decode(changes)))
}

/// One floor with its version, as the sorted set has it.
pub(super) fn floor(member: &Frame, score: &Frame) -> Option<(Target, Effect, Version)> {
    let text = text(member).unwrap_or_default();
    if text.starts_with("epoch:") {
        return None;
    }
    // A score that is not ours says nothing of when: from the first version on, then.
    let version = self::text(score).and_then(version).unwrap_or_default();
    let (target, effect) = match decode(text).as_slice() {
        [one] => *one,
        _ => EVERYTHING,
    };
    Some((target, effect, version))
}

pub(super) fn array(frame: &Frame) -> Option<&[Frame]> {
    match frame {
        Frame::Array { data, .. } => Some(data),
        _ => None,
    }
}

pub(super) fn text(frame: &Frame) -> Option<&str> {
    match frame {
        Frame::BlobString { data, .. } | Frame::SimpleString { data, .. } => {
            std::str::from_utf8(data).ok()
        }
        _ => None,
    }
}

pub(super) fn version(text: &str) -> Option<Version> {
    let number = text.parse().ok()?;
    (number <= VERSION_MAX).then_some(Version(number))
}

pub(super) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

const CELL: usize = 18;
const EVERYTHING: (Target, Effect) = (Target::All, Effect::Remove);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written() {
        let changes = vec![
            (Target::Key(u64::MAX), Effect::Remove),
            (Target::Tag(0), Effect::Expire),
            (Target::Cache(0x0123_4567_89ab_cdef), Effect::Expire),
            (Target::All, Effect::Remove),
        ];
        assert_eq!(decode(&encode(&changes)), changes);
        assert_eq!(decode(""), Vec::new());
    }

    #[test]
    fn what_cannot_be_read_stands_for_everything() {
        let foreign = ["x", "k", "z0000000000000000r", "k0000000000000000x"];
        for text in foreign {
            assert_eq!(decode(text), vec![EVERYTHING], "{text}");
        }
        let good = encode(&[(Target::Key(1), Effect::Remove)]);
        assert_eq!(decode(&format!("{good}?")), vec![EVERYTHING]);
    }
}
