//! What to do with what the shared log answers, or with its silence: decisions without effects.

use std::time::Duration;

use super::{Epoch, Page, Position, Record, Version};

/// One reader of the log, from its first question on.
#[derive(Debug)]
pub(super) struct Follower {
    phase: Phase,
    /// Up to where an earlier process of this folder had applied the log.
    kept: Option<Position>,
    /// The records up to there were applied by that process: here they raise the shared floors alone,
    /// which no folder keeps.
    known: Version,
    /// The first page was dealt with.
    arrived: bool,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is known yet.
    Starting,
    /// The epoch in force is known, and begun under the present run of the server.
    Arriving(Epoch),
    /// Reading on from `at`. What the log holds is known only when `caught_up`; it has been given up
    /// as far as `horizon`, below which no position may be taken for known.
    Reading {
        at: Position,
        caught_up: bool,
        horizon: Version,
    },
    /// The log was found to have lost records, maybe: before it is read on, its epoch must be one
    /// that began afterwards.
    Renewing {
        old: Epoch,
        at: Position,
        horizon: Version,
    },
}

/// The next question to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Renew {
        old: Epoch,
        above: Version,
    },
    /// `patient` when there is nothing to catch up with.
    Read {
        after: Version,
        patient: bool,
    },
}

/// Why the log could not be followed without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// There is another epoch: a flush, a restore, or somebody found a gap.
    Epoch,
    /// Another server answers, or the same after a restart: the last records may be lost.
    Run,
    /// Records after our position were trimmed.
    Trimmed,
    /// The log ends before our position.
    Backwards,
    /// Its records are not in order.
    Disorder,
}

/// What to do, in the order of the fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Everything up to the version counts as invalidated.
    pub(super) gap: Option<(Gap, Version)>,
    /// What this process has filled so far counts as invalidated: it did not hear of what came in
    /// meanwhile, and the log may not have it any more.
    pub(super) forget: bool,
    /// First load the floors of what the log held before; if that fails, the step is not carried out.
    pub(super) load_floors: bool,
    pub(super) apply: Vec<Record>,
    /// Of those to apply, the ones up to there are no news for memory and disk.
    pub(super) known: Version,
    /// All of the log up to there is applied.
    pub(super) position: Option<Position>,
    /// Nothing is missing now: the shared tiers may be asked.
    pub(super) ready: bool,
}

impl Gap {
    /// Whether the log itself may have lost records, not only we our place in it. Only then must its
    /// epoch be another: a new one costs every replica all that it holds.
    pub(super) fn is_loss(self) -> bool {
        self != Self::Trimmed
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "another epoch",
            Self::Run => "another run of the server",
            Self::Trimmed => "trimmed",
            Self::Backwards => "it went backwards",
            Self::Disorder => "out of order",
        }
    }
}

impl Follower {
    pub(super) fn new(kept: Option<Position>) -> Self {
        Self {
            phase: Phase::Starting,
            kept,
            known: Version(0),
            arrived: false,
            failures: 0,
        }
    }

    pub(super) fn ask(&self) -> Ask {
        match self.phase {
            // Only to have it renewed if the server was restarted while nobody looked.
            Phase::Starting => Ask::Renew {
                old: NOBODYS,
                above: Version(0),
            },
            Phase::Arriving(_) => Ask::Read {
                after: Version(0),
                patient: false,
            },
            Phase::Reading { at, caught_up, .. } => Ask::Read {
                after: at.version,
                patient: caught_up,
            },
            Phase::Renewing { old, horizon, .. } => Ask::Renew {
                old,
                above: horizon,
            },
        }
    }

    /// The answer to [`Ask::Renew`].
    pub(super) fn renewed(&mut self, epoch: Epoch) {
        self.failures = 0;
        self.phase = match self.phase {
            Phase::Starting => Phase::Arriving(epoch),
            // When it is not the epoch in which the position was found, records after that may be
            // gone with it: the next page is one more gap then.
            Phase::Renewing { at, horizon, .. } => Phase::Reading {
                at,
                caught_up: false,
                horizon,
            },
            other => other,
        };
    }

    /// The answer to [`Ask::Read`], of at most `limit` records.
    pub(super) fn page(&mut self, page: Page, limit: usize) -> Step {
        self.failures = 0;
        match self.phase {
            Phase::Arriving(epoch) if page.epoch != epoch => {
                self.phase = Phase::Starting;
                Step {
                    apply: page.records,
                    ..Step::default()
                }
            }
            Phase::Arriving(epoch) => self.arrive(epoch, page, limit),
            Phase::Reading { at, horizon, .. } => match gap(at, &page) {
                Some(gap) => self.lose(gap, at, horizon, &page),
                None => self.read(at.epoch, at.version, horizon, page, limit),
            },
            // Not asked for.
            Phase::Starting | Phase::Renewing { .. } => Step::default(),
        }
    }

