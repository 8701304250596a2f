//! The versions of tables: who reads writes them down, who writes raises them.
//!
//! A table's state is one number: how many commits that may write it are under way, and above that how many have
//! ended. A result is good exactly as long as the states of its tables are what they were before its query was sent,
//! with no commit under way. What an open transaction has written is invisible to others, so it is marked only from
//! the moment at which its COMMIT is sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::config::LONGEST;
use super::knowledge::{Knowledge, Plan, Relations, Tables};
use super::outbox::Outbox;
use super::results::Slot;
use super::stats::Counters;
use crate::config::PoolConfig;
use crate::url::BackendKind;

/// One table, or all that share a name in different schemas.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) name: Box<str>,
    state: AtomicU64,
    /// When it was last raised, in milliseconds since 1970: what a result from a shared store is measured by.
    raised_at: AtomicU64,
    pub(super) raised: AtomicU64,
}

/// The bits that count the commits under way.
const UNDER_WAY: u64 = (1 << 20) - 1;

impl Table {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            state: AtomicU64::new(0),
            raised_at: AtomicU64::new(0),
            raised: AtomicU64::new(0),
        })
    }

    fn begin(&self) {
        self.state.fetch_add(1, Ordering::SeqCst);
    }

    fn raise(&self, at: u64) {
        self.raised_at.fetch_max(at, Ordering::SeqCst);
        self.raised.fetch_add(1, Ordering::Relaxed);
        // One more that has ended, one fewer under way.
        self.state.fetch_add(UNDER_WAY, Ordering::SeqCst);
    }

    /// `None` while a commit is under way.
    pub(super) fn stamp(&self) -> Option<u64> {
        let state = self.state.load(Ordering::SeqCst);
        (state & UNDER_WAY == 0).then_some(state)
    }
}

/// The states of all tables behind one result.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    tables: Arc<[Arc<Table>]>,
    states: Box<[u64]>,
}

impl Stamps {
    /// Whether nothing that was written since can be missing.
    pub(super) fn hold(&self) -> bool {
        let pairs = self.tables.iter().zip(&self.states);
        pairs
            .into_iter()
            .all(|(table, state)| table.state.load(Ordering::SeqCst) == *state)
    }

    /// The newest raise of any of them.
    pub(super) fn raised_at(&self) -> u64 {
        let times = self
            .tables
            .iter()
            .map(|table| table.raised_at.load(Ordering::SeqCst));
        times.max().unwrap_or(0)
    }
}

/// All versions of one pool.
pub(crate) struct Ledger {
    pub(super) kind: BackendKind,
    /// Stands for every table; behind every result.
    pub(super) all: Arc<Table>,
    /// Raised when the schema changes.
    schema: Arc<Table>,
    tables: RwLock<HashMap<Box<str>, Arc<Table>>>,
    knowledge: RwLock<Arc<Knowledge>>,
    /// Statements whose end nobody saw: raised once more when the server must have given up on them.
    due: Mutex<Vec<(Instant, Writing)>>,
    is_due: AtomicBool,
    pub(super) outbox: Outbox,
    pub(super) counters: Counters,
    /// Made at the first cached read.
    pub(super) results: Slot,
}

impl Ledger {
    pub(crate) fn new(config: &PoolConfig) -> Arc<Self> {
        Arc::new(Self {
            // What is no known URL has been refused before.
            kind: BackendKind::from_url(&config.url).unwrap_or(BackendKind::Postgres),
            all: Table::new("*"),
            schema: Table::new("(schema)"),
            tables: RwLock::default(),
            knowledge: RwLock::new(Arc::new(Knowledge::none(0))),
            due: Mutex::default(),
            is_due: AtomicBool::new(false),
            outbox: Outbox::default(),
            counters: Counters::new(&config.name),
            results: Slot::new(),
        })
    }

    pub(super) fn table(&self, name: &str) -> Arc<Table> {
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = known.get(name) {
            return Arc::clone(table);
        }
        let full = known.len() >= TABLES_MAX;
        drop(known);
        // Names out of statements, not out of the schema: so many share one version.
        let name = if full { "(others)" } else { name };
        let mut known = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let table = known.entry(name.into()).or_insert_with(|| Table::new(name));
        Arc::clone(table)
    }

    /// The tables raised most often.
    pub(super) fn most_raised(&self, count: usize) -> Vec<(String, u64)> {
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known
            .values()
            .chain([&self.all])
            .map(|table| (table.name.to_string(), table.raised.load(Ordering::Relaxed)))
            .filter(|(_, raised)| *raised > 0)
            .collect();
        all.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        all.truncate(count);
        all
    }

    // === what statements mean ===

