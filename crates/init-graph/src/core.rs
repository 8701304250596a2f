//! The part of a run that outlives the start: per node its phase, stop hooks and token, and the observers of all.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Advance;
use crate::error::BoxError;
use crate::failure::Failure;
use crate::guard::drop_quietly;
use crate::observers::Observers;
use crate::plan::{NodeId, Plan};

pub(crate) type HookFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
pub(crate) type Hook = Box<dyn FnOnce() -> HookFuture + Send>;

/// Shared by every [`Context`](crate::Context) of a run; holds no values, so a kept context keeps none alive.
pub(crate) struct Core {
    pub(crate) plan: Plan,
    pub(crate) observers: Observers,
    /// Cancelled when the start is given up; the tokens of the nodes are its children.
    pub(crate) given_up: CancellationToken,
    pub(crate) begun: Instant,
    /// Whether the graph was let go of without a stop, so that nothing is kept any more.
    let_go: AtomicBool,
    cells: Box<[Cell]>,
}

/// Small, since there is one for every node of a graph of any size.
#[derive(Default)]
struct Cell {
    phase: AtomicU8,
    extra: OnceLock<Box<Extra>>,
}

/// What most nodes never need: made on first use.
pub(crate) struct Extra {
    /// How often the node was started again; what belongs to an earlier start has no say in a later one.
    restarts: AtomicU32,
    /// How many tokens there were before this one.
    tokens: AtomicU32,
    /// A new one for each start of the node.
    token: Mutex<CancellationToken>,
    advance: Mutex<Advance>,
    hooks: Mutex<Hooks>,
    /// Told when the node is settled.
    pub(crate) settled: Notify,
    /// Why it fell away.
    pub(crate) failure: Mutex<Option<Failure>>,
    /// Of attempts before the one that runs now, and of waiting in between.
    pub(crate) earlier: Mutex<Earlier>,
    /// When its initialiser last said something, in nanoseconds since the begin of the start.
    spoke_at: AtomicU64,
    begun: Instant,
}

/// What a node spent before its current attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Earlier {
    /// Attempts that have begun.
    pub(crate) attempts: u32,
    pub(crate) own: std::time::Duration,
    pub(crate) backoff: std::time::Duration,
    /// For a permit of its class.
    pub(crate) queued: std::time::Duration,
    /// Since when it waits for one.
    pub(crate) queued_at: Option<Instant>,
    pub(crate) stop: Option<std::time::Duration>,
}

#[derive(Default)]
struct Hooks {
    closed: bool,
    stack: Vec<Hook>,
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Pending = 0,
    /// Waits for a permit of its class.
    Queued,
    Running,
    /// Waits for its next attempt.
    Backoff,
    Ready,
    Failed,
    Skipped,
    Cancelled,
    Stopping,
    Stopped,
}

impl Phase {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Pending,
            1 => Self::Queued,
            2 | ENDING => Self::Running,
            3 => Self::Backoff,
            4 => Self::Ready,
            5 => Self::Failed,
            6 => Self::Skipped,
            7 => Self::Cancelled,
            8 => Self::Stopping,
            _ => Self::Stopped,
        }
    }

    /// Whether the start of the node has come to an end, one way or the other.
    pub(crate) fn is_settled(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Queued | Self::Running | Self::Backoff
        )
    }
}

impl Core {
    pub(crate) fn new(plan: Plan, observers: Observers, begun: Instant) -> Self {
        let cells = plan.nodes().iter().map(|_| Cell::default()).collect();
        Self {
            plan,
            observers,
            given_up: CancellationToken::new(),
            begun,
            let_go: AtomicBool::new(false),
            cells,
        }
    }

    pub(crate) fn phase(&self, id: NodeId) -> Phase {
        Phase::of(self.cells[id.index()].phase.load(Ordering::Acquire))
    }

    pub(crate) fn is_ready(&self, id: NodeId) -> bool {
        self.phase(id) == Phase::Ready
    }

    pub(crate) fn set_phase(&self, id: NodeId, phase: Phase) {
        self.cells[id.index()]
            .phase
            .store(phase as u8, Ordering::Release);
    }

