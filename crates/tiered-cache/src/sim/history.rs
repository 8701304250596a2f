//! What every process could have known when, and so which answers are wrong.

mod tests;

use std::collections::BTreeMap;

use super::database::{self, Database};
use crate::coherence::{Effect, Epoch, Page, Target, Version};

/// All invalidations of a schedule, and who could know of them from when on.
#[derive(Debug, Default)]
pub(super) struct History {
    floors: Vec<Floor>,
    processes: Vec<Process>,
    insertions: Vec<Insertion>,
    /// What the targets in log records stand for.
    targets: BTreeMap<Target, Scope>,
    /// How long a process that hears nothing may go on with what it has.
    silent_bound_ms: u64,
    /// How long a value may be answered as fresh after it was replaced, invalidated or not.
    fresh_bound_ms: u64,
}

/// Rows that one invalidation covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Rows(Vec<usize>),
    Tag(String),
    All,
}

/// When a read began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    pub(super) event: u64,
    pub(super) at_ms: u64,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A fresh value, from a tier or a loader.
    Fresh(u64),
    /// A value that was said to be stale.
    Stale(u64),
    Absent,
}

#[derive(Debug)]
struct Floor {
    scope: Scope,
    effect: Effect,
    /// The version of every row when it was made: what is below was replaced before.
    versions: Vec<u64>,
    at_ms: u64,
    source: Source,
    known: BTreeMap<usize, Known>,
    /// When the log lost it.
    lost_ms: Option<u64>,
    /// Processes that began when it could not be known any more.
    lost_to: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// A call in that process; it may have returned.
    Call { by: usize, returned: bool },
    /// A record of the shared log. To the process that wrote it, it says no more than the call did.
    Record {
        version: Version,
        by: usize,
        /// Its effect is in the slot of the key too.
        marked: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// By every read that begins after that event.
    AfterEvent(u64),
    /// By every read that begins later than that millisecond.
    AfterMs(u64),
}

#[derive(Debug)]
struct Process {
    began: Began,
    /// The log as the process saw it last.
    seen: Option<Epoch>,
}

#[derive(Debug)]
struct Insertion {
    row: usize,
    version: u64,
    from_ms: u64,
    until_ms: u64,
}

impl Scope {
    fn covers(&self, row: usize, version: u64) -> bool {
        match self {
            Self::Rows(rows) => rows.contains(&row),
            Self::Tag(tag) => database::tags(row, version).contains(tag),
            Self::All => true,
        }
    }
}

impl History {
    pub(super) fn new(
        targets: BTreeMap<Target, Scope>,
        silent_bound_ms: u64,
        fresh_bound_ms: u64,
    ) -> Self {
        Self {
            targets,
            silent_bound_ms,
            fresh_bound_ms,
            ..Self::default()
        }
    }

    // === processes ===

    /// A process starts; `heir_of` is the one whose folder it has.
    ///
    /// Records up to `trimmed` are not in the log any more. Those whose writer had not come to mark
    /// the slot of their key are lost to it.
    pub(super) fn start(
        &mut self,
        began: Began,
        heir_of: Option<usize>,
        trimmed: Version,
    ) -> usize {
        let process = self.processes.len();
        self.processes.push(Process { began, seen: None });
        for floor in &mut self.floors {
            let inherited = match floor.source {
                Source::Call { by, returned } => returned && Some(by) == heir_of,
                // It replays the log before it serves anything that is older than itself.
                Source::Record {
                    version,
                    marked: false,
                    ..
                } if version <= trimmed => {
                    floor.lost_to.push(process);
                    false
                }
                // What was lost has left another epoch.
                Source::Record { .. } => true,
            };
            // What the heir's ancestors knew by their own calls is in the folder too.
            let by_folder = matches!(floor.source, Source::Call { .. })
                && heir_of.is_some_and(|heir| floor.known.contains_key(&heir));
            let kept = matches!(floor.source, Source::Call { returned: true, .. }) && by_folder;
            if inherited || kept {
                floor.known.insert(process, Known::AfterEvent(began.event));
            }
        }
        process
    }

    // === invalidations ===

    /// A call in process `by` was begun; from its first poll on the process itself knows.
    pub(super) fn called(
        &mut self,
        by: usize,
        scope: Scope,
        effect: Effect,
        versions: Vec<u64>,
        began: Began,
    ) -> usize {
        self.floors.push(Floor {
            scope,
            effect,
            versions,
            at_ms: began.at_ms,
            source: Source::Call {
                by,
                returned: false,
            },
            known: BTreeMap::from([(by, Known::AfterEvent(began.event))]),
            lost_ms: None,
            lost_to: Vec::new(),
        });
        self.floors.len() - 1
    }

    /// The call returned: what it did is now kept in the folder, if there is one.
    pub(super) fn returned(&mut self, call: usize) {
        if let Source::Call { returned, .. } = &mut self.floors[call].source {
            *returned = true;
        }
    }

    /// From now on everybody must know of the call: it was not lost, and there was time enough.
    pub(super) fn everybody_knows(&mut self, call: usize, now_ms: u64) {
        for process in 0..self.processes.len() {
            let known = &mut self.floors[call].known;
            known.entry(process).or_insert(Known::AfterMs(now_ms));
        }
    }

    /// The log has taken a record.
    pub(super) fn logged(
        &mut self,
        version: Version,
        by: usize,
        changes: &[(Target, Effect)],
        versions: &[u64],
        now_ms: u64,
    ) {
        for (target, effect) in changes {
            let scope = self.targets.get(target);
            let scope = scope.expect("a record about something that nobody invalidated");
            self.floors.push(Floor {
                scope: scope.clone(),
                effect: *effect,
                versions: versions.to_vec(),
                at_ms: now_ms,
                source: Source::Record {
                    version,
                    by,
                    // What is no key has its floor in the log.
                    marked: !matches!(target, Target::Key(_)),
                },
                known: BTreeMap::new(),
                lost_ms: None,
                lost_to: Vec::new(),
            });
        }
    }

