//! The pure core: takes changes and `now`, gives snapshots and deltas; no clock, lock or task.
//!
//! Every item keeps the number of its last change. What a client has missed is the set of items
//! with a higher number than its cursor, so nothing is queued for anybody: memory is O(items) for
//! any number of clients, and a resumed client runs the same code as a live one.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    CheckSnapshot, Cursor, Delta, FORMAT_VERSION, ProgressConfig, Readiness, Snapshot,
    StepSnapshot, StepStatus, Update,
    life::{Change, WHOLE, apply, millis, work},
};

/// Which step; an index into the state's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepId(u32);

/// A new step, as announced.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewStep<'a> {
    pub(crate) name: &'a str,
    pub(crate) stage: Option<&'a str>,
    pub(crate) dependencies: Vec<&'a str>,
    pub(crate) background: bool,
    pub(crate) milestone: bool,
}

/// Everything known about one run.
#[derive(Debug)]
pub(crate) struct State {
    config: ProgressConfig,
    service: String,
    run: String,
    started_at_ms: u64,
    /// The number of the newest change.
    seq: u64,
    readiness: Readiness,
    reason: Option<String>,
    ready_at: Option<Duration>,
    steps: Vec<Numbered<StepSnapshot>>,
    checks: BTreeMap<String, Numbered<CheckSnapshot>>,
    omitted_steps: u64,
    /// The sum of all steps' work in thousandths, kept up to date so that percent costs O(1).
    work_done: u64,
    /// The highest percentage reached.
    percent: u8,
    /// The number at which the streams were closed.
    closed_at: Option<u64>,
}

#[derive(Debug)]
struct Numbered<T> {
    seq: u64,
    item: T,
}

impl State {
    pub(crate) fn new(
        service: &str,
        run: String,
        started_at_ms: u64,
        config: ProgressConfig,
    ) -> Self {
        Self {
            service: config.cut(service),
            config,
            run,
            started_at_ms,
            seq: 0,
            readiness: Readiness::Starting,
            reason: None,
            ready_at: None,
            steps: Vec::new(),
            checks: BTreeMap::new(),
            omitted_steps: 0,
            work_done: 0,
            percent: 0,
            closed_at: None,
        }
    }

    // === changes ===

    /// Adds a pending step; `None` past the bound, where it is only counted.
    pub(crate) fn announce(&mut self, new: &NewStep<'_>) -> Option<StepId> {
        self.seq += 1;
        let id = u32::try_from(self.steps.len()).ok();
        let Some(id) = id.filter(|_| self.steps.len() < self.config.steps_max) else {
            self.omitted_steps = self.omitted_steps.saturating_add(1);
            return None;
        };
        let item = StepSnapshot {
            id,
            name: self.config.cut(new.name),
            stage: new.stage.map(|stage| self.config.cut(stage)),
            status: StepStatus::Pending,
            current: 0,
            total: None,
            message: None,
            error: None,
            started_ms: None,
            took_ms: None,
            dependencies: new
                .dependencies
                .iter()
                .map(|name| self.config.cut(name))
                .collect(),
            background: new.background,
            milestone: new.milestone,
        };
        self.steps.push(Numbered {
            seq: self.seq,
            item,
        });
        Some(StepId(id))
    }

    /// Applies one change to one step; returns whether anything changed.
    pub(crate) fn change(&mut self, id: StepId, change: &Change<'_>, now: Duration) -> bool {
        let Some(entry) = self.steps.get_mut(id.0 as usize) else {
            return false;
        };
        let before = work(&entry.item);
        if !apply(&mut entry.item, change, now, &self.config) {
            return false;
        }
        let after = work(&entry.item);
        self.seq += 1;
        entry.seq = self.seq;
        // `work_done` contains `before`, so the subtraction cannot underflow.
        self.work_done = self.work_done - before + after;
        self.raise_percent();
        true
    }

