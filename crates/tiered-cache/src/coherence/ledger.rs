//! The ledger: every invalidation of this process goes through it, first here and at once, then to the
//! shared log and tiers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Change, Effect, Floors, Log, Target,
    local_log::LocalLog,
    pending::{Pending, Released},
    silence::Silence,
    unsure::{Dropped, Unsure},
};
use crate::{
    chance::Chance,
    clock::millis,
    events::Events,
    tier::{Tier, TierScope},
};

/// What the ledger needs to know; every time here is one of the coherence of replicas.
#[derive(Debug, Clone)]
pub(crate) struct LedgerConfig {
    /// Under which name this process writes to the log: the name that [`Log`] gives its records.
    pub(crate) instance: u64,
    /// The time at construction in unix milliseconds, on the scale of the entries' times.
    pub(crate) unix_ms: u64,
    /// After how long without an answer the log counts as silent.
    pub(crate) silent_after: Duration,
    /// How long values are served in a silence.
    pub(crate) degraded_ttl: Duration,
    /// After how long a prepared batch counts as abandoned, and is carried out.
    pub(crate) intent_timeout: Duration,
    /// How many invalidations wait to be tried again; more become "the whole cache".
    pub(crate) pending_max: usize,
    /// Who is told.
    pub(crate) events: Events,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            instance: 0,
            unix_ms: 0,
            silent_after: Duration::from_secs(3),
            degraded_ttl: Duration::from_secs(30),
            intent_timeout: Duration::from_secs(10),
            pending_max: 4_096,
            events: Events::new(),
        }
    }
}

/// See the module; shared by all caches of one `Caches`.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) floors: Arc<Floors>,
    pub(super) shared: Option<Shared>,
    pub(super) local: Option<Arc<LocalLog>>,
    pub(super) config: LedgerConfig,
    pub(super) chance: Arc<Chance>,
    pub(super) unsure: Unsure,
    pub(super) started: Instant,
    /// Ends the background task.
    pub(super) closed: CancellationToken,
}

/// What a ledger has when there are replicas.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<dyn Log>,
    pub(super) tiers: Box<[Arc<dyn Tier>]>,
    pub(super) pending: Pending,
    pub(super) silence: Silence,
    /// All of the log that there is was applied.
    pub(super) ready: AtomicBool,
    /// It was so at least once: what is on disk has been checked.
    pub(super) synced: AtomicBool,
    pub(super) gaps: AtomicU64,
    /// There is something to be tried again.
    pub(super) work: Arc<Notify>,
}

/// An announced invalidation on its way to the shared tiers. Dropped before it is settled, it stays
/// pending and the background task goes on with it.
#[derive(Debug)]
#[must_use = "the shared tiers learn of it when it is settled"]
pub(crate) struct Ticket {
    numbers: Vec<u64>,
    pub(super) hold: Option<Hold>,
}

/// A pending item in somebody's hand.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) ledger: Arc<Ledger>,
    pub(super) id: u64,
}

/// How the shared log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogStatus {
    /// All that the log holds is applied here.
    pub(crate) ready: bool,
    /// For how long there was no answer, when that is too long.
    pub(crate) silent_for: Option<Duration>,
    /// Invalidations that the shared tiers have not confirmed.
    pub(crate) pending: usize,
    /// How often all entries were given up because the log could not be trusted.
    pub(crate) gaps: u64,
    /// The last version that was applied.
    pub(crate) applied: super::Version,
}

impl Ledger {
    /// A ledger over the shared ones of `tiers`; without a log, over this process alone.
    ///
    /// What an earlier process left unsent in the folder of `local` is announced again.
    pub(crate) fn new(
        floors: Arc<Floors>,
        log: Option<Arc<dyn Log>>,
        tiers: &[Arc<dyn Tier>],
        local: Option<Arc<LocalLog>>,
        config: LedgerConfig,
        chance: Arc<Chance>,
    ) -> Arc<Self> {
        let shared = log.map(|log| Shared {
            log,
            tiers: tiers
                .iter()
                .filter(|tier| tier.scope() == TierScope::Shared)
                .map(Arc::clone)
                .collect(),
            pending: Pending::new(
                config.pending_max,
                local.as_ref().map_or(0, |local| local.outbox().last_id()),
            ),
            silence: Silence::new(config.unix_ms, config.silent_after, config.degraded_ttl),
            ready: AtomicBool::new(false),
            synced: AtomicBool::new(false),
            gaps: AtomicU64::new(0),
            work: Arc::new(Notify::new()),
        });
        let ledger = Arc::new(Self {
            floors,
            shared,
            local,
            config,
            chance,
            unsure: Unsure::default(),
            started: Instant::now(),
            closed: CancellationToken::new(),
        });
        ledger.announce_unsent();
        ledger
    }

    /// Makes the changes count in this process, and puts them on record; the caller drops what it
    /// holds in memory. They are in force when this returns.
    pub(crate) fn announce(self: &Arc<Self>, changes: &[Change]) -> Ticket {
        self.announce_with(changes, None)
    }

    pub(super) fn announce_with(
        self: &Arc<Self>,
        changes: &[Change],
        intent: Option<u64>,
    ) -> Ticket {
        // Pending before the floors rise: whoever gets a token above them finds the shared tiers
        // blocked, and cannot take an old value from there for a new one.
        let hold = self.shared.as_ref().map(|shared| Hold {
            id: shared.pending.add(changes.into(), intent),
            ledger: Arc::clone(self),
        });
        let numbers = changes.iter().map(|change| {
            let number = match change.target {
                Target::Key(key) if change.evicts => {
                    self.floors.raise_and_evict(key, change.effect)
                }
                target => self.floors.raise(target, change.effect),
            };
            self.mark(change.target, change.effect, number);
            number
        });
        let numbers = numbers.collect();
        if let (Some(local), Some(hold)) = (&self.local, &hold) {
            local.outbox().add(hold.id, changes);
        }
        Ticket { numbers, hold }
    }

