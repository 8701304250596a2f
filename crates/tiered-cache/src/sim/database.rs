//! The scripted database: rows whose every version is remembered with the time at which it was
//! committed.

use serde::{Deserialize, Serialize};

/// What the caches hold: which row it was read from, and at which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) row: usize,
    pub(super) version: u64,
    /// So that some values are compressed, and some packed.
    pub(super) padding: String,
}

#[derive(Debug)]
pub(super) struct Database {
    rows: Vec<Vec<Revision>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Revision {
    pub(super) committed_ms: u64,
    /// Whether the row is there, or was deleted by this commit.
    pub(super) present: bool,
}

impl Database {
    pub(super) fn new(rows: usize) -> Self {
        let first = Revision {
            committed_ms: 0,
            present: true,
        };
        Self {
            rows: vec![vec![first]; rows],
        }
    }

    /// Commits the next version of a row and returns it; the first is 1.
    pub(super) fn commit(&mut self, row: usize, present: bool, now_ms: u64) -> u64 {
        self.rows[row].push(Revision {
            committed_ms: now_ms,
            present,
        });
        self.version(row)
    }

    /// The version of the row now.
    pub(super) fn version(&self, row: usize) -> u64 {
        self.rows[row].len() as u64
    }

    /// The versions of all rows now.
    pub(super) fn versions(&self) -> Vec<u64> {
        (0..self.rows.len()).map(|row| self.version(row)).collect()
    }

    /// What a query gave when the row had that version.
    pub(super) fn read_at(&self, row: usize, version: u64) -> Option<Value> {
        self.present(row, version).then(|| Value {
            row,
            version,
            padding: "x".repeat((version as usize * 97) % 300),
        })
    }

    pub(super) fn present(&self, row: usize, version: u64) -> bool {
        self.rows[row][version as usize - 1].present
    }

    /// When the version stopped being the current one.
    pub(super) fn superseded_ms(&self, row: usize, version: u64) -> Option<u64> {
        self.rows[row]
            .get(version as usize)
            .map(|next| next.committed_ms)
    }
}

/// What an entry of that row and version depends on; the second changes with the version.
pub(super) fn tags(row: usize, version: u64) -> [String; 2] {
    [
        format!("group-{}", row % 2),
        format!("mood-{}", version % 3),
    ]
}

/// All tags there are.
pub(super) fn all_tags() -> Vec<String> {
    let groups = (0..2).map(|group| format!("group-{group}"));
    groups
        .chain((0..3).map(|mood| format!("mood-{mood}")))
        .collect()
}
