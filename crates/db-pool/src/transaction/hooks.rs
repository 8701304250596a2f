//! Who must know how a transaction ends: prepared before COMMIT is sent, told of the outcome exactly once.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument;

use crate::lsn::Lsn;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The database confirmed the commit.
    #[non_exhaustive]
    Committed {
        /// Where the commit lies in the write-ahead log at the latest, if that was asked for.
        lsn: Option<Lsn>,
    },
    /// Nothing of it was stored.
    RolledBack,
    /// `COMMIT` was sent and its answer never came: it may have taken effect, or still may.
    Unknown,
}

impl Outcome {
    /// Whether the commit may have taken effect: whoever drops what is out of date goes by this.
    pub fn may_be_committed(self) -> bool {
        !matches!(self, Self::RolledBack)
    }
}

/// Takes part in the end of a transaction: notes down what is about to happen, then learns what happened.
///
/// For what has to stay in step with the database without being in it, such as a cache: [`prepare`](Self::prepare)
/// notes on record that values are about to change, and [`finished`](Self::finished) drops them, or forgets the note.
/// Whoever finds the note after a crash drops them as well.
///
/// Register it for one transaction by [`Transaction::enlist`](crate::Transaction::enlist) or for all of a pool by
/// [`Pool::hook_transactions`](crate::Pool::hook_transactions).
pub trait TransactionHook: Send + 'static {
    /// Called before `COMMIT` is sent, while the transaction still holds its connection and its locks.
    ///
    /// Dropped when the caller goes away; given up after five seconds.
    ///
    /// # Errors
    /// Whatever stands in the way of the commit: the transaction is rolled back and its caller gets
    /// [`TransactionError::Refused`](crate::TransactionError::Refused).
    fn prepare(&mut self) -> impl Future<Output = Result<(), HookError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Called exactly once, whatever happens, also when the caller goes away or panics; only a runtime that stops
    /// lets it fall. A commit is told here before the caller learns of it.
    ///
    /// The connection is back in the pool by then, or closed. Given up after five seconds; a panic is caught.
    fn finished(self, outcome: Outcome) -> impl Future<Output = ()> + Send;
}

/// Why a hook refuses a commit.
pub type HookError = Box<dyn Error + Send + Sync>;

/// Makes a hook for each transaction of a pool.
pub(crate) type Maker = Arc<dyn Fn() -> Box<dyn Hook> + Send + Sync>;

/// [`TransactionHook`] without its type.
pub(crate) trait Hook: Send {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), HookError>>;
    fn finished(self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, ()>;
}

impl<H: TransactionHook> Hook for H {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), HookError>> {
        Box::pin(TransactionHook::prepare(self))
    }

    fn finished(self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, ()> {
        Box::pin((*self).finished(outcome))
    }
}

/// The hooks of every transaction of a pool.
#[derive(Default)]
pub(crate) struct PoolHooks(Mutex<Arc<[Maker]>>);

impl PoolHooks {
    pub(crate) fn add(&self, maker: Maker) {
        let mut makers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *makers = makers.iter().cloned().chain([maker]).collect();
    }

    fn all(&self) -> Arc<[Maker]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Closure = Box<dyn FnOnce(Outcome) + Send>;

enum Entry {
    Hook(Box<dyn Hook>),
    Closure(Closure),
}

/// The hooks of one transaction, in the order in which they were registered.
#[derive(Default)]
pub(super) struct Hooks {
    entries: Vec<Entry>,
    too_many: bool,
}

impl Hooks {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn enlist(&mut self, hook: Box<dyn Hook>) {
        self.push(Entry::Hook(hook));
    }

    pub(super) fn on_end(&mut self, closure: Closure) {
        self.push(Entry::Closure(closure));
    }

    fn push(&mut self, entry: Entry) {
        self.too_many |= self.entries.len() >= HOOKS_MAX;
        if !self.too_many {
            self.entries.push(entry);
        }
    }

    /// Adds those of the pool, then lets all prepare, one after another.
    pub(super) async fn prepare(&mut self, pool: &PoolHooks) -> Result<(), HookError> {
        for make in pool.all().iter() {
            self.push(Entry::Hook(make()));
        }
        if self.too_many {
            // One that is not told could leave an old value behind; better that nothing changes.
            return Err(format!("a transaction may have {HOOKS_MAX} hooks").into());
        }
        for entry in &mut self.entries {
            if let Entry::Hook(hook) = entry {
                match timeout(HOOK_LIMIT, hook.prepare()).await {
                    Ok(prepared) => prepared?,
                    Err(_) => return Err(format!("not prepared within {HOOK_LIMIT:?}").into()),
                }
            }
        }
        Ok(())
    }

    /// Tells all of them. Once called, it goes on to the end, whether or not anybody polls what it returns.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        runtime: &Handle,
    ) -> impl Future<Output = ()> + use<> {
        let entries = std::mem::take(&mut self.entries);
        let waits = entries.iter().any(|entry| matches!(entry, Entry::Hook(_)));
        let mut telling = None;
        if waits {
            // In a task of its own: a caller that goes away now must not keep anybody from being told.
            telling = Some(runtime.spawn(tell(entries, outcome).in_current_span()));
        } else {
            // Closures only, which are all called in one poll.
            let _ = tell(entries, outcome).now_or_never();
        }
        async move {
            if let Some(telling) = telling {
                // Fails only when the runtime stops.
                let _ = telling.await;
            }
        }
    }

    /// Tells all of them once `ended` is over, in the background.
    pub(super) fn finish_after(
        &mut self,
        ended: impl Future + Send + 'static,
        outcome: Outcome,
        runtime: &Handle,
    ) {
        let entries = std::mem::take(&mut self.entries);
        runtime.spawn(
            async move {
                ended.await;
                tell(entries, outcome).await;
            }
            .in_current_span(),
        );
    }
}

async fn tell(entries: Vec<Entry>, outcome: Outcome) {
    for entry in entries {
        match entry {
            Entry::Hook(hook) => {
                let told = AssertUnwindSafe(async { hook.finished(outcome).await }).catch_unwind();
                match timeout(HOOK_LIMIT, told).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => tracing::error!(?outcome, "a transaction hook panicked"),
                    Err(_) => tracing::error!(?outcome, "a transaction hook was given up"),
                }
            }
            Entry::Closure(closure) => {
                if catch_unwind(AssertUnwindSafe(|| closure(outcome))).is_err() {
                    tracing::error!(?outcome, "a closure of a transaction panicked");
                }
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("count", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// How long one hook may prepare, and how long it may take to hear the outcome.
const HOOK_LIMIT: Duration = Duration::from_secs(5);
/// More than this many would be a list that should be one hook.
const HOOKS_MAX: usize = 10_000;
