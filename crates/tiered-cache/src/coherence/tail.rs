//! The background task of a ledger: it follows the shared log, tries again what is pending, carries out
//! overdue intents and batches that were dropped, and looks after silence and the disk folder.

use std::{
    future::Future,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join4;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Change, Effect, Ledger, Log, LogError, Record, Target, Version, change,
    follower::{Ask, Follower, Gap, Step, backoff},
    ledger::Shared,
};
use crate::chance::Chance;

impl Ledger {
    /// Runs until the ledger is closed or dropped; it holds no handle of it while it waits.
    pub(crate) async fn run(ledger: Weak<Self>) {
        let Some(strong) = ledger.upgrade() else {
            return;
        };
        let closed = strong.closed.clone();
        let chance = Arc::clone(&strong.chance);
        let config = strong.config.clone();
        let log = strong.shared.as_ref().map(|shared| Arc::clone(&shared.log));
        drop(strong);
        let upkeep = upkeep(Weak::clone(&ledger), config.silent_after / 4);
        let Some(log) = log else {
            closed.run_until_cancelled(upkeep).await;
            return;
        };
        let _unheard = Unheard(Weak::clone(&ledger));
        let heartbeat = HEARTBEAT.min(config.silent_after / 3);
        let all = join4(
            follow(
                Weak::clone(&ledger),
                Arc::clone(&log),
                Arc::clone(&chance),
                heartbeat,
            ),
            retry(Weak::clone(&ledger), Arc::clone(&chance)),
            sweep(ledger, log, chance, config.intent_timeout / 2),
            upkeep,
        );
        closed.run_until_cancelled(all).await;
    }

    /// Nobody reads the log any more.
    fn unheard(&self) {
        if let Some(shared) = &self.shared {
            shared.ready.store(false, Ordering::Release);
            shared.silence.begin();
        }
    }

    /// Carries out what the follower decided.
    fn step(&self, shared: &Shared, step: Step, floors: Vec<(Target, Effect, Version)>) {
        if let Some((gap, horizon)) = step.gap {
            self.lose(shared, gap, horizon);
        }
        if step.forget {
            let number = self.floors.raise(Target::All, Effect::Remove);
            self.mark(Target::All, Effect::Remove, number);
        }
        for (target, effect, version) in floors {
            self.floors.confirm(target, effect, version);
        }
        for record in step.apply {
            self.apply(&record, step.known);
        }
        let Some(position) = step.position else {
            return;
        };
        self.floors.set_applied(position.version);
        if let Some(local) = &self.local {
            local.set_position(position);
        }
        if step.ready {
            // After the position: no token of the epoch is below it.
            self.floors.set_origin(position.epoch.id);
            shared.ready.store(true, Ordering::Release);
            shared.synced.store(true, Ordering::Release);
            shared.silence.heard(self.now_ms());
        }
    }

    fn apply(&self, record: &Record, known: Version) {
        for (target, effect) in record.changes.iter().copied() {
            if record.by == self.config.instance || record.version <= known {
                // Counted when it was announced or applied; what was filled since is newer.
                self.floors.confirm(target, effect, record.version);
            } else {
                let number = self.floors.apply(target, effect, record.version);
                self.mark(target, effect, number);
            }
        }
        if record.by != self.config.instance && record.version > known {
            self.tell_heard(&record.changes);
        }
    }

    /// Everything up to `horizon` may miss an invalidation.
    fn lose(&self, shared: &Shared, gap: Gap, horizon: Version) {
        tracing::warn!(
            why = gap.as_str(),
            "shared log with a gap: all entries are given up"
        );
        shared.ready.store(false, Ordering::Release);
        self.floors.set_origin(0);
        let number = self.floors.apply(Target::All, Effect::Remove, horizon);
        self.mark(Target::All, Effect::Remove, number);
        shared.gaps.fetch_add(1, Ordering::Relaxed);
        if !gap.is_loss() {
            return;
        }
        for (id, changes) in shared.pending.lost(self.now_ms()) {
            if let Some(local) = &self.local {
                local.outbox().add(id, &changes);
            }
        }
        shared.work.notify_one();
    }
}

/// However the task ends (its ledger is closed, its runtime goes away, something in it panics), values
/// that nobody hears of any more are not served for as long as others.
struct Unheard(Weak<Ledger>);

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(ledger) = self.0.upgrade() {
            ledger.unheard();
        }
    }
}

