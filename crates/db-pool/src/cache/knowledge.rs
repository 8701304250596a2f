//! What is known about the schema, and what statements mean in its light; both are read once and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{Ledger, Table, Writing};
use super::statement::{Control, Statement, Targets};
use super::tokens::normal;
use crate::url::BackendKind;

/// A set of tables by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    Only(BTreeSet<Box<str>>),
    All,
}

/// What calling a function means for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The result depends on nothing but the arguments and the time.
    Plain,
    /// The result must not be kept.
    Fickle,
    /// It may also write.
    Writes,
}

pub(super) type Edges = BTreeMap<Box<str>, BTreeSet<Box<str>>>;

/// The relations of a database, as far as results depend on them.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Relations {
    /// Tables, views, partitions: everything that can be read.
    pub(super) names: BTreeSet<Box<str>>,
    /// Writing the first also writes these: cascades, partitions, tables behind views, triggers.
    pub(super) writes: Edges,
    /// Reading the first also reads these: the tables behind views.
    pub(super) reads: Edges,
    /// Writing these runs code that may write anything.
    pub(super) unbounded: BTreeSet<Box<str>>,
    pub(super) calls: BTreeMap<Box<str>, Call>,
    /// Views that call functions, which may read anything.
    pub(super) opaque: BTreeSet<Box<str>>,
}

impl Relations {
    pub(super) fn also_writes(&mut self, table: Box<str>, other: Box<str>) {
        self.writes.entry(table).or_default().insert(other);
    }

    pub(super) fn also_reads(&mut self, table: Box<str>, other: Box<str>) {
        self.reads.entry(table).or_default().insert(other);
    }

    /// What a call means; a name that nobody knows may do anything.
    #[cfg(feature = "postgres")]
    pub(super) fn may_write(&self, function: &str) -> bool {
        !SYNTAX.contains(&function)
            && self
                .calls
                .get(function)
                .is_none_or(|call| *call == Call::Writes)
    }

    /// Takes the user's word for what the triggers of a table write.
    pub(super) fn declare<'a>(&mut self, table: &str, written: impl Iterator<Item = &'a str>) {
        let table = normal(table);
        self.unbounded.remove(&table);
        for name in written {
            self.also_writes(table.clone(), normal(name));
        }
    }

    fn closure(&self, from: &BTreeSet<Box<str>>, edges: &Edges) -> BTreeSet<Box<str>> {
        let mut reached = from.clone();
        let mut open: Vec<_> = from.iter().cloned().collect();
        while let Some(next) = open.pop() {
            for name in edges.get(&next).into_iter().flatten() {
                if reached.insert(name.clone()) {
                    open.push(name.clone());
                }
            }
        }
        reached
    }

    /// What writing `targets` writes in the end.
    pub(super) fn written(&self, targets: &BTreeSet<Box<str>>) -> Tables {
        let reached = self.closure(targets, &self.writes);
        if reached.is_disjoint(&self.unbounded) {
            Tables::Only(reached)
        } else {
            Tables::All
        }
    }

    /// What reading `names` reads in the end.
    pub(super) fn read(&self, names: &BTreeSet<Box<str>>) -> BTreeSet<Box<str>> {
        let known = names.intersection(&self.names).cloned().collect();
        self.closure(&known, &self.reads)
    }
}

/// What one SQL text means.
pub(super) struct Plan {
    pub(super) sql: Box<str>,
    pub(super) control: Control,
    pub(super) writing: Writing,
    /// The tables behind its result, the one that stands for all included; `None` if the result must not be kept.
    pub(super) reads: Option<Arc<[Arc<Table>]>>,
    /// It names a table that is not known.
    pub(super) unknown_table: bool,
}

impl Plan {
    /// Whether it neither writes nor touches the transaction.
    pub(super) fn is_idle(&self) -> bool {
        self.control == Control::None && self.writing.is_nothing()
    }
}

/// The relations, if they have been read, and the meaning of statements seen since.
pub(super) struct Knowledge {
    /// Grows with every change of the schema that was seen.
    pub(super) epoch: u64,
    relations: Option<Relations>,
    since: Instant,
    plans: quick_cache::sync::Cache<Box<str>, Arc<Plan>>,
}

impl Knowledge {
    /// Nothing is known: every statement that may write counts as writing everything.
    pub(super) fn none(epoch: u64) -> Self {
        Self::with(epoch, None)
    }

    pub(super) fn of(epoch: u64, relations: Relations) -> Self {
        Self::with(epoch, Some(relations))
    }

