//! What all processes of a schedule share: the server, the database, the history and the trace, and how
//! each process's connections to the server are now.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    database::{Database, Value},
    dice::Dice,
    history::{Began, History},
    lock,
    store::{Store, Wrong},
    trace::Trace,
};

#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    /// Wakes blocked reads of the log.
    pub(super) log_moved: Notify,
    started: Instant,
    /// For delays and failures; the steps have dice of their own.
    pub(super) dice: Dice,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) database: Database,
    pub(super) history: History,
    pub(super) trace: Trace,
    pub(super) wrongs: Vec<String>,
    /// Rows whose loader failed in a process, and when last.
    pub(super) troubled: BTreeMap<(usize, usize), u64>,
    /// Calls that returned, with their process.
    pub(super) acknowledged: Vec<(usize, usize)>,
    /// Batches whose process died after their database commit: the calls, what the server had lost
    /// until they were prepared, the process.
    pub(super) promises: Vec<(Vec<usize>, u64, usize)>,
}

/// How a connection to the server behaves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LineMood {
    #[default]
    Well,
    Slow,
    /// Commands arrive, if at all, long after their deadline.
    Hung,
    /// Refused at once.
    Down,
    /// Some commands fail, before or after they were carried out.
    Flaky,
    /// Commands are carried out at once, and their answers come late.
    LateAnswers,
}

impl LineMood {
    pub(super) const ALL: [Self; 6] = [
        Self::Well,
        Self::Slow,
        Self::Hung,
        Self::Down,
        Self::Flaky,
        Self::LateAnswers,
    ];
}

/// The two connections of one process.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) values: Mutex<LineMood>,
    pub(super) log: Mutex<LineMood>,
}

/// What will happen to one command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) refused: bool,
    /// Until it is carried out; `None` is never.
    pub(super) there: Option<Duration>,
    pub(super) back: Duration,
    /// The caller is told of an error though it was carried out.
    pub(super) error: bool,
}

impl World {
    pub(super) fn new(dice: Dice, rows: usize, history: History, keep_lines: bool) -> Arc<Self> {
        let state = State {
            store: Store::new(dice.number()),
            database: Database::new(rows),
            history,
            trace: Trace::new(keep_lines),
            wrongs: Vec::new(),
            troubled: BTreeMap::new(),
            acknowledged: Vec::new(),
            promises: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            log_moved: Notify::new(),
            started: Instant::now(),
            dice,
        })
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, u64) -> R) -> R {
        let now_ms = self.now_ms();
        act(&mut lock(&self.state), now_ms)
    }

    /// Notes what happens now.
    pub(super) fn note(&self, event: fmt::Arguments<'_>) -> Began {
        self.with(|state, at_ms| Began {
            event: state.trace.note(at_ms, event),
            at_ms,
        })
    }

    /// The schedule has failed, and why.
    pub(super) fn wrong(&self, why: String) {
        self.note(format_args!("WRONG: {why}"));
        self.with(|state, _| state.wrongs.push(why));
    }

    /// A query: what the row is now.
    pub(super) fn query(&self, row: usize) -> (u64, Option<Value>) {
        self.with(|state, _| {
            let old = state.store.wrong == Wrong::LoadsAreOld;
            let version = state.database.version(row) - u64::from(old);
            let version = version.max(1);
            (version, state.database.read_at(row, version))
        })
    }

    pub(super) fn fate(&self, mood: LineMood) -> Fate {
        let dice = &self.dice;
        let some = |high| Duration::from_millis(dice.below(high));
        let mut fate = Fate {
            refused: false,
            there: Some(some(3)),
            back: some(3),
            error: false,
        };
        match mood {
            LineMood::Well => {}
            LineMood::Slow => {
                fate.there = Some(some(200));
                fate.back = some(100);
            }
            LineMood::Hung => {
                fate.there = (!dice.one_in(2)).then(|| LATE + some(10_000));
            }
            LineMood::Down => fate.refused = true,
            LineMood::Flaky => match dice.below(4) {
                0 => fate.refused = true,
                1 => fate.error = true,
                2 => fate.there = None,
                _ => {}
            },
            LineMood::LateAnswers => fate.back = some(2_000),
        }
        fate
    }
}

/// Later than any caller waits.
const LATE: Duration = Duration::from_millis(600);