async fn follow(ledger: Weak<Ledger>, log: Arc<dyn Log>, chance: Arc<Chance>, heartbeat: Duration) {
    let Some(strong) = ledger.upgrade() else {
        return;
    };
    let mut follower = Follower::new(strong.local.as_ref().and_then(|local| local.kept()));
    drop(strong);
    loop {
        let asked = Instant::now();
        let ask = follower.ask();
        let answer = match ask {
            Ask::Renew { old, above } => match bounded(log.renew(old, above), ANSWER_MAX).await {
                Ok(epoch) => {
                    follower.renewed(epoch);
                    continue;
                }
                Err(error) => Err(error),
            },
            Ask::Read { after, patient } => {
                let wait = if patient { heartbeat } else { Duration::ZERO };
                bounded(log.read(after, PAGE_RECORDS, wait), wait + ANSWER_MAX).await
            }
        };
        let step = match answer {
            Ok(page) => {
                let idle =
                    page.records.is_empty() && matches!(ask, Ask::Read { patient: true, .. });
                if idle && asked.elapsed() < IDLE_PAUSE {
                    // A log that does not wait must not keep a core busy.
                    sleep(IDLE_PAUSE).await;
                }
                let step = follower.page(page, PAGE_RECORDS);
                if step.load_floors {
                    let floors = bounded(log.floors(), ANSWER_MAX).await;
                    // The records are true whatever came before them; only the place in the log must
                    // wait, or what came before would count as known.
                    if floors.is_err()
                        && let Some(ledger) = ledger.upgrade()
                    {
                        let records = step.apply.iter();
                        records.for_each(|record| ledger.apply(record, step.known));
                    }
                    floors.map(|floors| (step, floors))
                } else {
                    Ok((step, Vec::new()))
                }
            }
            Err(error) => Err(error),
        };
        match step {
            Ok((step, floors)) => {
                let Some(ledger) = ledger.upgrade() else {
                    return;
                };
                if let Some(shared) = &ledger.shared {
                    ledger.step(shared, step, floors);
                }
                follower.carried_out();
            }
            Err(error) => {
                tracing::debug!(%error, "shared log not read");
                follower.interrupted();
                sleep(follower.failed(chance.unit())).await;
            }
        }
    }
}

/// Tries again what is pending, whenever something is.
async fn retry(ledger: Weak<Ledger>, chance: Arc<Chance>) {
    let mut failures = 0;
    loop {
        let Some(strong) = ledger.upgrade() else {
            return;
        };
        let Some(shared) = &strong.shared else {
            return;
        };
        let work = Arc::clone(&shared.work);
        let fine = strong.retry().await;
        let idle = shared.pending.waiting() == 0;
        drop(strong);
        if fine {
            failures = 0;
            if idle {
                work.notified().await;
            }
        } else {
            sleep(backoff(failures, chance.unit())).await;
            failures = failures.saturating_add(1);
        }
    }
}

/// Carries out the intents of processes that went away between a commit and its invalidations.
async fn sweep(ledger: Weak<Ledger>, log: Arc<dyn Log>, chance: Arc<Chance>, interval: Duration) {
    loop {
        sleep(interval.mul_f64(0.5 + chance.unit() / 2.0)).await;
        let overdue = match bounded(log.overdue(), ANSWER_MAX).await {
            Ok(overdue) => overdue,
            Err(error) => {
                tracing::debug!(%error, "overdue intents not read");
                continue;
            }
        };
        for (intent, bytes) in overdue {
            let Some(ledger) = ledger.upgrade() else {
                return;
            };
            tracing::info!(intent, "batch of unknown outcome: it invalidates");
            // Of another release, perhaps: what it is about cannot be known.
            let changes =
                change::decode(&bytes).unwrap_or_else(|| vec![Change::all(Effect::Remove)]);
            let ticket = ledger.announce_with(&changes, Some(intent));
            ledger.tell_applied(&changes);
            ledger.settle(ticket).await;
        }
    }
}

/// Notices a silence of the log, and keeps the record in the disk folder short.
async fn upkeep(ledger: Weak<Ledger>, interval: Duration) {
    let interval = interval.clamp(Duration::from_millis(10), Duration::from_secs(1));
    let silent = metrics::gauge!("tiered_cache_log_silent_seconds");
    let pending = metrics::gauge!("tiered_cache_log_pending");
    loop {
        sleep(interval).await;
        let Some(ledger) = ledger.upgrade() else {
            return;
        };
        ledger.announce_again();
        if let Some(shared) = &ledger.shared {
            let now = ledger.now_ms();
            if shared.silence.check(now) {
                tracing::warn!("the shared invalidation log is silent");
            }
            let silence = shared
                .silence
                .since()
                .map_or(0, |since| now.saturating_sub(since));
            silent.set(Duration::from_millis(silence).as_secs_f64());
            pending.set(shared.pending.len() as f64);
        }
        if let Some(local) = &ledger.local
            && local.wants_upkeep()
        {
            let (local, floors) = (Arc::clone(local), Arc::clone(&ledger.floors));
            drop(ledger);
            // CANCEL: it ends by itself, and leaves the old or the new file.
            let _ = tokio::task::spawn_blocking(move || local.upkeep(&floors)).await;
        }
    }
}

/// A log bounds its answers itself; one that does not must not stop the task for ever.
async fn bounded<T>(
    answer: impl Future<Output = Result<T, LogError>>,
    within: Duration,
) -> Result<T, LogError> {
    timeout(within, answer)
        .await
        .unwrap_or(Err(LogError::TimedOut))
}

/// How long a read waits for something new: the heartbeat of the log.
const HEARTBEAT: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const IDLE_PAUSE: Duration = Duration::from_millis(10);
const PAGE_RECORDS: usize = 512;
