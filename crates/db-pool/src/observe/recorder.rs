//! The one place where all statements of one connection pass: it measures them and hears what they write.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::connection::{
    DebugQuery, Instrumentation, InstrumentationEvent, get_default_instrumentation,
};
use diesel::result::Error;
use tokio::time::Instant;

use super::plan::is_quiet;
use super::sites::{Address, Site, address};
use super::slow_log;
use super::spans::Span;
use super::statements::Statement;
use super::text::TextHash;
#[cfg(not(feature = "query-cache"))]
use super::unfollowed::Writes;
#[cfg(feature = "query-cache")]
use crate::cache::Writes;
use crate::class::ErrorClass;
use crate::scope::Scope;
use crate::shared::Shared;

/// Hears every statement of one connection; shared between the connection and whoever lends it.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
pub struct Recorder {
    shared: Arc<Shared>,
    writes: Writes,
    state: Mutex<State>,
}

/// In what state a connection came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// Nothing was open or running, or it was finished and rolled back.
    Settled,
    /// It is closed, and nobody knows what became of its last statement.
    Unknown,
}

thread_local! {
    /// The number of the statement that was started last; the caller asks right after.
    static STARTED: Cell<u64> = const { Cell::new(0) };
}

#[derive(Default)]
struct State {
    /// Statements under way, in the order of sending.
    running: VecDeque<Running>,
    last_id: u64,
    /// Since when at least one is under way.
    busy_since: Option<Instant>,
    hold: Option<Hold>,
    /// What was seen last under each few bits of its key, so that the tables of the pool are rarely asked.
    statements: Recent<u64, Statement>,
    sites: Recent<Address, Site>,
}

/// One statement under way.
struct Running {
    id: u64,
    /// The hash of its text, where it was worth knowing beforehand.
    text: Option<u64>,
    since: Instant,
    span: Span,
}

/// One borrowing of the connection.
struct Hold {
    at: &'static Location<'static>,
    since: Instant,
    querying: Duration,
    statements: u64,
}

// === what the pool tells ===

