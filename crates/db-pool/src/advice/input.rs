//! The numbers that advice is made from, whoever collects them.

use std::time::Duration;

/// What one pool did in a time.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolNumbers {
    pub(super) max_size: u32,
    pub(super) min_idle: u32,
    /// The time that the counts are about.
    pub(super) window: Duration,
    pub(super) acquired: u64,
    pub(super) timeouts: u64,
    pub(super) connects: u64,
    pub(super) recovered: u64,
    pub(super) discarded: u64,
    /// How long 99 of 100 borrowers waited at most, if that is known.
    pub(super) waited_p99: Option<Duration>,
    /// The most connections that were seen in use, looking once a second.
    pub(super) in_use_max: Option<u32>,
    pub(super) sites: Vec<SiteNumbers>,
}

/// How connections were held that one place in the program borrowed.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteNumbers {
    /// `file:line:column`.
    pub(super) at: String,
    pub(super) holds: u64,
    /// All holds together.
    pub(super) held: Duration,
    pub(super) held_high: Duration,
    /// How much of `held` a statement was under way.
    pub(super) querying: Duration,
}

/// What the server says about its connections.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug, Default)]
pub(super) struct FleetNumbers {
    pub(super) application: String,
    pub(super) max_size: u32,
    pub(super) max_connections: u32,
    pub(super) reserved: u32,
    pub(super) sessions: u32,
    /// Sessions that carry the name of this pool.
    pub(super) ours: u32,
    /// The addresses that those come from.
    pub(super) hosts: u32,
}

/// A statement that took time.
#[derive(Clone, Debug, Default)]
pub(super) struct StatementNumbers {
    pub(super) fingerprint: u64,
    /// Its form, without values: the only text that is ever shown.
    pub(super) sql: String,
    /// As it was sent; what stands in it as text may be somebody's data.
    pub(super) sent: String,
    pub(super) count: u64,
    pub(super) total: Duration,
    pub(super) p99: Duration,
    /// Who last borrowed the connection that it ran on.
    pub(super) at: Option<String>,
}

/// How one table was read in a time.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TableNumbers {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) scans: u64,
    /// Rows that these scans have read.
    pub(super) scanned: u64,
    pub(super) index_scans: u64,
}

/// A foreign key whose columns no index begins with.
#[derive(Clone, Debug, Default)]
pub(super) struct ForeignKey {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) parent: String,
    pub(super) rows: u64,
    /// What happens to the rows when the parent goes: `cascade` and the like read them.
    pub(super) cascades: bool,
}

/// An index as far as its use and its need are concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexNumbers {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) name: String,
    /// Columns or expressions, with their direction, as the database writes them.
    pub(super) columns: Vec<String>,
    /// What must be equal besides: method, condition, operator classes.
    pub(super) rest: String,
    pub(super) unique: bool,
    /// Belongs to a constraint, so it cannot be dropped by itself.
    pub(super) constraint: bool,
    /// Begins with the columns of a foreign key, so changes of the parent need it, counted or not.
    pub(super) serves_key: bool,
    pub(super) valid: bool,
    pub(super) building: bool,
    pub(super) bytes: Option<u64>,
    /// Scans since the statistics began; `None` where nobody counts.
    pub(super) scans: Option<u64>,
}