    /// Makes the caller the one who ends the start of a node, by [`settle`](Self::settle); false when another did or
    /// does. In between the node still counts as running, so that it is told of before anybody sees it settled.
    pub(crate) fn claim(&self, id: NodeId) -> bool {
        self.change(id, ENDING)
    }

    /// Ends the start of a node that the caller has [claimed](Self::claim).
    pub(crate) fn settle(&self, id: NodeId, to: Phase) {
        self.set_phase(id, to);
        // Whoever waits makes the extra part first and then looks at the phase: one of the two sees the other.
        fence(Ordering::SeqCst);
        if let Some(extra) = self.known(id) {
            extra.settled.notify_waiters();
        }
    }

    /// Ends when the start of `id` comes to an end the next time. To miss none, call it first and then look at the phase.
    pub(crate) fn settled(&self, id: NodeId) -> Notified<'_> {
        let settled = self.extra(id).settled.notified();
        fence(Ordering::SeqCst);
        settled
    }

    /// Lets the start of a node go on to its next phase; false when it has come to an end meanwhile.
    pub(crate) fn go_on(&self, id: NodeId, to: Phase) -> bool {
        self.change(id, to as u8)
    }

    fn change(&self, id: NodeId, to: u8) -> bool {
        let open = |phase| (phase != ENDING && !Phase::of(phase).is_settled()).then_some(to);
        self.cells[id.index()]
            .phase
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, open)
            .is_ok()
    }

    pub(crate) fn extra(&self, id: NodeId) -> &Extra {
        self.cells[id.index()]
            .extra
            .get_or_init(|| Box::new(Extra::new(&self.given_up, self.begun)))
    }

    /// What there is already of the extra part of `id`.
    pub(crate) fn known(&self, id: NodeId) -> Option<&Extra> {
        self.cells[id.index()].extra.get().map(|extra| &**extra)
    }

    /// How often `id` was started again.
    pub(crate) fn restarts(&self, id: NodeId) -> u32 {
        self.known(id).map_or(0, Extra::restarts)
    }

    /// How many tokens of `id` are over.
    pub(crate) fn tokens(&self, id: NodeId) -> u32 {
        self.known(id)
            .map_or(0, |extra| extra.tokens.load(Ordering::Acquire))
    }

    /// The token of `id` that came after so many others; those are cancelled.
    pub(crate) fn token(&self, id: NodeId, tokens: u32) -> CancellationToken {
        let extra = self.extra(id);
        let token = lock(&extra.token).clone();
        // Counted before the token is changed: the one that is seen with an old count is the old one.
        if extra.tokens.load(Ordering::Acquire) == tokens {
            return token;
        }
        let over = CancellationToken::new();
        over.cancel();
        over
    }

    /// Nobody holds a token that was never asked for.
    pub(crate) fn cancel_token(&self, id: NodeId) {
        if let Some(extra) = self.known(id) {
            let token = lock(&extra.token).clone();
            token.cancel();
        }
    }

    /// Changes what a running node says of itself; false when this attempt of this start of it is not running.
    pub(crate) fn advance(
        &self,
        id: NodeId,
        restarts: u32,
        attempt: u32,
        change: impl FnOnce(&mut Advance),
    ) -> bool {
        let extra = self.extra(id);
        let mut advance = lock(&extra.advance);
        let runs = lock(&extra.earlier).attempts.saturating_add(1) == attempt
            && self.phase(id) == Phase::Running
            && extra.restarts() == restarts;
        if runs {
            advance.begin(attempt);
            change(&mut advance);
        }
        runs
    }

    /// The latest words of a node.
    pub(crate) fn words(&self, id: NodeId) -> Option<Advance> {
        Some(lock(&self.known(id)?.advance).clone())
    }

    pub(crate) fn push_hook(&self, id: NodeId, restarts: u32, hook: Hook) -> Result<(), Hook> {
        let extra = self.extra(id);
        // Whoever lets go says so first and then looks for extra parts: one of the two sees the other.
        fence(Ordering::SeqCst);
        let mut hooks = lock(&extra.hooks);
        if hooks.closed || extra.restarts() != restarts || self.is_let_go() {
            return Err(hook);
        }
        hooks.stack.push(hook);
        Ok(())
    }

    /// How many hooks are registered.
    pub(crate) fn hooks(&self, id: NodeId) -> usize {
        self.known(id)
            .map_or(0, |extra| lock(&extra.hooks).stack.len())
    }

    /// The hook registered last, with how many are below it; when there is none, no more are taken.
    pub(crate) fn pop_hook(&self, id: NodeId) -> Option<(Hook, usize)> {
        let mut hooks = lock(&self.extra(id).hooks);
        let hook = hooks.stack.pop();
        hooks.closed = hook.is_none();
        hook.map(|hook| (hook, hooks.stack.len()))
    }

    /// The hook that an attempt registered last, with more still welcome.
    pub(crate) fn take_hook(&self, id: NodeId) -> Option<Hook> {
        lock(&self.known(id)?.hooks).stack.pop()
    }

    /// Gives the next attempt of `id` a token of its own.
    pub(crate) fn renew_token(&self, id: NodeId) {
        if let Some(extra) = self.known(id) {
            extra.tokens.fetch_add(1, Ordering::AcqRel);
            *lock(&extra.token) = self.given_up.child_token();
        }
    }

    /// Makes a node as it was before it started. It has stopped, unless its stop could not be brought to an end.
    pub(crate) fn renew(&self, id: NodeId) {
        let extra = self.extra(id);
        extra.restarts.fetch_add(1, Ordering::AcqRel);
        extra.tokens.fetch_add(1, Ordering::AcqRel);
        let token = std::mem::replace(&mut *lock(&extra.token), self.given_up.child_token());
        token.cancel();
        *lock(&extra.advance) = Advance::default();
        let hooks = std::mem::take(&mut *lock(&extra.hooks)).stack;
        hooks.into_iter().for_each(drop_quietly);
        let failure = lock(&extra.failure).take();
        drop_quietly(failure);
        *lock(&extra.earlier) = Earlier::default();
        extra.spoke_at.store(0, Ordering::Relaxed);
        self.set_phase(id, Phase::Pending);
    }

    /// Drops the hooks of a node unrun and takes no more; returns how many there were.
    pub(crate) fn close_hooks_of(&self, id: NodeId) -> usize {
        let mut hooks = lock(&self.extra(id).hooks);
        hooks.closed = true;
        let stack = std::mem::take(&mut hooks.stack);
        // Outside the lock: what a hook owns may use its context while it is dropped.
        drop(hooks);
        let count = stack.len();
        stack.into_iter().for_each(drop_quietly);
        count
    }

    /// Whether the graph was let go of, so that nothing is kept any more.
    pub(crate) fn is_let_go(&self) -> bool {
        self.let_go.load(Ordering::SeqCst)
    }

    /// Drops all hooks unrun and takes no more; returns how many there were.
    pub(crate) fn close_hooks(&self) -> usize {
        self.let_go.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let ids = self.plan.nodes().iter().map(|node| node.id());
        ids.filter(|id| self.known(*id).is_some())
            .map(|id| self.close_hooks_of(id))
            .sum()
    }
}