impl Recorder {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let writes = Writes::of(&shared);
        let state = Mutex::default();
        Arc::new(Self {
            shared,
            writes,
            state,
        })
    }

    /// Called for a session that refuses to write.
    pub(crate) fn reads_only(&self) {
        self.writes.reads_only();
    }

    /// Called when the connection is lent.
    pub(crate) fn lend(&self, at: &'static Location<'static>, now: Instant) {
        let mut state = self.state();
        state.running.clear();
        state.busy_since = None;
        state.hold = Some(Hold {
            at,
            since: now,
            querying: Duration::ZERO,
            statements: 0,
        });
    }

    /// Called when it is ready for the next borrower, or closed.
    pub(crate) fn returned(&self, how: Returned, now: Instant) {
        self.writes.returned(how);
        let mut state = self.state();
        state.running.clear();
        state.settle(now);
        let Some(hold) = state.hold.take() else {
            return;
        };
        let held = now.saturating_duration_since(hold.since);
        let sites = &self.shared.observed.sites;
        let site = state.sites.get(address(hold.at), || sites.site(hold.at));
        if let Some(site) = site {
            site.record(held, hold.querying, hold.statements);
        }
        drop(state);
        self.shared.metrics.hold.record(held);
    }

    /// Stands for the statement that this thread started last, whichever others share the connection; for whoever
    /// may drop it unfinished.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let id = STARTED.get();
        self.ticket_of(id, id)
    }

    /// The same for what is only about to start, and for all that starts until the ticket is dropped.
    #[cfg(feature = "postgres")]
    pub(crate) fn next_ticket(self: &Arc<Self>) -> Ticket {
        let first = self.state().last_id + 1;
        self.ticket_of(first, u64::MAX)
    }

    fn ticket_of(self: &Arc<Self>, first: u64, last: u64) -> Ticket {
        Ticket {
            recorder: Arc::clone(self),
            first,
            last,
        }
    }

    /// Stands for work that tells no statements of its own.
    #[cfg(feature = "sqlite")]
    pub(crate) fn working(self: &Arc<Self>) -> Ticket {
        self.writes.unseen();
        let id = self.state().push(None, Instant::now(), Span::default());
        self.ticket_of(id, id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// One statement under way; dropped, it is no longer.
pub(crate) struct Ticket {
    recorder: Arc<Recorder>,
    first: u64,
    last: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.recorder.state();
        if state.running.is_empty() {
            return;
        }
        let mine = self.first..=self.last;
        state.running.retain(|running| !mine.contains(&running.id));
        if state.running.is_empty() {
            state.settle(Instant::now());
        }
    }
}

// === what the connection tells ===

impl Recorder {
    fn event(&self, event: &InstrumentationEvent<'_>) {
        self.writes.event(event);
        match event {
            InstrumentationEvent::StartQuery { query, .. } => self.start(*query),
            InstrumentationEvent::FinishQuery { query, error, .. } => {
                // The server may be the primary no more.
                #[cfg(feature = "postgres")]
                if error.is_some_and(|error| ErrorClass::of(error) == ErrorClass::ReadOnly) {
                    self.shared.alarm.raise();
                }
                self.finish(*query, *error);
            }
            _ => {}
        }
    }

    /// Runs on the task of the caller, so its scope is at hand; values are looked at for a scope only.
    fn start(&self, query: &dyn DebugQuery) {
        let now = Instant::now();
        let text = Scope::with_current(|scope| {
            let text = TextHash::of(&query)?;
            scope.log().start(&text, now);
            Some(text.sql())
        });
        let span = Span::statement(&self.shared.config);
        STARTED.set(self.state().push(text.flatten(), now, span));
    }

    fn finish(&self, query: &dyn DebugQuery, error: Option<&Error>) {
        let now = Instant::now();
        let text = TextHash::of(&query).map(|text| text.sql());
        let shared = &*self.shared;
        let mut state = self.state();
        let running = state.take(text);
        if state.running.is_empty() {
            state.settle(now);
        }
        // An empty text is a sign of life and no statement.
        let (Some(running), Some(text), false) = (running, text, is_quiet()) else {
            return;
        };
        let known = &shared.observed.statements;
        let statement = state
            .statements
            .get(text, || Some(known.find(text, || query.to_string())))
            .map(Arc::clone);
        let at = state.hold.as_mut().map(|hold| {
            hold.statements += 1;
            hold.at
        });
        drop(state);
        let Some(statement) = statement else { return };
        let took = now.saturating_duration_since(running.since);
        statement.record(took, error.is_some(), at);
        shared.metrics.query.record(took);
        running.span.name(&statement);
        if let Some(error) = error {
            let class = ErrorClass::of(error);
            shared.metrics.statement_errors.increment(class);
            running.span.failed(crate::metrics::class_name(class));
        }
        slow_log::slow_statement(shared, &statement, took, at, now);
        let found = Scope::with_current(|scope| scope.log().finish(text, &statement, at, now));
        if let Some(found) = found.flatten() {
            slow_log::finding(shared, &statement, found, at, now);
        }
    }
}

impl State {
    fn push(&mut self, text: Option<u64>, since: Instant, span: Span) -> u64 {
        if self.running.len() >= MOST_RUNNING {
            self.running.pop_front();
        }
        self.last_id += 1;
        self.busy_since.get_or_insert(since);
        self.running.push_back(Running {
            id: self.last_id,
            text,
            since,
            span,
        });
        self.last_id
    }

    /// The statement that has ended: the one known by its text, else the oldest of unknown text, as they are answered
    /// in order.
    fn take(&mut self, text: Option<u64>) -> Option<Running> {
        let first = |wanted| self.running.iter().position(|one| one.text == wanted);
        let at = text.and_then(|_| first(text)).or_else(|| first(None))?;
        self.running.remove(at)
    }

    /// Nothing is under way any more: adds up the time in which something was.
    fn settle(&mut self, now: Instant) {
        if let (Some(since), Some(hold)) = (self.busy_since.take(), &mut self.hold) {
            hold.querying += now.saturating_duration_since(since);
        }
    }
}

/// What was asked for lately, in a place given by its key.
struct Recent<K, V>([Option<(K, Arc<V>)>; RECENT]);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self([const { None }; RECENT])
    }
}

trait Key: Copy + PartialEq {
    fn place(self) -> usize;
}

impl Key for u64 {
    fn place(self) -> usize {
        self as usize % RECENT
    }
}

impl Key for usize {
    /// Locations lie side by side, 24 bytes each.
    fn place(self) -> usize {
        (self / 8) % RECENT
    }
}

trait Lapses {
    fn lapsed(&self) -> bool;
}

impl Lapses for Statement {
    fn lapsed(&self) -> bool {
        self.is_forgotten()
    }
}

impl Lapses for Site {
    fn lapsed(&self) -> bool {
        false
    }
}

impl<K: Key, V: Lapses> Recent<K, V> {
    fn get(&mut self, key: K, find: impl FnOnce() -> Option<Arc<V>>) -> Option<&Arc<V>> {
        let place = &mut self.0[key.place()];
        let hit = matches!(place, Some((at, value)) if *at == key && !value.lapsed());
        if !hit {
            *place = find().map(|value| (key, value));
        }
        place.as_ref().map(|(_, value)| value)
    }
}

/// The recorder's ear on a connection, in front of the one that its user has set.
pub(crate) struct Tap {
    recorder: Arc<Recorder>,
    users: Option<Box<dyn Instrumentation>>,
}

impl Tap {
    /// With diesel's default instrumentation, as on any new connection.
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        let users = get_default_instrumentation();
        Self { recorder, users }
    }

    pub(crate) fn with(recorder: Arc<Recorder>, users: impl Instrumentation) -> Self {
        let users: Option<Box<dyn Instrumentation>> = Some(Box::new(users));
        Self { recorder, users }
    }
}

impl Instrumentation for Tap {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        self.recorder.event(&event);
        if let Some(users) = &mut self.users {
            users.on_connection_event(event);
        }
    }
}

/// More statements than are ever under way at once on one connection.
const MOST_RUNNING: usize = 1024;
const RECENT: usize = 32;
