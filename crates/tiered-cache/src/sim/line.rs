//! The connections of one process to the scripted Redis: the tier of values, and the log.
//!
//! What was sent is carried out even when its caller has gone, as in a real connection.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    disk::name,
    lock,
    op::row_of,
    world::{LineMood, Lines, State, World},
};
use crate::{
    cached::TierKind,
    coherence::{Effect, Epoch, Floors, Log, LogError, Page, Target, Version},
    tier::{EntryKey, Sealed, Tier, TierError, TierScope},
};

/// One process's end of its connections.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) world: Arc<World>,
    pub(super) lines: Arc<Lines>,
    /// The process, in the history.
    pub(super) process: usize,
    /// What it signs its records with.
    pub(super) instance: u64,
    /// The highest version that the process was told.
    pub(super) seen: AtomicU64,
    /// A killed process gets no answers any more.
    pub(super) dead: AtomicBool,
    /// Learn of soft floors that are read.
    pub(super) floors: OnceLock<Arc<Floors>>,
}

/// The values in the scripted Redis.
#[derive(Debug)]
pub(super) struct SimRedis(pub(super) Arc<Line>);

/// The log in the scripted Redis.
#[derive(Debug)]
pub(super) struct SimLog(pub(super) Arc<Line>);

#[derive(Debug)]
enum Failure {
    Refused,
    TimedOut,
    Error,
}

impl Line {
    fn mood(&self, log: bool) -> LineMood {
        *lock(match log {
            true => &self.lines.log,
            false => &self.lines.values,
        })
    }

    fn seen(&self) -> Version {
        Version(self.seen.load(Ordering::Relaxed))
    }

    /// Sends one command; it takes effect at most once, at any time from now on.
    async fn send<R: Send + 'static>(
        &self,
        log: bool,
        command: impl FnOnce(&mut State, u64) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        if self.dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        let fate = self.world.fate(self.mood(log));
        if fate.refused {
            return Err(Failure::Refused);
        }
        let (answer, answered) = oneshot::channel();
        if let Some(there) = fate.there {
            let world = Arc::clone(&self.world);
            tokio::spawn(async move {
                sleep(there).await;
                let _ = answer.send(world.with(command));
                world.log_moved.notify_waiters();
            });
        } else {
            // Kept for as long as the caller waits, as an answer that never comes.
            tokio::spawn(async move {
                sleep(DEADLINE * 2).await;
                drop(answer);
            });
        }
        let answer = async {
            let answer = answered.await;
            sleep(fate.back).await;
            answer
        };
        let answer = timeout(DEADLINE, answer).await;
        if self.dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        match answer {
            Ok(Ok(_)) if fate.error => Err(Failure::Error),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Failure::TimedOut),
        }
    }
}

impl From<Failure> for TierError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::Unavailable,
            Failure::TimedOut => Self::TimedOut,
            Failure::Error => Self::Failed("an error answer".into()),
        }
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::Unavailable,
            Failure::TimedOut => Self::TimedOut,
            Failure::Error => Self::Failed("an error answer".into()),
        }
    }
}

impl Tier for SimRedis {
    fn kind(&self) -> TierKind {
        TierKind::Redis
    }