    /// Moves the readiness, closing the streams when the new one is final; ignored when illegal.
    pub(crate) fn become_(&mut self, next: Readiness, reason: Option<&str>, now: Duration) -> bool {
        if !self.readiness.can_become(next) {
            return false;
        }
        self.readiness = next;
        self.seq += 1;
        self.reason = reason.map(|reason| self.config.cut(reason));
        if next == Readiness::Ready {
            self.ready_at = Some(now);
            self.percent = 100;
        }
        if next.is_final() {
            self.close();
        }
        true
    }

    /// Stores what a check answered; returns whether that is news.
    pub(crate) fn record_check(&mut self, name: &str, answer: &CheckSnapshot) -> bool {
        let mut item = answer.clone();
        item.detail = item.detail.map(|detail| self.config.cut(&detail));
        let name = self.config.cut(name);
        if self
            .checks
            .get(&name)
            .is_some_and(|known| known.item == item)
        {
            return false;
        }
        self.seq += 1;
        self.checks.insert(
            name,
            Numbered {
                seq: self.seq,
                item,
            },
        );
        true
    }

    /// Ends the streams with a change of its own, so that whoever waits for one wakes up.
    pub(crate) fn close(&mut self) {
        if self.closed_at.is_none() {
            self.seq += 1;
            self.closed_at = Some(self.seq);
        }
    }

    fn raise_percent(&mut self) {
        // Becoming ready weighs as much as a step. So steps that are announced one by one raise
        // the number by less and less, instead of jumping to 99 with the first that is over.
        let all = (self.steps.len() as u64 + 1) * WHOLE;
        let reached = self.work_done * 100 / all;
        self.percent = self.percent.max(u8::try_from(reached).unwrap_or(99));
    }

    // === reads ===

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn config(&self) -> &ProgressConfig {
        &self.config
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed_at.is_some()
    }

    /// Whether the streams are closed and this client has seen all that they carried.
    pub(crate) fn has_ended_for(&self, cursor: &Cursor) -> bool {
        *cursor.run == *self.run && self.closed_at.is_some_and(|closed| cursor.seq >= closed)
    }

    pub(crate) fn snapshot(&self, now: Duration) -> Snapshot {
        Snapshot {
            version: FORMAT_VERSION,
            run: self.run.clone(),
            seq: self.seq,
            service: self.service.clone(),
            status: self.readiness,
            reason: self.reason.clone(),
            percent: self.percent,
            started_at_ms: self.started_at_ms,
            elapsed_ms: millis(now),
            ready_ms: self.ready_at.map(millis),
            omitted_steps: self.omitted_steps,
            steps: self.steps.iter().map(|step| step.item.clone()).collect(),
            checks: self.checks_since(None),
        }
    }

    /// What a client at `cursor` has missed; `None` when nothing.
    ///
    /// Without a cursor, with one of another run or with one from the future: a snapshot.
    pub(crate) fn since(&self, cursor: Option<&Cursor>, now: Duration) -> Option<Update> {
        match cursor.filter(|cursor| *cursor.run == *self.run && cursor.seq <= self.seq) {
            None => Some(Update::Snapshot(self.snapshot(now))),
            Some(cursor) if cursor.seq == self.seq => None,
            Some(cursor) => Some(Update::Delta(self.delta(cursor.seq, now))),
        }
    }

    fn delta(&self, since: u64, now: Duration) -> Delta {
        let changed = self.steps.iter().filter(|step| step.seq > since);
        Delta {
            version: FORMAT_VERSION,
            run: self.run.clone(),
            since,
            seq: self.seq,
            status: self.readiness,
            reason: self.reason.clone(),
            percent: self.percent,
            elapsed_ms: millis(now),
            ready_ms: self.ready_at.map(millis),
            omitted_steps: self.omitted_steps,
            steps: changed.map(|step| step.item.clone()).collect(),
            checks: self.checks_since(Some(since)),
        }
    }

    fn checks_since(&self, since: Option<u64>) -> BTreeMap<String, CheckSnapshot> {
        let changed = self
            .checks
            .iter()
            .filter(|(_, check)| Some(check.seq) > since);
        changed
            .map(|(name, check)| (name.clone(), check.item.clone()))
            .collect()
    }
}
