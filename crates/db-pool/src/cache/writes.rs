//! Follows the statements of one connection, so that tables are raised when a commit is confirmed, before its caller
//! learns of it, and whenever nobody knows what became of one.
//!
//! PostgreSQL reports a statement as finished when its first answer arrives, which for one that returns rows is before
//! it commits. Such a write stays marked until the answer to a later statement proves it over, or until the connection
//! comes back.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::connection::{DebugQuery, InstrumentationEvent};

use super::knowledge::Plan;
use super::ledger::{Ledger, Mark, Writing};
use super::statement::Control;
use crate::observe::Returned;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::url::BackendKind;

/// The writes of one connection.
pub(crate) struct Writes {
    ledger: Arc<Ledger>,
    /// How long the server works on a statement at most.
    limit: Duration,
    /// The session only reads, so there is nothing to follow.
    reads_only: AtomicBool,
    /// Whether anything waits for the end of a statement.
    busy: AtomicBool,
    hold: Mutex<Hold>,
}

/// Whether a transaction is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    No,
    Yes,
    /// What is written now may commit at once or with a later COMMIT.
    Maybe,
}

#[derive(Default)]
struct Hold {
    open: Open,
    /// Written in the open transaction.
    pending: Option<Pending>,
    running: Vec<Running>,
    /// Answered, but perhaps not over; with the number of the last statement sent before the answer came.
    answered: Vec<(u64, Mark)>,
    sent: u64,
    /// Work that tells no statements has begun in this borrowing.
    #[cfg(feature = "sqlite")]
    unseen: bool,
}

impl Hold {
    fn is_idle(&self) -> bool {
        self.open == Open::No
            && self.pending.is_none()
            && self.running.is_empty()
            && self.answered.is_empty()
    }
}

struct Pending {
    writing: Writing,
    epoch: u64,
    /// Reads of the same scope bypass the cache meanwhile.
    _scope: Option<ScopeWrites>,
}

struct Running {
    number: u64,
    plan: Arc<Plan>,
    /// Sent with values of its own, so that its rows may come after its first answer.
    prepared: bool,
    mark: Option<Mark>,
}

impl Writes {
    pub(crate) fn of(shared: &Shared) -> Self {
        Self::new(Arc::clone(&shared.ledger), shared.config.statement_timeout)
    }

    fn new(ledger: Arc<Ledger>, statement_timeout: Option<Duration>) -> Self {
        Self {
            ledger,
            limit: statement_timeout.unwrap_or(WITHOUT_LIMIT),
            reads_only: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            hold: Mutex::default(),
        }
    }

    /// Said of a connection whose session refuses to write. A lane is never given back, so what it might seem to write
    /// would stay marked.
    pub(crate) fn reads_only(&self) {
        self.reads_only.store(true, Ordering::Release);
    }

