//! The end of a transaction: hooks prepare, COMMIT goes out, and what became of it is found out.

use std::sync::Arc;
use std::time::Duration;

use diesel::result::Error;
use tokio::time::{Instant, sleep, timeout};

use super::hooks::Outcome;
use super::run::roll_back;
use super::{Transaction, TransactionError, TransactionOptions};
use crate::backend::{Backend, Condition};
use crate::class::ErrorClass;
use crate::lsn::Lsn;
use crate::pool::Pool;
use crate::scope::Scope;
use crate::url::BackendKind;

/// Why nothing, or perhaps something, was stored; with a class if it is certain that nothing was.
type NotCommitted = (Error, Option<ErrorClass>);

/// Commits and tells the hooks.
pub(super) async fn commit<B: Backend>(
    pool: &Pool<B>,
    mut tx: Transaction<B>,
    options: &TransactionOptions,
) -> Result<(), NotCommitted> {
    let shared = Arc::clone(tx.shared());
    let transactions = &shared.transactions;
    let id = if options.resolve_commit && !options.read_only {
        match B::transaction_id(&mut tx).await {
            Ok(id) => id,
            Err(error) => {
                let class = ErrorClass::of(&error);
                roll_back(tx).await;
                return Err((error, Some(class)));
            }
        }
    } else {
        None
    };
    if !options.read_only
        && let Err(cause) = tx.hooks.prepare(&transactions.hooks).await
    {
        roll_back(tx).await;
        return Err((TransactionError::Refused.because(cause), None));
    }
    let track_lsn = transactions.tracks_lsn(options);
    let limit = shared.config.statement_timeout.unwrap_or(COMMIT_LIMIT);
    // CANCEL: dropped from here on, the outcome is unknown.
    tx.set_committing();
    let answer = timeout(limit, B::commit(&mut tx, track_lsn)).await;
    let cause = match answer {
        Ok(Ok(lsn)) => {
            committed(tx, track_lsn, lsn).await;
            return Ok(());
        }
        Ok(Err(error)) => {
            let class = ErrorClass::of(&error);
            let lost = matches!(class, ErrorClass::ConnectionLost | ErrorClass::NotReady);
            if !lost && B::condition(&mut tx) != Condition::Broken {
                roll_back(tx).await;
                return Err((error, Some(class)));
            }
            error.to_string()
        }
        Err(_) => format!("no answer within {limit:?}"),
    };
    tx.close();
    match resolve(pool, id).await {
        Some(true) => {
            // When the connection was closed it may not have taken effect yet.
            #[cfg(feature = "query-cache")]
            shared.ledger.raise_unsure();
            committed(tx, track_lsn, None).await;
            Ok(())
        }
        Some(false) => {
            transactions.metrics.rolled_back.increment(1);
            tx.finish(Outcome::RolledBack).await;
            let kind = diesel::result::DatabaseErrorKind::ClosedConnection;
            let text = format!(
                "the connection was lost during COMMIT, which did not take effect: {cause}"
            );
            Err((Error::DatabaseError(kind, Box::new(text)), None))
        }
        None => {
            tracing::warn!(pool = %shared.config.name, cause, "the outcome of a COMMIT is unknown");
            transactions.metrics.unknown.increment(1);
            // By then the server has ended it one way or the other.
            note_lsn::<B>(track_lsn, None, Instant::now() + limit);
            tx.finish(Outcome::Unknown).await;
            Err((TransactionError::CommitUnknown.because(cause), None))
        }
    }
}

async fn committed<B: Backend>(tx: Transaction<B>, track_lsn: bool, lsn: Option<Lsn>) {
    tx.shared().transactions.metrics.committed.increment(1);
    note_lsn::<B>(track_lsn, lsn, Instant::now());
    tx.finish(Outcome::Committed { lsn }).await;
}

/// Later reads of this request must see the commit, which is over at `over`; where its place is not known, only the
/// primary will do.
fn note_lsn<B: Backend>(track_lsn: bool, lsn: Option<Lsn>, over: Instant) {
    let Some(scope) = Scope::current().filter(|_| track_lsn) else {
        return;
    };
    match lsn {
        Some(lsn) => scope.wrote(lsn),
        None if B::KIND == BackendKind::Postgres => scope.wrote_somewhere(over),
        None => {} // SQLite has no such log
    }
}

/// Asks through another connection whether transaction `id` was committed; `None` if that cannot be told.
async fn resolve<B: Backend>(pool: &Pool<B>, id: Option<u64>) -> Option<bool> {
    let id = id?;
    let asking = async {
        for pause in RESOLVE_PAUSES {
            // The server may still be at it, or still be starting again.
            sleep(pause).await;
            let Ok(mut connection) = pool.acquire().await else {
                continue;
            };
            if let Ok(Some(committed)) = B::was_committed(&mut connection, id).await {
                return Some(committed);
            }
        }
        None
    };
    timeout(RESOLVE_LIMIT, asking).await.unwrap_or(None)
}

/// How long a COMMIT may take where statements have no limit.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
const RESOLVE_PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
