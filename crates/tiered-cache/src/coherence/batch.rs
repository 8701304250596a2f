//! Invalidations that go together with a transaction elsewhere: on record before it commits, in force
//! when it has.

use std::sync::Arc;

use super::{Change, Invalidation, Ledger, LogError, Ticket, change};
use crate::error::BoxError;

/// Invalidations collected beside a database transaction, such as those of all that it changes.
///
/// Call [`prepare`](Self::prepare) before the transaction commits, [`commit`](Self::commit) when it has
/// committed, [`rollback`](Self::rollback) when it has not. A batch that is dropped without either, or
/// whose process dies, has an unknown outcome: it invalidates, which costs loads and never serves an
/// old value. A dropped one does so at once and again after `intent_timeout` (10 s), since what was
/// sent to the database may still commit. After the death of the process another replica does so,
/// `intent_timeout` and half as much again after `prepare` at the latest; so a transaction should commit
/// within `intent_timeout` of it, or prepare again.
///
/// ```
/// use tiered_cache::{Caches, Invalidation, Policy, TieredCache};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let caches = Caches::builder().build().await?;
/// let users: TieredCache<u64, String> = caches.cache("users", Policy::default())?;
///
/// let mut batch = caches.invalidations().begin();
/// batch.push(Invalidation::key(&users, &7).remove());
/// batch.push(Invalidation::tag("team:3").expire());
/// batch.prepare().await?;
/// // Here the transaction commits; when that fails, the batch is dropped: it invalidates.
/// batch.commit().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a batch that is dropped invalidates at once"]
pub struct Batch {
    ledger: Arc<Ledger>,
    changes: Vec<Change>,
    intent: Option<u64>,
    /// Whether the outcome is known.
    decided: bool,
}

/// Why [`Batch::prepare`] could not put the batch on record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The shared log gave no answer. The batch can be committed all the same, and then reaches the
    /// other replicas as any invalidation does; only the death of this process in between would leave
    /// them with old values, for as long as their policies keep them.
    #[error("the batch could not be put on record in the shared log: try again, or commit without")]
    Log(#[source] BoxError),
}

impl Batch {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            changes: Vec::new(),
            intent: None,
            decided: false,
        }
    }

    /// Adds an invalidation; nothing happens yet. What is added after [`prepare`](Self::prepare) is not
    /// on record until it is called again.
    ///
    /// Of more than 10,000, the keys become their whole caches, and the tags everything.
    pub fn push(&mut self, invalidation: Invalidation) {
        self.changes.push(invalidation.change);
        if self.changes.len() > CHANGES_MAX {
            self.changes = change::widened(&self.changes, CHANGES_MAX);
        }
    }

    /// How many invalidations it holds.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Puts the batch on record, in the disk folder and in the shared log as far as there are such;
    /// call it before the transaction commits. Again, it renews the record and its time.
    ///
    /// Dropping the future leaves the batch usable, and whether it is on record unknown.
    ///
    /// # Errors
    /// [`PrepareError`]: the shared log gave no answer in time.
    pub async fn prepare(&mut self) -> Result<(), PrepareError> {
        let ledger = &self.ledger;
        let intent = *self.intent.get_or_insert_with(|| ledger.chance.draw());
        if let Some(local) = &ledger.local {
            local.outbox().prepare(intent, &self.changes);
        }
        let Some(shared) = &ledger.shared else {
            return Ok(());
        };
        let changes = change::encode(&self.changes);
        let prepared = shared
            .log
            .prepare(intent, &changes, ledger.config.intent_timeout);
        prepared.await.map_err(|error| match error {
            LogError::Failed(source) => PrepareError::Log(source),
            error => PrepareError::Log(error.into()),
        })
    }

    /// The transaction has committed: invalidates in this process at once, and in the shared tiers and
    /// other replicas before it returns, as far as they can be reached.
    ///
    /// Dropped midway, or with the shared tiers away, the rest is done in the background.
    pub async fn commit(mut self) {
        let ledger = Arc::clone(&self.ledger);
        if let Some(ticket) = self.announce() {
            ledger.settle(ticket).await;
        }
    }

    /// The transaction has not committed: takes the batch off the record.
    ///
    /// Dropped midway, or with the shared log away, the batch invalidates in the end, which costs loads
    /// and nothing else.
    pub async fn rollback(mut self) {
        self.decided = true;
        let Some(intent) = self.intent else { return };
        if let Some(local) = &self.ledger.local {
            local.outbox().complete(intent);
        }
        if let Some(shared) = &self.ledger.shared
            && let Err(error) = shared.log.complete(intent).await
        {
            tracing::debug!(%error, "batch not taken off the record: it will invalidate");
        }
    }

    fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.intent.is_none()
    }

    fn announce(&mut self) -> Option<Ticket> {
        self.decided = true;
        if self.is_nothing() {
            return None;
        }
        let ticket = self.ledger.announce_with(&self.changes, self.intent);
        self.ledger.tell_applied(&self.changes);
        if let (Some(intent), Some(local)) = (self.intent, &self.ledger.local) {
            // On record as an invalidation by now.
            local.outbox().complete(intent);
        }
        Some(ticket)
    }
}

impl Drop for Batch {
    // CANCEL: whether the transaction has committed is not known.
    fn drop(&mut self) {
        if !self.decided && !self.is_nothing() {
            let changes = std::mem::take(&mut self.changes);
            self.ledger.announce_twice(changes, self.intent);
        }
    }
}

const CHANGES_MAX: usize = 10_000;