    pub(crate) fn event(&self, event: &InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. }
                if !self.reads_only.load(Ordering::Acquire) =>
            {
                self.started(*query);
            }
            InstrumentationEvent::FinishQuery { query, error, .. }
                if self.busy.load(Ordering::Acquire) =>
            {
                self.finished(&query.to_string(), error.is_none());
            }
            _ => {}
        }
    }

    /// Work begins that tells no statements: it may write everything, and open or end a transaction.
    #[cfg(feature = "sqlite")]
    pub(crate) fn unseen(&self) {
        let everything = Writing {
            schema: true,
            ..Writing::everything()
        };
        let mut hold = self.hold();
        self.remember(&mut hold, &everything);
        hold.open = Open::Maybe;
        // Its end is not told either: marked until the connection comes back.
        if !std::mem::replace(&mut hold.unseen, true) {
            let mark = self.ledger.begin(everything);
            hold.answered.push((u64::MAX, mark));
        }
    }

    /// The connection is ready for the next borrower, or closed.
    pub(crate) fn returned(&self, how: Returned) {
        let mut current = self.hold();
        // Most have written nothing.
        if current.is_idle() {
            return;
        }
        let mut hold = std::mem::take(&mut *current);
        drop(current);
        self.busy.store(false, Ordering::Release);
        let mut unsure = Writing::nothing();
        let running = hold.running.drain(..).filter_map(|one| one.mark);
        for mark in hold.answered.drain(..).map(|(_, mark)| mark).chain(running) {
            unsure.add(mark.writing());
            mark.raise();
        }
        if let Some(pending) = hold.pending {
            // Nobody said COMMIT while it was surely open: a closed connection has rolled it back.
            if how == Returned::Settled || hold.open != Open::Yes {
                unsure.add(&pending.writing);
                self.ledger.raise(pending.writing);
            }
        }
        if how == Returned::Unknown && !unsure.is_nothing() {
            self.ledger.raise_later(unsure, self.limit);
        }
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, query: &dyn DebugQuery) {
        let text = Text::of(query);
        let plan = self.ledger.plan(&text.sql);
        let mut hold = self.hold();
        if plan.is_idle() && hold.running.is_empty() && hold.answered.is_empty() {
            return;
        }
        hold.sent += 1;
        let mark = self.mark(&mut hold, &plan);
        let number = hold.sent;
        hold.running.push(Running {
            number,
            plan,
            prepared: text.prepared,
            mark,
        });
        if hold.running.len() > RUNNING_MAX {
            // Dropped ones, whose ends are never told: marked as a whole until the connection comes back.
            let all = self.ledger.begin(Writing::everything());
            hold.running.clear();
            hold.answered.clear();
            hold.answered.push((u64::MAX, all));
        }
        self.busy.store(true, Ordering::Release);
    }

    /// Marks what may commit from now on.
    fn mark(&self, hold: &mut Hold, plan: &Plan) -> Option<Mark> {
        if !plan.writing.is_nothing() && (hold.open != Open::No || plan.control != Control::None) {
            self.remember(hold, &plan.writing);
        }
        let mut now = Writing::nothing();
        match plan.control {
            Control::None if hold.open == Open::Yes => {}
            Control::None => now.add(&plan.writing),
            Control::Rollback => {}
            Control::Begin => hold.open = Open::Maybe,
            Control::Commit | Control::Mixed => {
                if let Some(pending) = &hold.pending {
                    let known = pending.epoch == self.ledger.knowledge().epoch;
                    now.add(&pending.writing);
                    // The schema changed since: it may write more than was known then.
                    if !known {
                        now.add(&Writing::everything());
                    }
                }
                now.add(&plan.writing);
                hold.open = Open::Maybe;
            }
        }
        (!now.is_nothing()).then(|| self.ledger.begin(now))
    }

    fn remember(&self, hold: &mut Hold, writing: &Writing) {
        let epoch = self.ledger.knowledge().epoch;
        let pending = hold.pending.get_or_insert_with(|| Pending {
            writing: Writing::nothing(),
            epoch,
            _scope: ScopeWrites::begin(),
        });
        pending.writing.add(writing);
    }

    fn finished(&self, sql: &str, well: bool) {
        let mut hold = self.hold();
        let Some(at) = hold.running.iter().position(|one| &*one.plan.sql == sql) else {
            return;
        };
        let ended = hold.running.remove(at);
        let sent = hold.sent;
        if !well {
            hold.answered.extend(ended.mark.map(|mark| (sent, mark)));
            // SQLite may have rolled back the whole transaction; and who knows whether this one was opened or ended.
            let aborted = self.ledger.kind == BackendKind::Postgres;
            if ended.plan.control != Control::None || (hold.open == Open::Yes && !aborted) {
                hold.open = Open::Maybe;
            }
            return;
        }
        // The database answers in order: whatever was answered before this one was sent is over.
        let over = |(last, _): &mut (u64, Mark)| *last < ended.number;
        for (_, mark) in hold.answered.extract_if(.., over) {
            mark.raise();
        }
        match ended.plan.control {
            Control::None | Control::Mixed => {}
            Control::Begin => hold.open = Open::Yes,
            Control::Commit | Control::Rollback => {
                hold.open = Open::No;
                hold.pending = None;
            }
        }
        match ended.mark {
            Some(mark) if ended.prepared => hold.answered.push((sent, mark)),
            Some(mark) => mark.raise(),
            None => {}
        }
        let waits = !hold.running.is_empty() || !hold.answered.is_empty();
        self.busy.store(waits, Ordering::Release);
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.returned(Returned::Unknown);
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes").finish_non_exhaustive()
    }
}

/// The SQL of a statement without its values: what diesel prints first, in one piece.
struct Text {
    sql: String,
    /// Something followed, which is the values.
    prepared: bool,
}

impl Text {
    fn of(query: &dyn DebugQuery) -> Self {
        let mut text = Self {
            sql: String::new(),
            prepared: false,
        };
        // Refuses the values, so that they are not printed.
        let _ = write!(text, "{query}");
        text
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.sql.is_empty() {
            piece.clone_into(&mut self.sql);
            return Ok(());
        }
        self.prepared = true;
        Err(fmt::Error)
    }
}

/// Says to a scope that a transaction of it has written, for as long as that is open.
struct ScopeWrites(Scope);

impl ScopeWrites {
    fn begin() -> Option<Self> {
        let scope = Scope::current()?;
        scope.begin_writing();
        Some(Self(scope))
    }
}

impl Drop for ScopeWrites {
    fn drop(&mut self) {
        self.0.end_writing();
    }
}

/// When no `statement_timeout` is set: by then a statement that nobody waits for has surely ended.
const WITHOUT_LIMIT: Duration = Duration::from_secs(600);

/// Statements whose ends are awaited one by one.
const RUNNING_MAX: usize = 1_024;
