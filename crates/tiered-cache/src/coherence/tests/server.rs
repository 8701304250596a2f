//! A scripted server: the log and the slots of keys, with a fault at any one call.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    cached::TierKind,
    coherence::{Effect, Epoch, Log, LogError, Page, Record, Target, Version},
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not carried out.
    Refused,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It is not carried out, and there is never an answer; whoever waits is killed.
    Stuck,
    /// It is carried out, and there is never an answer.
    DoneAndStuck,
}

pub(super) const FAULTS: [Fault; 2] = [Fault::Refused, Fault::AnswerLost];
pub(super) const KILLS: [Fault; 2] = [Fault::Stuck, Fault::DoneAndStuck];

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    held: Mutex<Held>,
    appended: Notify,
    /// Somebody is stuck.
    pub(super) stuck: Notify,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    /// The run that began the epoch.
    owner: u64,
    pub(super) records: Vec<Record>,
    pub(super) last: Version,
    pub(super) trimmed: Version,
    pub(super) intents: BTreeMap<u64, (Instant, Vec<u8>)>,
    /// The version of the tombstone of each key.
    pub(super) slots: BTreeMap<String, (Effect, Version)>,
    pub(super) away: bool,
    calls: usize,
    fault: Option<(usize, Fault)>,
    ids: u64,
}

/// The server as one process sees it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) server: Arc<Server>,
    instance: u64,
}

impl Server {
    pub(super) fn start() -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::new(Held {
                epoch: Epoch { id: 100, run: 1 },
                owner: 1,
                records: Vec::new(),
                last: Version(1_000),
                trimmed: Version(1_000),
                intents: BTreeMap::new(),
                slots: BTreeMap::new(),
                away: false,
                calls: 0,
                fault: None,
                ids: 100,
            }),
            appended: Notify::new(),
            stuck: Notify::new(),
        })
    }

    pub(super) fn link(self: &Arc<Self>, instance: u64) -> Link {
        Link {
            server: Arc::clone(self),
            instance,
        }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call after `calls` more is to fail.
    pub(super) fn fail(&self, calls: usize, fault: Fault) {
        let mut held = self.held();
        held.calls = 0;
        held.fault = Some((calls, fault));
    }

    /// Whether the fault has happened.
    pub(super) fn failed(&self) -> bool {
        self.held().fault.is_none()
    }

    /// Starts again with all it held but the last records.
    pub(super) fn fail_over(&self, lost: usize) {
        let mut held = self.held();
        held.epoch.run += 1;
        let kept = held.records.len().saturating_sub(lost);
        held.records.truncate(kept);
        held.last = held
            .records
            .last()
            .map_or(held.trimmed, |record| record.version);
    }

    /// Starts again with nothing.
    pub(super) fn flush(&self) {
        let mut held = self.held();
        held.ids += 1;
        held.epoch.id = held.ids;
        held.records.clear();
        (held.last, held.trimmed) = (Version(0), Version(0));
        held.slots.clear();
        held.intents.clear();
    }

    /// Keeps no record.
    pub(super) fn trim(&self) {
        let mut held = self.held();
        held.records.clear();
        held.trimmed = held.last;
    }

    async fn call<T>(&self, act: impl FnOnce(&mut Held) -> T) -> Result<T, LogError> {
        // Others run in between, as they do on a network.
        sleep(Duration::from_millis(1)).await;
        let fault = {
            let mut held = self.held();
            if held.away {
                return Err(LogError::Unavailable);
            }
            held.calls += 1;
            match held.fault {
                Some((at, fault)) if at < held.calls => {
                    held.fault = None;
                    Some(fault)
                }
                _ => None,
            }
        };
        match fault {
            None => Ok(act(&mut self.held())),
            Some(Fault::Refused) => Err(LogError::TimedOut),
            Some(Fault::AnswerLost) => {
                act(&mut self.held());
                Err(LogError::TimedOut)
            }
            Some(kill @ (Fault::Stuck | Fault::DoneAndStuck)) => {
                if kill == Fault::DoneAndStuck {
                    act(&mut self.held());
                }
                self.stuck.notify_one();
                pending().await
            }
        }
    }
}

