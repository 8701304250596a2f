//! What the closure of a transaction works with: the connection, and the list of those who must know of the end.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::hooks::{Hooks, Outcome, TransactionHook};
use crate::backend::Backend;
use crate::guard::Checkout;
use crate::shared::Shared;

/// An open transaction; use it where diesel-async wants a connection: `query.load(tx).await`.
///
/// Made by [`Pool::transaction`](crate::Pool::transaction), which also ends it. `tx.transaction(async |tx| ..)` opens
/// a savepoint inside; what is registered there stays registered even if the savepoint is rolled back.
pub struct Transaction<B: Backend> {
    /// `None` once it is given back or closed.
    checkout: Option<Checkout<B>>,
    shared: Arc<Shared>,
    pub(super) hooks: Hooks,
    attempt: u32,
    committing: bool,
}

impl<B: Backend> Transaction<B> {
    pub(super) fn new(checkout: Checkout<B>, shared: Arc<Shared>, attempt: u32) -> Self {
        Self {
            checkout: Some(checkout),
            shared,
            hooks: Hooks::default(),
            attempt,
            committing: false,
        }
    }

    /// Calls `closure` when the transaction was certainly committed, before `Pool::transaction` returns.
    ///
    /// Not after a commit whose outcome is unknown: what must not miss one goes into [`on_end`](Self::on_end). It
    /// runs on the caller's task and must not block; a panic in it is caught. Dropped with an attempt that is rolled
    /// back. A transaction takes 10,000 hooks of all kinds, and fails to commit with more.
    pub fn on_commit(&mut self, closure: impl FnOnce() + Send + 'static) {
        self.on_end(move |outcome| {
            if matches!(outcome, Outcome::Committed { .. }) {
                closure();
            }
        });
    }

    /// Calls `closure` when this attempt was certainly rolled back; otherwise like [`on_commit`](Self::on_commit).
    pub fn on_rollback(&mut self, closure: impl FnOnce() + Send + 'static) {
        self.on_end(move |outcome| {
            if outcome == Outcome::RolledBack {
                closure();
            }
        });
    }

    /// Calls `closure` with the outcome of this attempt, exactly once, whatever happens; otherwise like
    /// [`on_commit`](Self::on_commit).
    pub fn on_end(&mut self, closure: impl FnOnce(Outcome) + Send + 'static) {
        self.hooks.on_end(Box::new(closure));
    }

    /// Lets `hook` take part in the end of this attempt; see [`TransactionHook`].
    pub fn enlist(&mut self, hook: impl TransactionHook) {
        self.hooks.enlist(Box::new(hook));
    }

    /// Which run of the closure this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn checkout(&mut self) -> &mut Checkout<B> {
        self.checkout.as_mut().expect(OPEN)
    }

    /// From here on nobody can say how it ends until the database has answered.
    pub(super) fn set_committing(&mut self) {
        self.committing = true;
    }

    /// Gives the connection back and tells the hooks; the future is theirs alone.
    pub(super) fn finish(mut self, outcome: Outcome) -> impl Future<Output = ()> + use<B> {
        drop(self.checkout.take());
        let shared = Arc::clone(&self.shared);
        self.hooks.finish(outcome, &shared.runtime)
    }

    /// Closes the connection, of which nobody knows where it stands.
    pub(super) fn close(&mut self) {
        if let Some(checkout) = self.checkout.take() {
            drop(checkout.close());
        }
    }
}

impl<B: Backend> Drop for Transaction<B> {
    // CANCEL: the closure panicked, or the caller went away, perhaps in the middle of COMMIT.
    fn drop(&mut self) {
        if self.hooks.is_empty() {
            return;
        }
        let outcome = if self.committing {
            Outcome::Unknown
        } else {
            Outcome::RolledBack
        };
        // Told when the connection is repaired or closed: only then has the server rolled back.
        let ended = self.checkout.take().map(Checkout::ended);
        let ended = async move {
            if let Some(ended) = ended {
                ended.await;
            }
        };
        self.hooks
            .finish_after(ended, outcome, &self.shared.runtime);
    }
}

impl<B: Backend> Deref for Transaction<B> {
    type Target = B::Connection;

    fn deref(&self) -> &B::Connection {
        self.checkout.as_ref().expect(OPEN).connection()
    }
}

impl<B: Backend> DerefMut for Transaction<B> {
    fn deref_mut(&mut self) -> &mut B::Connection {
        self.checkout().connection_mut()
    }
}

impl<B: Backend> fmt::Debug for Transaction<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("backend", &B::KIND)
            .field("attempt", &self.attempt)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

const OPEN: &str = "the connection is given back only by what consumes the transaction";