    /// The slot of the row's key has the effect of the record.
    pub(super) fn marked(&mut self, row: usize, at: Version) {
        for floor in &mut self.floors {
            if let Source::Record {
                version, marked, ..
            } = &mut floor.source
                && *version <= at
                && floor.scope == Scope::Rows(vec![row])
            {
                *marked = true;
            }
        }
    }

    /// The log may have lost records; `holds` says which it still has.
    pub(super) fn disturbed(&mut self, holds: impl Fn(Version) -> bool, now_ms: u64) {
        for floor in &mut self.floors {
            if let Source::Record { version, .. } = floor.source
                && floor.lost_ms.is_none()
                && !holds(version)
            {
                floor.lost_ms = Some(now_ms);
            }
        }
    }

    /// A page of the log, as it stood at `read_ms`, reaches the process.
    pub(super) fn delivered(&mut self, process: usize, page: &Page, read_ms: u64, now_ms: u64) {
        let reader = &mut self.processes[process];
        let another = reader.seen.is_some_and(|seen| seen != page.epoch);
        let first = reader.seen.is_none();
        reader.seen = Some(page.epoch);
        for floor in &mut self.floors {
            let Source::Record { version, by, .. } = floor.source else {
                continue;
            };
            if by == process {
                continue;
            }
            let shown = page.records.iter().any(|record| record.version == version);
            let horizon = another || first && floor.lost_ms.is_some();
            if shown || horizon && floor.at_ms <= read_ms {
                let known = floor.known.entry(process);
                known.or_insert(Known::AfterMs(now_ms));
            }
        }
    }

    /// A value is inserted by a call that begins now; gives its number for [`inserted`](Self::inserted).
    pub(super) fn inserting(&mut self, row: usize, version: u64, now_ms: u64) -> usize {
        self.insertions.push(Insertion {
            row,
            version,
            from_ms: now_ms,
            until_ms: u64::MAX,
        });
        self.insertions.len() - 1
    }

    /// The insertion ended, or was dropped; what it had sent may land until `until_ms`.
    pub(super) fn inserted(&mut self, insertion: usize, until_ms: u64) {
        self.insertions[insertion].until_ms = until_ms;
    }

    // === reads ===

    /// Whether process `reader` may give this answer to a read of `row` that began then.
    pub(super) fn check(
        &self,
        reader: usize,
        began: Began,
        row: usize,
        answer: Answer,
        database: &Database,
    ) -> Result<(), String> {
        let versions = match answer {
            Answer::Fresh(version) | Answer::Stale(version) => version..=version,
            Answer::Absent => 1..=database.version(row),
        };
        let mut complaint = String::new();
        for version in versions {
            let fits = match answer {
                Answer::Absent => !database.present(row, version),
                _ => database.present(row, version),
            };
            if !fits {
                if complaint.is_empty() {
                    complaint = format!("row {row} was never like that: {answer:?}");
                }
                continue;
            }
            match self.too_old(reader, began, row, version, answer, database) {
                None => return Ok(()),
                Some(found) => complaint = found,
            }
        }
        Err(complaint)
    }

    fn too_old(
        &self,
        reader: usize,
        began: Began,
        row: usize,
        version: u64,
        answer: Answer,
        database: &Database,
    ) -> Option<String> {
        let stale = matches!(answer, Answer::Stale(_));
        if !stale
            && let Some(replaced_ms) = database.superseded_ms(row, version)
            && replaced_ms + self.fresh_bound_ms < began.at_ms
        {
            return Some(format!(
                "version {version} of row {row} was replaced at {replaced_ms} ms and is fresh yet"
            ));
        }
        let (number, floor) = self.floors.iter().enumerate().find(|(_, floor)| {
            let tagless = answer == Answer::Absent && matches!(floor.scope, Scope::Tag(_));
            version < floor.versions[row]
                && floor.scope.covers(row, version)
                && !tagless
                && !(stale && floor.effect == Effect::Expire)
                && self.in_force(floor, reader, began)
                && !self.excused(floor, row, version)
        })?;
        let what = match floor.source {
            Source::Call { by, .. } => format!("a call in process {by}"),
            Source::Record { version, .. } => format!("record {version}"),
        };
        Some(format!(
            "version {version} of row {row} is below {}: {what} at {} ms ({:?} {:?}, floor {number}), \
             known to process {reader} since {:?}",
            floor.versions[row],
            floor.at_ms,
            floor.effect,
            floor.scope,
            floor.known.get(&reader),
        ))
    }

    fn in_force(&self, floor: &Floor, reader: usize, began: Began) -> bool {
        let known = floor.known.get(&reader).is_some_and(|known| match known {
            Known::AfterEvent(event) => *event < began.event,
            Known::AfterMs(ms) => *ms < began.at_ms,
        });
        let from_ms = floor.at_ms.max(self.processes[reader].began.at_ms);
        known
            || matches!(floor.source, Source::Record { by, .. } if by != reader)
                && !floor.lost_to.contains(&reader)
                && from_ms + self.silent_bound_ms < began.at_ms
    }

    /// An insertion and an invalidation that are under way together may take effect in either order.
    fn excused(&self, floor: &Floor, row: usize, version: u64) -> bool {
        self.insertions.iter().any(|insertion| {
            insertion.row == row
                && insertion.version == version
                && (insertion.from_ms..=insertion.until_ms).contains(&floor.at_ms)
        })
    }
}