    pub(super) fn knowledge(&self) -> Arc<Knowledge> {
        let knowledge = self
            .knowledge
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&knowledge)
    }

    pub(super) fn plan(&self, sql: &str) -> Arc<Plan> {
        self.knowledge().plan(sql, self)
    }

    /// The state of the schema, to be given to `learn`; `None` while it changes.
    pub(super) fn schema_stamp(&self) -> Option<u64> {
        self.schema.stamp()
    }

    /// Takes over what was read about the schema, unless it changed meanwhile.
    pub(super) fn learn(self: &Arc<Self>, relations: Relations, stamp: u64) {
        let mut current = self
            .knowledge
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.schema.stamp() != Some(stamp) {
            return;
        }
        // Somebody else changed the schema: what is kept was read under what no longer holds.
        let surprised = current.relations().is_some_and(|known| *known != relations);
        let epoch = current.epoch + u64::from(surprised);
        *current = Arc::new(Knowledge::of(epoch, relations));
        drop(current);
        if surprised {
            self.raise_here(Writing::everything());
        }
    }

    /// What was known about the schema is no longer so.
    pub(super) fn forget(&self) {
        let mut current = self
            .knowledge
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let next = current.epoch + 1;
        *current = Arc::new(Knowledge::none(next));
    }

    // === reading ===

    /// The states of `tables`; `None` while a commit to one of them is under way.
    pub(super) fn stamps(&self, tables: &Arc<[Arc<Table>]>) -> Option<Stamps> {
        self.raise_due();
        let states: Option<Box<[u64]>> = tables.iter().map(|table| table.stamp()).collect();
        Some(Stamps {
            tables: Arc::clone(tables),
            states: states?,
        })
    }

    // === writing ===

    /// Marks a commit that writes `writing` as under way.
    pub(super) fn begin(self: &Arc<Self>, writing: Writing) -> Mark {
        let tables = self.tables_of(&writing);
        for table in &tables {
            table.begin();
        }
        if writing.schema {
            self.schema.begin();
        }
        Mark {
            ledger: Arc::clone(self),
            epoch: self.knowledge().epoch,
            writing,
            tables,
        }
    }

    /// Never empty for a mark: who writes nothing makes none.
    fn tables_of(&self, writing: &Writing) -> Vec<Arc<Table>> {
        match &writing.tables {
            Tables::All => vec![Arc::clone(&self.all)],
            Tables::Only(names) => names.iter().map(|name| self.table(name)).collect(),
        }
    }

    /// Raises `writing` now; for what no statement of this process did.
    pub(super) fn raise(self: &Arc<Self>, writing: Writing) {
        self.begin(writing).raise();
    }

    /// Raises it without telling other processes: they told it.
    pub(super) fn raise_here(self: &Arc<Self>, writing: Writing) {
        self.begin(writing).settle(false);
    }

    /// Raises `writing` again after `delay`: by then nothing of it can run any more.
    pub(super) fn raise_later(&self, writing: Writing, delay: Duration) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now() + delay.min(LONGEST);
        if due.len() < DUE_MAX {
            due.push((at, writing));
        } else if let Some(last) = due.last_mut() {
            *last = (at, Writing::everything());
        }
        self.is_due.store(true, Ordering::SeqCst);
    }

    /// One of the statements whose end nobody saw is known to have taken effect.
    pub(crate) fn raise_unsure(&self) {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, writing) in due.iter() {
            self.raise_tables(writing);
        }
    }

    fn raise_tables(&self, writing: &Writing) {
        for table in self.tables_of(writing) {
            table.begin();
            table.raise(unix_now());
        }
        self.outbox.tell(writing);
    }

    /// The schema was changed by what tells no statements.
    #[cfg(feature = "migrations")]
    pub(crate) fn schema_changed(self: &Arc<Self>) {
        self.raise(Writing {
            schema: true,
            ..Writing::everything()
        });
    }

    /// Called before anything is read, so that nobody has to keep the time.
    pub(super) fn raise_due(&self) {
        if self.is_due.load(Ordering::SeqCst) {
            self.raise_due_now();
        }
    }

    fn raise_due_now(&self) {
        let now = Instant::now();
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nobody sees the list shorter and the versions not yet raised.
        due.retain(|(at, writing)| {
            if *at > now {
                return true;
            }
            self.raise_tables(writing);
            false
        });
        self.is_due.store(!due.is_empty(), Ordering::SeqCst);
    }
}

/// What a statement or a transaction writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writing {
    pub(super) tables: Tables,
    /// The schema, too.
    pub(super) schema: bool,
}

impl Writing {
    pub(super) fn nothing() -> Self {
        Self {
            tables: Tables::Only(BTreeSet::new()),
            schema: false,
        }
    }

    pub(super) fn everything() -> Self {
        Self {
            tables: Tables::All,
            schema: false,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.tables, Tables::Only(names) if names.is_empty())
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.schema |= other.schema;
        match (&mut self.tables, &other.tables) {
            (Tables::Only(these), Tables::Only(those)) => these.extend(those.iter().cloned()),
            (these, _) => *these = Tables::All,
        }
    }
}

/// Tables that a commit under way may write; ends by raising them, also when dropped.
#[must_use]
pub(crate) struct Mark {
    ledger: Arc<Ledger>,
    epoch: u64,
    writing: Writing,
    tables: Vec<Arc<Table>>,
}

impl Mark {
    pub(super) fn writing(&self) -> &Writing {
        &self.writing
    }

    /// It committed, or may have.
    pub(super) fn raise(self) {
        self.settle(true);
    }

    fn settle(mut self, tell: bool) {
        self.end(tell);
    }

    fn end(&mut self, tell: bool) {
        if self.tables.is_empty() {
            return; // settled before
        }
        let now = unix_now();
        let ledger = &self.ledger;
        if self.writing.schema {
            ledger.forget();
            ledger.schema.raise(now);
        } else if ledger.knowledge().epoch != self.epoch {
            // The schema changed since: what was written may have gone further than was known when it was marked.
            ledger.all.begin();
            ledger.all.raise(now);
        }
        for table in std::mem::take(&mut self.tables) {
            table.raise(now);
        }
        ledger.counters.invalidations.add(1);
        if tell {
            ledger.outbox.tell(&self.writing);
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// Milliseconds since 1970; processes compare them, so a monotonic clock will not do.
pub(super) fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// More names than any schema has tables.
const TABLES_MAX: usize = 20_000;

/// Statements of unknown end that are remembered one by one.
const DUE_MAX: usize = 256;