    /// As [`announce`](Self::announce), now and once more after `intent_timeout`: whatever they go with
    /// may take effect in between. `intent` stays on record until then.
    pub(super) fn announce_twice(self: &Arc<Self>, changes: Vec<Change>, intent: Option<u64>) {
        // Dropped: the background task goes on with it.
        drop(self.announce(&changes));
        self.tell_applied(&changes);
        let due = Instant::now() + self.config.intent_timeout;
        let dropped = Dropped {
            due,
            changes,
            intent,
        };
        if let Err(Dropped { intent, .. }) = self.unsure.add(dropped)
            && let (Some(intent), Some(local)) = (intent, &self.local)
        {
            // Whoever finds it overdue in the shared log carries it out.
            local.outbox().complete(intent);
        }
    }

    /// Announces again what is due of [`announce_twice`](Self::announce_twice).
    pub(super) fn announce_again(self: &Arc<Self>) {
        while let Some(Dropped {
            changes, intent, ..
        }) = self.unsure.next(Instant::now())
        {
            drop(self.announce_with(&changes, intent));
            if let (Some(intent), Some(local)) = (intent, &self.local) {
                local.outbox().complete(intent);
            }
        }
    }

    /// Makes changes count in this process that somebody made in a shared tier past the log.
    pub(crate) fn hear(&self, changes: &[(Target, Effect)]) {
        for (target, effect) in changes.iter().copied() {
            let number = self.floors.raise(target, effect);
            self.mark(target, effect, number);
        }
        self.tell_heard(changes);
    }

    fn announce_unsent(self: &Arc<Self>) {
        let Some(local) = &self.local else { return };
        for unsent in local.outbox().take_unsent() {
            // Dropped: the background task goes on with it.
            drop(self.announce_with(&unsent.changes, unsent.intent));
            match unsent.intent {
                Some(intent) => local.outbox().complete(intent),
                // Without a log nobody has heard of it yet: it stays for a process that has one.
                None if self.shared.is_none() => {}
                None => local.outbox().done(unsent.id),
            }
        }
    }

    /// Puts the mark of an invalidation that has just been made on record in the disk folder.
    pub(super) fn mark(&self, target: Target, effect: Effect, number: u64) {
        if let Some(local) = &self.local {
            local.mark(target, effect, number);
        }
    }

    /// Whether the entry may be neither read from nor written to the shared tiers now, because they
    /// have not confirmed an invalidation of it. Ask after the token was taken.
    pub(crate) fn blocks(&self, cache: u64, key: u64, tags: &[u64]) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.pending.blocks(cache, key, tags))
    }

    /// Whether the shared tiers may be asked: all that the log holds was applied.
    pub(crate) fn shared_ready(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.ready.load(Ordering::Acquire))
    }

    /// Whether the disk tier may be asked: what was invalidated while this process was away is known.
    pub(crate) fn disk_ready(&self) -> bool {
        let synced = |shared: &Shared| shared.synced.load(Ordering::Acquire);
        self.local.as_ref().is_some_and(|local| local.is_good())
            && self.shared.as_ref().is_none_or(synced)
    }

    /// Until when a value filled at `filled_ms` may be served; `u64::MAX` unless the log is silent.
    #[inline]
    pub(crate) fn served_until(&self, filled_ms: u64) -> u64 {
        match &self.shared {
            None => u64::MAX,
            Some(shared) => shared.silence.served_until(filled_ms),
        }
    }

    /// What entries of this process's own tiers name as their origin.
    pub(crate) fn origin_local(&self) -> u64 {
        self.local.as_ref().map_or(0, |local| local.id())
    }

    /// How the log stands; `None` when there is none.
    pub(crate) fn log_status(&self) -> Option<LogStatus> {
        let shared = self.shared.as_ref()?;
        let silent = shared.silence.since();
        Some(LogStatus {
            ready: shared.ready.load(Ordering::Acquire),
            silent_for: silent
                .map(|since| Duration::from_millis(self.now_ms().saturating_sub(since))),
            pending: shared.pending.len(),
            gaps: shared.gaps.load(Ordering::Relaxed),
            applied: self.floors.applied(),
        })
    }

    /// Why the record in the disk folder cannot be written any more, if so.
    pub(crate) fn local_failure(&self) -> Option<String> {
        self.local.as_ref()?.failure()
    }

    pub(super) fn now_ms(&self) -> u64 {
        let elapsed = millis(self.started.elapsed());
        self.config.unix_ms.saturating_add(elapsed)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl Ticket {
    /// The number that the change took in this process: what an entry that was inserted with it
    /// carries. They are in the order of the changes.
    pub(crate) fn number(&self, change: usize) -> u64 {
        self.numbers.get(change).copied().unwrap_or_default()
    }
}

impl Drop for Hold {
    // CANCEL: whatever was going on with the item, it is either settled or waits to be tried again.
    fn drop(&mut self) {
        let Some(shared) = &self.ledger.shared else {
            return;
        };
        match shared.pending.release(self.id) {
            Released::Gone => return,
            Released::Waiting => {}
            Released::Collapsed(collapsed) => {
                if let Some(local) = &self.ledger.local {
                    local.outbox().add(collapsed.id, &collapsed.changes);
                    for id in collapsed.replaced {
                        local.outbox().done(id);
                    }
                }
            }
        }
        shared.work.notify_one();
    }
}