impl Held {
    fn page(&self, after: Version, limit: usize) -> Page {
        let later = self.records.iter().filter(|record| record.version > after);
        Page {
            epoch: self.epoch,
            trimmed: self.trimmed,
            last: self.last,
            records: later.take(limit).cloned().collect(),
        }
    }
}

impl Log for Link {
    fn append<'a>(
        &'a self,
        changes: &'a [(Target, Effect)],
    ) -> BoxFuture<'a, Result<Version, LogError>> {
        async move {
            let version = self.server.call(|held| {
                held.last = Version(held.last.0 + 1);
                held.records.push(Record {
                    version: held.last,
                    by: self.instance,
                    changes: changes.to_vec(),
                });
                held.last
            });
            let version = version.await?;
            self.server.appended.notify_waiters();
            Ok(version)
        }
        .boxed()
    }

    fn read(
        &self,
        after: Version,
        limit: usize,
        wait: Duration,
    ) -> BoxFuture<'_, Result<Page, LogError>> {
        async move {
            let appended = self.server.appended.notified();
            let page = self.server.call(|held| held.page(after, limit)).await?;
            if !page.records.is_empty() || wait.is_zero() {
                return Ok(page);
            }
            let _ = timeout(wait, appended).await;
            self.server.call(|held| held.page(after, limit)).await
        }
        .boxed()
    }

    fn floors(&self) -> BoxFuture<'_, Result<Vec<(Target, Effect, Version)>, LogError>> {
        self.server.call(|_| Vec::new()).boxed()
    }

    fn renew(&self, old: Epoch, above: Version) -> BoxFuture<'_, Result<Epoch, LogError>> {
        let renewed = self.server.call(move |held| {
            if held.epoch.id == old.id || held.owner != held.epoch.run {
                held.ids += 1;
                held.epoch.id = held.ids;
                held.owner = held.epoch.run;
            }
            held.last = held.last.max(above);
            held.epoch
        });
        renewed.boxed()
    }

    fn prepare<'a>(
        &'a self,
        intent: u64,
        changes: &'a [u8],
        due: Duration,
    ) -> BoxFuture<'a, Result<(), LogError>> {
        let prepared = self.server.call(move |held| {
            let due = Instant::now() + due;
            held.intents.insert(intent, (due, changes.to_vec()));
        });
        prepared.boxed()
    }

    fn complete(&self, intent: u64) -> BoxFuture<'_, Result<(), LogError>> {
        let completed = self.server.call(move |held| {
            held.intents.remove(&intent);
        });
        completed.boxed()
    }

    fn overdue(&self) -> BoxFuture<'_, Result<Vec<(u64, Vec<u8>)>, LogError>> {
        let overdue = self.server.call(|held| {
            let now = Instant::now();
            let overdue = held.intents.iter().filter(|(_, (due, _))| *due <= now);
            overdue
                .map(|(intent, (_, changes))| (*intent, changes.clone()))
                .collect()
        });
        overdue.boxed()
    }
}

impl Tier for Link {
    fn kind(&self) -> TierKind {
        TierKind::Redis
    }

    fn scope(&self) -> TierScope {
        TierScope::Shared
    }

    fn read<'a>(&'a self, _key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn write<'a>(
        &'a self,
        _key: &'a EntryKey,
        _entry: Sealed,
        _keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        std::future::ready(Ok(true)).boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        let done = self.server.call(move |held| {
            let slot = held.slots.entry(key.text.to_string());
            let slot = slot.or_insert((effect, version));
            if version > slot.1 {
                *slot = (effect, version);
            }
        });
        async move { done.await.map_err(|_| TierError::TimedOut) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
