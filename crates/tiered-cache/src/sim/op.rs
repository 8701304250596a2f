//! What callers may do, drawn before they do it.

use super::{
    database::all_tags, dice::Dice, history::Scope, load::LoadPlan, profile::PER_CACHE,
    replica::CACHES,
};
use crate::{Effect, EntryKey, TierKind, TierSet};

/// One call, or a few that belong together, drawn before it begins.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Get {
        row: usize,
        tiers: TierSet,
    },
    Peek {
        row: usize,
    },
    Load {
        row: usize,
        tiers: TierSet,
        plan: LoadPlan,
    },
    GetMany {
        cache: usize,
    },
    LoadMany {
        cache: usize,
        plan: LoadPlan,
    },
    /// Commits a row, and after a while invalidates.
    Write {
        row: usize,
        present: bool,
        pause_ms: u64,
        how: How,
    },
    Batch {
        row: usize,
        how: [How; 2],
        pauses_ms: [u64; 2],
        end: BatchEnd,
    },
}

/// How a change of a row is made known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    Key(Effect),
    Many,
    Insert,
    Tag(String, Effect),
    Prefix(&'static str, Effect),
    Cache(Effect),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchEnd {
    Commit,
    RollBack,
    Drop,
    /// The process dies between the database's commit and the batch's.
    Crash,
}

impl Op {
    pub(super) fn draw(dice: &Dice, rows: usize) -> Self {
        let row = dice.index(rows);
        let cache = row / PER_CACHE;
        let tiers = dice.pick(&[
            TierSet::ALL,
            TierSet::ALL,
            TierSet::ALL,
            TierSet::MEMORY,
            TierSet::ALL.without(TierKind::Redis),
            TierSet::ALL.without(TierKind::Disk),
        ]);
        match dice.below(24) {
            0..=4 => Self::Get { row, tiers },
            5 => Self::Peek { row },
            6..=13 => Self::Load {
                row,
                tiers,
                plan: LoadPlan::draw(dice),
            },
            14 => Self::GetMany { cache },
            15 => Self::LoadMany {
                cache,
                plan: LoadPlan::draw(dice),
            },
            16..=21 => Self::Write {
                row,
                present: !dice.one_in(6),
                pause_ms: if dice.one_in(3) { dice.below(50) } else { 0 },
                how: How::draw(dice, true),
            },
            _ => Self::Batch {
                row,
                how: [How::draw(dice, false), How::draw(dice, false)],
                pauses_ms: [dice.below(200), dice.below(200)],
                end: dice.weighted(&[
                    (4, BatchEnd::Commit),
                    (1, BatchEnd::RollBack),
                    (1, BatchEnd::Drop),
                    (2, BatchEnd::Crash),
                ]),
            },
        }
    }
}

impl How {
    fn draw(dice: &Dice, alone: bool) -> Self {
        let effect = dice.pick(&[Effect::Remove, Effect::Expire]);
        let tags = all_tags();
        match dice.below(if alone { 14 } else { 9 }) {
            0..=4 => Self::Key(effect),
            5 | 6 => Self::Tag(tags[dice.index(tags.len())].clone(), effect),
            7 => Self::Prefix(dice.pick(&["a:", "b:"]), effect),
            8 => Self::Cache(effect),
            9 => Self::Many,
            _ => Self::Insert,
        }
    }

    pub(super) fn effect(&self) -> Effect {
        match self {
            Self::Key(effect)
            | Self::Tag(_, effect)
            | Self::Prefix(_, effect)
            | Self::Cache(effect) => *effect,
            Self::Many | Self::Insert => Effect::Remove,
        }
    }

    pub(super) fn scope(&self, row: usize) -> Scope {
        let cache = row / PER_CACHE;
        let rows = cache * PER_CACHE..(cache + 1) * PER_CACHE;
        match self {
            Self::Key(_) | Self::Insert => Scope::Rows(vec![row]),
            Self::Tag(tag, _) => Scope::Tag(tag.clone()),
            Self::Prefix(prefix, _) => {
                Scope::Rows(rows.filter(|row| key(*row).starts_with(prefix)).collect())
            }
            Self::Many | Self::Cache(_) => Scope::Rows(rows.collect()),
        }
    }
}

/// The key of a row; two caches have the same keys.
pub(super) fn key(row: usize) -> String {
    KEYS[row % PER_CACHE].to_owned()
}

/// The row of a key below memory.
pub(super) fn row_of(key: &EntryKey) -> Option<usize> {
    let cache = CACHES.iter().position(|name| *name == &*key.cache)?;
    let place = KEYS.iter().position(|text| *text == &*key.text)?;
    Some(cache * PER_CACHE + place)
}

pub(super) const KEYS: [&str; PER_CACHE] = ["a:0", "a:1", "b:0"];