    fn arrive(&mut self, epoch: Epoch, page: Page, limit: usize) -> Step {
        // From its beginning: a tombstone may be missing in Redis, and then only the record tells that
        // what lies there is old.
        let start = Position {
            epoch,
            version: page.trimmed,
        };
        let lost = self.kept.and_then(|kept| misplaced(kept, &page));
        if let Some(gap) = lost.or_else(|| gap(start, &page)) {
            return self.lose(gap, self.kept.unwrap_or(start), Version(0), &page);
        }
        self.known = self.kept.map_or(Version(0), |kept| kept.version);
        Step {
            // With nothing kept there is nothing of before that the trimmed records could have
            // invalidated here; what was filled since the start is forgotten.
            forget: self.kept.is_none(),
            load_floors: true,
            ..self.read(epoch, start.version, Version(0), page, limit)
        }
    }

    fn read(
        &mut self,
        epoch: Epoch,
        after: Version,
        horizon: Version,
        page: Page,
        limit: usize,
    ) -> Step {
        let caught_up = page.records.len() < limit;
        let end = page.records.last().map_or(after, |record| record.version);
        let version = if caught_up { page.last.max(end) } else { end };
        let at = Position { epoch, version };
        // A position below the horizon would make old entries of the present epoch look new.
        let ready = caught_up && version >= horizon;
        self.phase = if caught_up && !ready {
            Phase::Renewing {
                old: NOBODYS,
                at,
                horizon,
            }
        } else {
            Phase::Reading {
                at,
                caught_up,
                horizon,
            }
        };
        Step {
            apply: page.records,
            known: self.known,
            // One below what was known would have the next process do it all again.
            position: (version >= horizon.max(self.known)).then_some(at),
            ready,
            ..Step::default()
        }
    }

    /// Gives up everything up to the present end of the log, and reads on from there.
    fn lose(&mut self, gap: Gap, at: Position, horizon: Version, page: &Page) -> Step {
        let horizon = horizon.max(at.version).max(page.last);
        self.known = Version(0);
        let end = Position {
            epoch: page.epoch,
            version: page.last,
        };
        self.phase = if gap.is_loss() {
            Phase::Renewing {
                old: at.epoch,
                at: end,
                horizon,
            }
        } else {
            Phase::Reading {
                at: end,
                caught_up: false,
                horizon,
            }
        };
        Step {
            gap: Some((gap, horizon)),
            ..Step::default()
        }
    }

    /// An answer was lost or could not be used: begins again from what was kept, unless it was
    /// reading on already.
    pub(super) fn interrupted(&mut self) {
        if !self.arrived {
            self.phase = Phase::Starting;
        }
    }

    /// The step of the last page was carried out.
    pub(super) fn carried_out(&mut self) {
        self.arrived |= matches!(self.phase, Phase::Reading { .. } | Phase::Renewing { .. });
    }

    /// No answer; returns after how long to ask again. `draw` is from 0 to 1.
    pub(super) fn failed(&mut self, draw: f64) -> Duration {
        let delay = backoff(self.failures, draw);
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

/// After how long to try again what has failed `failures` times before; half of it is by chance, so
/// that replicas do not all come back at once.
pub(super) fn backoff(failures: u32, draw: f64) -> Duration {
    let longest = BACKOFF_MIN * 2_u32.saturating_pow(failures.min(16));
    longest.min(BACKOFF_MAX).mul_f64(0.5 + draw / 2.0)
}

fn gap(at: Position, page: &Page) -> Option<Gap> {
    misplaced(at, page).or_else(|| (!in_order(&page.records, at.version)).then_some(Gap::Disorder))
}

/// Why one who had read up to `at` has missed something.
fn misplaced(at: Position, page: &Page) -> Option<Gap> {
    if page.epoch.run != at.epoch.run {
        Some(Gap::Run)
    } else if page.epoch.id != at.epoch.id {
        Some(Gap::Epoch)
    } else if page.last < at.version {
        Some(Gap::Backwards)
    } else if page.trimmed > at.version {
        Some(Gap::Trimmed)
    } else {
        None
    }
}

fn in_order(records: &[Record], after: Version) -> bool {
    let versions = records.iter().map(|record| record.version);
    let mut last = after;
    versions.into_iter().all(|version| {
        let rises = version > last;
        last = version;
        rises
    })
}

/// An epoch that no log has: to renew one only if the server was restarted since it began.
pub(super) const NOBODYS: Epoch = Epoch { id: 0, run: 0 };
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