    fn with(epoch: u64, relations: Option<Relations>) -> Self {
        Self {
            epoch,
            relations,
            since: Instant::now(),
            plans: quick_cache::sync::Cache::new(PLANS),
        }
    }

    /// How long ago the schema was read.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn relations(&self) -> Option<&Relations> {
        self.relations.as_ref()
    }

    pub(super) fn plan(&self, sql: &str, ledger: &Ledger) -> Arc<Plan> {
        if let Some(plan) = self.plans.get(sql) {
            return plan;
        }
        let plan = Arc::new(self.think(sql, ledger));
        if sql.len() <= PLAN_BYTES {
            self.plans.insert(sql.into(), Arc::clone(&plan));
        }
        plan
    }

    fn think(&self, sql: &str, ledger: &Ledger) -> Plan {
        let statement = Statement::parse(sql, ledger.kind);
        let call = self.call(&statement, ledger.kind);
        let tables = match (&statement.targets, &self.relations) {
            (Targets::Only(targets), _) if targets.is_empty() => {
                if call == Call::Writes {
                    Tables::All
                } else {
                    Tables::Only(BTreeSet::new())
                }
            }
            (Targets::Only(targets), Some(relations)) if call != Call::Writes => {
                relations.written(targets)
            }
            _ => Tables::All,
        };
        let known = self.relations.as_ref();
        let unknown_table = known.is_some_and(|known| !statement.tables.is_subset(&known.names));
        let keeps = statement.query && call == Call::Plain && !unknown_table;
        let opaque = known.is_some_and(|known| {
            let reached = known.read(&statement.mentioned);
            !reached.is_disjoint(&known.opaque)
        });
        let system = opaque || statement.mentioned.iter().any(|name| is_system(name));
        let reads = match known {
            Some(known) if keeps && !system => {
                let names = known.read(&statement.mentioned);
                Some(tables_of(names.iter(), ledger))
            }
            _ => None,
        };
        Plan {
            sql: sql.into(),
            control: statement.control,
            writing: Writing {
                tables,
                schema: statement.schema,
            },
            reads,
            unknown_table,
        }
    }

    /// The worst of all calls in the statement.
    fn call(&self, statement: &Statement, kind: BackendKind) -> Call {
        let unknown = match kind {
            BackendKind::Postgres => Call::Writes,
            BackendKind::Sqlite => Call::Fickle,
        };
        let judge = |name: &str| match &self.relations {
            // A list of columns behind the name of a table.
            Some(known) if known.names.contains(name) => Call::Plain,
            Some(known) if known.calls.contains_key(name) => known.calls[name],
            _ if SYNTAX.contains(&name) => Call::Plain,
            Some(_) => unknown,
            None if PLAIN.contains(&name) => Call::Plain,
            None => unknown,
        };
        let calls = statement.called.iter().map(|name| judge(name));
        calls.max_by_key(|call| *call as u8).unwrap_or(Call::Plain)
    }
}

/// The tables behind a result that reads `names`.
pub(super) fn tables_of<'a>(
    names: impl Iterator<Item = &'a Box<str>>,
    ledger: &Ledger,
) -> Arc<[Arc<Table>]> {
    [Arc::clone(&ledger.all)]
        .into_iter()
        .chain(names.map(|name| ledger.table(name)))
        .collect()
}

/// What the database keeps about itself changes without anybody writing it.
fn is_system(name: &str) -> bool {
    const SYSTEM: [&str; 4] = ["pg_catalog", "information_schema", "pg_temp", "dbstat"];
    SYSTEM.contains(&name) || name.starts_with("sqlite_") || name.starts_with("pragma_")
}

/// Calls that are part of the language: no catalog lists them.
const SYNTAX: [&str; 24] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "cast",
    "extract",
    "trim",
    "treat",
    "normalize",
    "xmlelement",
    "xmlforest",
    "xmlagg",
    "grouping",
    "current_timestamp",
    "current_time",
    "localtime",
    "localtimestamp",
    "json_object",
    "json_array",
    "json_value",
    "json_query",
    "json_exists",
    "json_table",
    "iif",
];

/// Functions known not to write before anything else is known.
const PLAIN: [&str; 16] = [
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "coalesce",
    "lower",
    "upper",
    "length",
    "now",
    "nullif",
    "exists",
    "abs",
    "round",
    "pg_advisory_lock",
    "pg_advisory_unlock",
];

/// Texts whose meaning is kept; the least used make room.
const PLANS: usize = 2_000;

/// Longer texts are read again each time: they are rarely the same.
const PLAN_BYTES: usize = 16 << 10;
