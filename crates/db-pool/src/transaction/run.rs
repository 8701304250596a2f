//! `Pool::transaction`: attempt after attempt, each on a connection of its own.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AnsiTransactionManager, TransactionManager};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument;

use super::hooks::{Hook, Outcome, TransactionHook};
use super::{AsyncFunc, Transaction, TransactionError, TransactionOptions, commit, retry};
use crate::backend::{Backend, Condition};
use crate::class::ErrorClass;
use crate::error::AcquireError;
use crate::guard::Checkout;
use crate::observe::Span;
use crate::pool::Pool;

impl<B: Backend> Pool<B> {
    /// Runs `body` inside a transaction: commits if it returns `Ok`, rolls back on `Err`, on a panic, and when the
    /// returned future is dropped.
    ///
    /// When other transactions are in the way (a serialization failure, a deadlock, a busy SQLite file) it is rolled
    /// back and a clone of `body` runs again, after a short random pause without a connection; see
    /// [`TransactionOptions::max_attempts`]. So `body` is cloned: an `async |tx|` closure is `Clone` if all that it
    /// captures is, as references and `Arc`s are. For one that is not there is
    /// [`transaction_once`](Self::transaction_once).
    ///
    /// On PostgreSQL a failed statement spoils the whole transaction: a `body` that ignores its error and returns `Ok`
    /// gets "current transaction is aborted", and nothing is committed. On SQLite it begins with `BEGIN IMMEDIATE`,
    /// so it never fails half-way for want of the write lock; as there is one writer, borrowing a second connection
    /// inside `body` waits until `acquire_timeout`.
    ///
    /// Cancelling: dropped before `COMMIT` is sent, nothing of it is stored, and the connection is repaired in the
    /// background. Dropped later, it may be stored. `COMMIT` is waited for as long as a statement may take
    /// (`statement_timeout`, else a minute).
    ///
    /// # Errors
    /// What `body` returns; an [`AcquireError`]; an error of diesel, which may carry a [`TransactionError`]. A commit
    /// whose outcome is unknown is such an error and never tried again.
    ///
    /// ```
    /// # use db_pool::{Backend, Pool, TransactionOptions};
    /// # async fn example<B: Backend>(pool: Pool<B>) -> Result<(), diesel::result::Error> {
    /// use diesel_async::SimpleAsyncConnection;
    ///
    /// pool.transaction(TransactionOptions::serializable(), async |tx| {
    ///     tx.batch_execute("UPDATE accounts SET money = money - 1").await?;
    ///     tx.on_commit(|| tracing::info!("one less"));
    ///     Ok::<_, diesel::result::Error>(())
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// What it captures must be `Clone`, so that it can run again; this compiles because the ticket is:
    ///
    /// ```
    /// # use db_pool::{Backend, Pool, TransactionOptions};
    /// #[derive(Clone)]
    /// struct Ticket;
    ///
    /// async fn spend<B: Backend>(pool: Pool<B>, ticket: Ticket) -> Result<(), diesel::result::Error> {
    ///     pool.transaction(TransactionOptions::default(), async move |_tx| {
    ///         drop(ticket);
    ///         Ok::<_, diesel::result::Error>(())
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// and this does not, with "the trait bound `Ticket: Clone` is not satisfied":
    ///
    /// ```compile_fail,E0277
    /// # use db_pool::{Backend, Pool, TransactionOptions};
    /// struct Ticket;
    ///
    /// async fn spend<B: Backend>(pool: Pool<B>, ticket: Ticket) -> Result<(), diesel::result::Error> {
    ///     pool.transaction(TransactionOptions::default(), async move |_tx| {
    ///         drop(ticket);
    ///         Ok::<_, diesel::result::Error>(())
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// Nor does one whose future is not `Send`, with "future created by async closure is not `Send`":
    ///
    /// ```compile_fail
    /// # use db_pool::{Backend, Pool, TransactionOptions};
    /// async fn share<B: Backend>(pool: Pool<B>) -> Result<(), diesel::result::Error> {
    ///     pool.transaction(TransactionOptions::default(), async |_tx| {
    ///         let shared = std::rc::Rc::new(1);
    ///         std::future::ready(()).await;
    ///         drop(shared);
    ///         Ok::<_, diesel::result::Error>(())
    ///     })
    ///     .await
    /// }
    /// ```
    #[track_caller]
    pub fn transaction<'a, R, E, F>(
        &'a self,
        options: TransactionOptions,
        body: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'a
    where
        for<'r> F: AsyncFnOnce(&'r mut Transaction<B>) -> Result<R, E>
            + AsyncFunc<&'r mut Transaction<B>, Result<R, E>, Fut: Send>
            + Clone
            + Send
            + 'a,
        E: From<diesel::result::Error> + From<AcquireError> + Send + 'a,
        R: Send + 'a,
    {
        self.transaction_on(None, options, body, Location::caller())
    }

    /// The same, with a connection for the first attempt that was borrowed already.
    pub(crate) async fn transaction_on<R, E, F>(
        &self,
        mut first: Option<Checkout<B>>,
        options: TransactionOptions,
        body: F,
        at: &'static Location<'static>,
    ) -> Result<R, E>
    where
        for<'r> F: AsyncFnOnce(&'r mut Transaction<B>) -> Result<R, E>
            + AsyncFunc<&'r mut Transaction<B>, Result<R, E>, Fut: Send>
            + Clone
            + Send,
        E: From<diesel::result::Error> + From<AcquireError> + Send,
        R: Send,
    {
        let started = Instant::now();
        let mut number = 1;
        loop {
            let borrowed = first.take();
            let attempt = self.attempt(borrowed, &options, started, number, at, body.clone());
            let failed = match attempt.await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            number += 1;
            match self.pause_before(number, &options, started, &failed) {
                Some(pause) => sleep(pause).await,
                None => return Err(failed.error),
            }
        }
    }

    /// Like [`transaction`](Self::transaction), for a closure that cannot be cloned: whatever fails is not tried again.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    #[track_caller]
    pub fn transaction_once<'a, R, E, F>(
        &'a self,
        options: TransactionOptions,
        body: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'a
    where
        for<'r> F: AsyncFnOnce(&'r mut Transaction<B>) -> Result<R, E>
            + AsyncFunc<&'r mut Transaction<B>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<diesel::result::Error> + From<AcquireError> + Send + 'a,
        R: Send + 'a,
    {
        let at = Location::caller();
        async move {
            let attempt = self.attempt(None, &options, Instant::now(), 1, at, body);
            attempt.await.map_err(|failed| failed.error)
        }
    }

    /// Lets a hook, made by `make` for each of them, take part in the end of all transactions of this pool that are
    /// not `read_only`; see [`TransactionHook`].
    ///
    /// `make` is called just before `COMMIT`, after the transaction's own hooks were registered. Transactions of
    /// [`Connection`](crate::Connection)s have no hooks. Cannot be undone.
    pub fn hook_transactions<H: TransactionHook>(
        &self,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) {
        let maker = Arc::new(move || -> Box<dyn Hook> { Box::new(make()) });
        self.shared().transactions.hooks.add(maker);
    }

    /// From now on all commits of this pool learn their place in the write-ahead log, as if their options had asked for
    /// it by `track_lsn`. On SQLite it changes nothing.
    pub fn track_lsn(&self) {
        self.shared().transactions.track_lsn();
    }

    /// One attempt, from borrowing to the end that was told to everybody.
    async fn attempt<R, E, F>(
        &self,
        borrowed: Option<Checkout<B>>,
        options: &TransactionOptions,
        started: Instant,
        number: u32,
        at: &'static Location<'static>,
        body: F,
    ) -> Result<R, Failed<E>>
    where
        for<'r> F: AsyncFnOnce(&'r mut Transaction<B>) -> Result<R, E>
            + AsyncFunc<&'r mut Transaction<B>, Result<R, E>, Fut: Send>
            + Send,
        E: From<diesel::result::Error> + From<AcquireError> + Send,
        R: Send,
    {
        let shared = self.shared();
        let span = Span::transaction(&shared.config, number).inner();
        async {
            let deadline = options.timeout.map(|limit| started + limit);
            let acquiring = async {
                match borrowed {
                    Some(checkout) => Ok(checkout),
                    None => self.checkout(options.read_only, at).await,
                }
            };
            let acquired = by(deadline, acquiring).await;
            let checkout = acquired.ok_or_else(too_late::<E>)?.map_err(E::from)?;
            shared.transactions.budget.began();
            let mut tx = Transaction::new(checkout, Arc::clone(shared), number);
            B::take_failure(&mut tx);
            // CANCEL: dropped at any await below, `tx` has the transaction rolled back and the hooks told.
            let work = async {
                AnsiTransactionManager::begin_transaction_sql(&mut *tx, &B::begin(options)).await?;
                body(&mut tx).await
            };
            let ran: Result<R, E> = by(deadline, work).await.ok_or_else(too_late::<E>)?;
            match ran {
                Ok(value) => match commit::commit(self, tx, options).await {
                    Ok(()) => Ok(value),
                    Err((error, class)) => Err(Failed {
                        error: error.into(),
                        class,
                    }),
                },
                Err(error) => {
                    let class = B::take_failure(&mut tx);
                    roll_back(tx).await;
                    Err(Failed { error, class })
                }
            }
        }
        .instrument(span)
        .await
    }

    /// How long to wait before attempt number `next`; `None` if there is none.
    fn pause_before<E>(
        &self,
        next: u32,
        options: &TransactionOptions,
        started: Instant,
        failed: &Failed<E>,
    ) -> Option<Duration> {
        let class = failed.class.filter(|class| helps(*class))?;
        let pause = retry::pause(next, &mut fastrand::Rng::new());
        let again_at = started.elapsed() + pause;
        let limit = options
            .timeout
            .map_or(PATIENCE, |limit| limit.min(PATIENCE));
        if next > options.max_attempts || again_at >= limit {
            return None;
        }
        let transactions = &self.shared().transactions;
        let pool = &self.config().name;
        if transactions.budget.take(Instant::now()) {
            self.shared().metrics.retries.increment(class);
            tracing::debug!(%pool, ?class, next, "the transaction is run again");
            Some(pause)
        } else {
            transactions.metrics.refused.increment(1);
            tracing::debug!(%pool, ?class, next, "too many transactions were run again");
            None
        }
    }
}