    fn scope(&self) -> TierScope {
        TierScope::Shared
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        let slot = name(key);
        let command = move |state: &mut State, now_ms: u64| state.store.get(&slot, now_ms);
        async move {
            let Some(found) = self.0.send(false, command).await? else {
                return Ok(None);
            };
            // As the real tier does.
            if let Some(floors) = self.0.floors.get()
                && found.stale
            {
                floors.confirm(Target::Key(key.hash), Effect::Expire, found.soft);
            }
            Ok(Some(found.bytes))
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        let slot = name(key);
        let keep_ms = keep_for.as_millis() as u64;
        let command = move |state: &mut State, now_ms: u64| {
            let until_ms = now_ms.saturating_add(keep_ms);
            let version = entry.version;
            let kept = state
                .store
                .fill(&slot, entry.bytes, version, until_ms, now_ms);
            state.trace.note(
                now_ms,
                format_args!("redis: {slot} filled at {version}: {kept}"),
            );
            kept
        };
        async move { Ok(self.0.send(false, command).await?) }.boxed()
    }

    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        let (slot, row) = (name(key), row_of(key));
        let command = move |state: &mut State, now_ms: u64| {
            state.store.invalidate(&slot, effect, version, now_ms);
            if let Some(row) = row {
                state.history.marked(row, version);
            }
            state.trace.note(
                now_ms,
                format_args!("redis: {slot} {effect:?} at {version}"),
            );
        };
        async move { Ok(self.0.send(false, command).await?) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

impl Log for SimLog {
    fn append<'a>(
        &'a self,
        changes: &'a [(Target, Effect)],
    ) -> BoxFuture<'a, Result<Version, LogError>> {
        let (by, owned) = (self.0.instance, changes.to_vec());
        let (process, seen) = (self.0.process, self.0.seen());
        let command = move |state: &mut State, now_ms: u64| {
            let version = state.store.append(by, &owned, seen, now_ms);
            let versions = state.database.versions();
            state
                .history
                .logged(version, process, &owned, &versions, now_ms);
            let count = owned.len();
            state.trace.note(
                now_ms,
                format_args!("log: process {process} appends {version}, {count} changes"),
            );
            version
        };
        async move {
            let version = self.0.send(true, command).await?;
            self.0.seen.fetch_max(version.0, Ordering::Relaxed);
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
            let line = &self.0;
            if line.dead.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
            let mood = line.mood(true);
            let fate = line.world.fate(mood);
            if fate.refused {
                return Err(LogError::Unavailable);
            }
            let deadline = Instant::now() + wait + DEADLINE;
            let answer = timeout_at(deadline, async {
                match fate.there {
                    Some(there) => sleep(there).await,
                    None => pending().await,
                }
                let page = self.poll(after, limit, wait).await?;
                sleep(fate.back).await;
                Ok::<_, LogError>(page)
            });
            let (page, read_ms) = answer.await.map_err(|_| LogError::TimedOut)??;
            if fate.error {
                return Err(LogError::Failed("an error answer".into()));
            }
            if line.dead.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
            line.seen.fetch_max(page.last.0, Ordering::Relaxed);
            line.world.with(|state, now_ms| {
                let history = &mut state.history;
                history.delivered(line.process, &page, read_ms, now_ms);
                if !page.records.is_empty() {
                    let (process, count) = (line.process, page.records.len());
                    let event = format_args!("log: process {process} reads {count} records");
                    state.trace.note(now_ms, event);
                }
            });
            Ok(page)
        }
        .boxed()
    }

    fn floors(&self) -> BoxFuture<'_, Result<Vec<(Target, Effect, Version)>, LogError>> {
        let seen = self.0.seen();
        let command = move |state: &mut State, now_ms| state.store.floors(seen, now_ms);
        async move { Ok(self.0.send(true, command).await?) }.boxed()
    }

    fn renew(&self, old: Epoch, above: Version) -> BoxFuture<'_, Result<Epoch, LogError>> {
        let (process, seen) = (self.0.process, self.0.seen().max(above));
        let command = move |state: &mut State, now_ms: u64| {
            let epoch = state.store.renew(old, seen, now_ms);
            let event = format_args!("log: process {process} renews the epoch");
            state.trace.note(now_ms, event);
            epoch
        };
        async move { Ok(self.0.send(true, command).await?) }.boxed()
    }

    fn prepare<'a>(
        &'a self,
        intent: u64,
        changes: &'a [u8],
        due: Duration,
    ) -> BoxFuture<'a, Result<(), LogError>> {
        let (changes, due_ms) = (changes.to_vec(), due.as_millis() as u64);
        let command = move |state: &mut State, now_ms: u64| {
            state
                .store
                .prepare(intent, changes, now_ms + due_ms, now_ms);
        };
        async move { Ok(self.0.send(true, command).await?) }.boxed()
    }

    fn complete(&self, intent: u64) -> BoxFuture<'_, Result<(), LogError>> {
        let command = move |state: &mut State, _| state.store.complete(intent);
        async move { Ok(self.0.send(true, command).await?) }.boxed()
    }

    fn overdue(&self) -> BoxFuture<'_, Result<Vec<(u64, Vec<u8>)>, LogError>> {
        let command = |state: &mut State, now_ms| state.store.overdue(now_ms);
        async move { Ok(self.0.send(true, command).await?) }.boxed()
    }
}

impl SimLog {
    /// A blocking read at the server; it breaks off when the server goes away.
    async fn poll(
        &self,
        after: Version,
        limit: usize,
        wait: Duration,
    ) -> Result<(Page, u64), LogError> {
        let world = &self.0.world;
        let run = world.with(|state, _| state.store.epoch().run);
        let until = Instant::now() + wait;
        loop {
            let moved = world.log_moved.notified();
            let (page, now_ms) = world.with(|state, now_ms| {
                let page = state.store.page(after, limit, self.0.seen(), now_ms);
                (page, now_ms)
            });
            if world.with(|state, _| state.store.epoch().run) != run {
                return Err(LogError::Unavailable);
            }
            let last = page.last != after;
            if !page.records.is_empty() || last || timeout_at(until, moved).await.is_err() {
                return Ok((page, now_ms));
            }
        }
    }
}

/// How long a command may take.
const DEADLINE: Duration = Duration::from_millis(500);
