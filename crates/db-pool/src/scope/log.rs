//! What one request asks of its databases, statement by statement, and what it asks again and again.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::report::{ScopeReport, ScopeStatement};
use crate::observe::{Statement, TextHash};
use crate::sql::Kind;

/// The statements of one scope; bounded, the rest is only counted.
#[derive(Default)]
pub(crate) struct Log(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    started: VecDeque<Started>,
    groups: Vec<Group>,
    statements: u64,
    time: Duration,
    /// Raised by every write: what was read before may have changed since.
    writes: u64,
}

/// A statement under way.
struct Started {
    text: u64,
    values: Option<u64>,
    since: Instant,
}

/// All runs of one statement.
struct Group {
    statement: Arc<Statement>,
    at: Option<&'static Location<'static>>,
    count: u64,
    /// Runs with values of their own that began after the one before had ended.
    in_turn: u64,
    duplicates: u64,
    total: Duration,
    longest: Duration,
    last_end: Instant,
    /// The values that were seen, and after how many writes.
    seen: Vec<(u64, u64)>,
}

/// What a statement is found to do when it has ended; each once per scope and statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It ran this often, with other values each time, one run after another.
    NPlusOne(u64),
    /// It ran with the same values before, and nothing was written in between.
    Duplicate,
}

impl Log {
    pub(crate) fn start(&self, text: &TextHash, since: Instant) {
        let mut inner = self.lock();
        if inner.started.len() >= MOST_STARTED {
            inner.started.pop_front();
        }
        let (text, values) = (text.sql(), text.with_values());
        inner.started.push_back(Started {
            text,
            values,
            since,
        });
    }

    /// Counts a statement that has ended and was told to [`start`](Self::start) in the same scope.
    pub(crate) fn finish(
        &self,
        text: u64,
        statement: &Arc<Statement>,
        at: Option<&'static Location<'static>>,
        now: Instant,
    ) -> Option<Finding> {
        let mut inner = self.lock();
        let position = inner.started.iter().position(|one| one.text == text)?;
        let started = inner.started.remove(position)?;
        if statement.kind == Kind::Control {
            return None;
        }
        let took = now.saturating_duration_since(started.since);
        inner.statements += 1;
        inner.time += took;
        if statement.kind != Kind::Read {
            inner.writes += 1;
        }
        let writes = inner.writes;
        let group = inner.group(statement, at, started.since)?;
        group.count += 1;
        group.total += took;
        group.longest = group.longest.max(took);
        group.judge(&started, writes, now)
    }

    pub(super) fn report(&self) -> ScopeReport {
        let inner = self.lock();
        let all: Vec<_> = inner.groups.iter().map(Group::snapshot).collect();
        ScopeReport::new(inner.statements, inner.time, all)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn group(
        &mut self,
        statement: &Arc<Statement>,
        at: Option<&'static Location<'static>>,
        since: Instant,
    ) -> Option<&mut Group> {
        let same = |one: &Group| one.statement.fingerprint == statement.fingerprint;
        let position = self.groups.iter().position(same);
        if position.is_none() && self.groups.len() < MOST_GROUPS {
            self.groups.push(Group {
                statement: Arc::clone(statement),
                at,
                count: 0,
                in_turn: 0,
                duplicates: 0,
                total: Duration::ZERO,
                longest: Duration::ZERO,
                last_end: since,
                seen: Vec::new(),
            });
            return self.groups.last_mut();
        }
        self.groups.get_mut(position?)
    }
}

impl Group {
    fn judge(&mut self, started: &Started, writes: u64, now: Instant) -> Option<Finding> {
        let in_turn = started.since >= self.last_end;
        self.last_end = self.last_end.max(now);
        let seen = started.values.and_then(|values| {
            let place = self.seen.iter_mut().find(|(seen, _)| *seen == values)?;
            Some(std::mem::replace(&mut place.1, writes))
        });
        if let Some(after) = seen {
            let unchanged = after == writes && self.statement.kind == Kind::Read;
            self.duplicates += u64::from(unchanged);
            return (unchanged && self.duplicates == 1).then_some(Finding::Duplicate);
        }
        if let Some(values) = started.values
            && self.seen.len() < MOST_VALUES
        {
            self.seen.push((values, writes));
        }
        self.in_turn += u64::from(in_turn);
        (in_turn && self.in_turn == N_PLUS_ONE).then_some(Finding::NPlusOne(self.in_turn))
    }

    fn snapshot(&self) -> ScopeStatement {
        ScopeStatement {
            sql: self.statement.sql.to_string(),
            summary: self.statement.summary.to_string(),
            at: self.at.map(Location::to_string),
            count: self.count,
            in_turn: self.in_turn,
            duplicates: self.duplicates,
            total: self.total,
            longest: self.longest,
            writes: self.statement.kind != Kind::Read,
        }
    }
}

/// From this many repetitions on a statement is worth a query for all of its values at once.
pub(super) const N_PLUS_ONE: u64 = 5;

const MOST_STARTED: usize = 256;
const MOST_GROUPS: usize = 128;
const MOST_VALUES: usize = 256;