/// Why an attempt failed, and what of it the connection knows.
struct Failed<E> {
    error: E,
    class: Option<ErrorClass>,
}

impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Self {
        Self { error, class: None }
    }
}

/// Whether running the whole closure again may help. Nothing of it was stored, or there would be no class.
fn helps(class: ErrorClass) -> bool {
    class.is_retryable() || class == ErrorClass::StalePlan
}

fn too_late<E: From<diesel::result::Error>>() -> E {
    let cause = "raise the timeout or do less in one transaction";
    TransactionError::TimedOut.because(cause).into()
}

/// `None` once `deadline` passed.
async fn by<F: Future>(deadline: Option<Instant>, work: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// Rolls back, gives the connection back, and tells the hooks.
pub(super) async fn roll_back<B: Backend>(mut tx: Transaction<B>) {
    let shared = Arc::clone(tx.shared());
    let limit = shared.config.validation_timeout;
    if B::condition(&mut tx) != Condition::Broken {
        let rollback = AnsiTransactionManager::rollback_transaction(&mut *tx);
        // What the caller needs to know is why it was rolled back; a failed rollback is the pool's to repair.
        match timeout(limit, rollback).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "rollback failed; the connection is repaired or closed");
            }
            Err(_) => tracing::debug!("rollback takes long; the connection is repaired or closed"),
        }
    }
    shared.transactions.metrics.rolled_back.increment(1);
    tx.finish(Outcome::RolledBack).await;
}

/// No attempt begins later than this after the first; each alone is bounded by the limits of its statements.
const PATIENCE: Duration = Duration::from_secs(10);
