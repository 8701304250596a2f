//! The way of an announced invalidation to the shared tiers: into the log, then into the slots of its
//! keys, tried again until all of it is there.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Change, Ledger, Target, Ticket, Version,
    ledger::{Hold, Shared},
    pending::Item,
};

/// How far a try came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Not into the log: what comes after it will not either.
    Nowhere,
    /// Into the log, but not into every slot.
    Halfway,
    ToTheEnd,
}

impl Ledger {
    /// Tells the shared tiers; returns the version in the log, `None` when it is not there yet.
    ///
    /// Dropped or failed midway, or with a silent log, the invalidation stays pending and is tried again
    /// in the background; until then this process reads nothing that it covers from the shared tiers.
    pub(crate) async fn settle(&self, ticket: Ticket) -> Option<Version> {
        self.settle_with(ticket, |_| std::future::ready(false))
            .await
    }

    /// As [`settle`](Self::settle), for an insertion: `write` puts the new value, of the version it is
    /// given, into the shared tiers, and answers whether it did so in all of them; if not, the old one
    /// is invalidated there. The value must name the origin of a token from before the announcement: the
    /// version may be of an epoch that has ended.
    pub(crate) async fn settle_with<W, F>(&self, ticket: Ticket, write: W) -> Option<Version>
    where
        W: FnOnce(Version) -> F,
        F: Future<Output = bool>,
    {
        let shared = self.shared.as_ref()?;
        let hold = ticket.hold.as_ref()?;
        if shared.silence.since().is_some() {
            // No caller waits for a log that is known not to answer.
            return None;
        }
        let item = self.append(shared, hold.id).await?;
        // The lowest of a batch that was too long for one record: none claims to be newer than it is.
        let version = *item.appended.first()?;
        let written = write(version).await;
        self.finish(shared, hold.id, &item, written).await;
        Some(version)
    }

    /// Brings what of the item is not yet in the log there; the item is then complete there.
    async fn append(&self, shared: &Shared, id: u64) -> Option<Item> {
        loop {
            let item = shared.pending.item(id)?;
            let rest = &item.changes[item.appended.len()..];
            if rest.is_empty() {
                return Some(item);
            }
            let rest = &rest[..rest.len().min(RECORD_CHANGES_MAX)];
            let record: Vec<_> = rest.iter().map(|c| (c.target, c.effect)).collect();
            // CANCEL: the record may be there or not; it will be appended again, which does no harm.
            let version = match shared.log.append(&record).await {
                Ok(version) => version,
                Err(error) => {
                    tracing::debug!(%error, "invalidation not yet in the log");
                    return None;
                }
            };
            // This process must not read older entries from now on, though the record comes back
            // only later, in its place among those of others.
            for (target, effect) in record {
                self.floors.confirm(target, effect, version);
            }
            let appended = rest.len();
            shared
                .pending
                .appended(id, item.generation, version, appended);
        }
    }

    /// Brings an item that is in the log into the slots of its keys, and settles it.
    async fn finish(&self, shared: &Shared, id: u64, item: &Item, written: bool) -> bool {
        if let Some(intent) = item.intent
            && let Err(error) = shared.log.complete(intent).await
        {
            // It is overdue at some time, and then invalidates once more.
            tracing::debug!(%error, "intent not taken off the record");
        }
        let in_slots = written || self.tombstones(shared, item).await;
        let settled = in_slots && shared.pending.settled(id, item.generation, self.now_ms());
        if settled && let Some(local) = &self.local {
            local.outbox().done(id);
        }
        settled
    }

    /// Gives the disk folder back, once all that is in it is closed.
    pub(crate) fn release(&self) {
        if let Some(local) = &self.local {
            local.release();
        }
    }

    async fn tombstones(&self, shared: &Shared, item: &Item) -> bool {
        let mut fine = true;
        let versioned: Vec<_> = item.changes.iter().zip(&item.appended).collect();
        for some in versioned.chunks(SLOTS_AT_ONCE) {
            let all = some
                .iter()
                .map(|(change, version)| slot(shared, change, **version));
            fine &= join_all(all).await.into_iter().all(|fine| fine);
        }
        fine
    }

    /// Tries all that waits once; `false` when something has to be tried again.
    pub(super) async fn retry(self: &Arc<Self>) -> bool {
        let Some(shared) = &self.shared else {
            return true;
        };
        let (mut last, mut fine) = (0, true);
        while let Some(id) = shared.pending.take_after(last) {
            last = id;
            let hold = Hold {
                ledger: Arc::clone(self),
                id,
            };
            match self.go_on(shared, hold.id).await {
                Came::Nowhere => return false,
                Came::Halfway => fine = false,
                Came::ToTheEnd => {}
            }
        }
        fine
    }

    async fn go_on(&self, shared: &Shared, id: u64) -> Came {
        let Some(item) = self.append(shared, id).await else {
            return Came::Nowhere;
        };
        if self.finish(shared, id, &item, false).await {
            Came::ToTheEnd
        } else {
            Came::Halfway
        }
    }

    /// Settles what is pending, for at most `within`; ends the background task, and closes the record
    /// in the disk folder, which is then this process's until [`release`](Self::release). What is not
    /// settled is announced by the next process on that folder.
    pub(crate) async fn close(self: &Arc<Self>, within: Duration) {
        let until = Instant::now() + within;
        if let Some(shared) = &self.shared {
            let flush = async {
                while shared.pending.len() > 0 {
                    if !self.retry().await || shared.pending.waiting() == 0 {
                        tokio::time::sleep(FLUSH_PAUSE).await;
                    }
                }
            };
            if timeout_at(until, flush).await.is_err() {
                let pending = shared.pending.len();
                tracing::warn!(pending, "invalidations not confirmed by the shared tiers");
            }
        }
        self.closed.cancel();
        if let Some(local) = &self.local {
            let local = Arc::clone(local);
            // CANCEL: it is closed all the same, as soon as the disk answers.
            let closing = tokio::task::spawn_blocking(move || local.close());
            if timeout(within, closing).await.is_err() {
                tracing::warn!("record in the disk folder not closed in time");
            }
        }
    }
}

async fn slot(shared: &Shared, change: &Change, version: Version) -> bool {
    let (Target::Key(_), Some(key)) = (change.target, &change.entry) else {
        return true;
    };
    let all = shared.tiers.iter().map(|tier| async move {
        // A tier that somebody else has written may hang or panic: then it is tried again.
        let told = async { tier.invalidate(key, change.effect, version).await };
        let told = timeout(SLOT_MAX, AssertUnwindSafe(told).catch_unwind()).await;
        matches!(told, Ok(Ok(Ok(()))))
    });
    join_all(all).await.into_iter().all(|told| told)
}

/// Longer batches become several records.
const RECORD_CHANGES_MAX: usize = 512;
const SLOTS_AT_ONCE: usize = 64;
/// Behind the tier's own limit.
const SLOT_MAX: Duration = Duration::from_secs(5);
const FLUSH_PAUSE: Duration = Duration::from_millis(50);