impl Drop for Extra {
    /// The error and the hooks are the component's own.
    fn drop(&mut self) {
        drop_quietly(lock(&self.failure).take());
        let hooks = std::mem::take(&mut lock(&self.hooks).stack);
        hooks.into_iter().for_each(drop_quietly);
    }
}

impl Extra {
    fn new(given_up: &CancellationToken, begun: Instant) -> Self {
        Self {
            restarts: AtomicU32::new(0),
            tokens: AtomicU32::new(0),
            token: Mutex::new(given_up.child_token()),
            advance: Mutex::default(),
            hooks: Mutex::default(),
            settled: Notify::new(),
            failure: Mutex::default(),
            earlier: Mutex::default(),
            spoke_at: AtomicU64::new(0),
            begun,
        }
    }

    fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Acquire)
    }

    /// Notes that the initialiser said something.
    pub(crate) fn spoke(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.spoke_at.fetch_max(since, Ordering::Relaxed);
    }

    /// When the initialiser last said something; the begin of the start when it never did.
    pub(crate) fn spoke_at(&self) -> Instant {
        self.begun + std::time::Duration::from_nanos(self.spoke_at.load(Ordering::Relaxed))
    }
}

/// Of a node that runs and is about to be settled.
const ENDING: u8 = u8::MAX;

/// Nothing of ours panics inside a lock; if it did, the data would still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
