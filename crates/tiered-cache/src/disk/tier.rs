//! The disk tier as the caches see it: reads with a deadline, writes that wait in a bounded queue, and
//! nothing of a key that was removed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use foyer::EngineConfig;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::{
    config::DiskConfig,
    engine::{Loaded, Settings, Shape, entry_max},
    folder::Folder,
    queue::{Look, Offer, QueueBounds, Stamp, Write},
    shared::{Phase, Shared, State},
    writer,
};
use crate::{
    cached::TierKind,
    coherence::{Effect, Version},
    error::BuildError,
    status::{DiskStatus, DiskUse},
    tier::{CLOSE_WITHIN, EntryKey, Sealed, Tier, TierError, TierScope},
};

/// The folder below memory; used by one process at a time.
#[derive(Debug)]
pub(crate) struct DiskTier {
    shared: Arc<Shared>,
    config: DiskConfig,
    entry_max: usize,
    /// Reads that a dead disk may hold: each holds a thread of the runtime's too.
    reads: Arc<Semaphore>,
}

impl DiskTier {
    /// Opens what is in the folder; `trusted` says whether all that was invalidated in it is known, else
    /// it begins empty. Waits at most [`DiskConfig::open_wait`], then goes on in the background and
    /// answers [`TierError::Unavailable`] until it is done. A task of its own writes, until the tier
    /// is closed or dropped.
    ///
    /// # Errors
    /// [`BuildError`] for a configuration or a folder that cannot work.
    pub(crate) async fn open(
        folder: Folder,
        config: &DiskConfig,
        trusted: bool,
    ) -> Result<Arc<Self>, BuildError> {
        let plain: Shape = Arc::new(|settings: Settings| settings.boxed());
        Self::open_shaped(folder, config, trusted, plain).await
    }

    pub(super) async fn open_shaped(
        folder: Folder,
        config: &DiskConfig,
        trusted: bool,
        shape: Shape,
    ) -> Result<Arc<Self>, BuildError> {
        config.validate()?;
        let geometry = config.geometry();
        let bounds = QueueBounds {
            entries: config.queue_entries,
            bytes: config.queue_bytes,
        };
        let shared = Shared::new(folder, geometry, bounds, shape);
        let (opened, opening) = oneshot::channel();
        // CANCEL: dropped from here on, the tier tells its writer to end.
        let tier = Arc::new(Self {
            shared: Arc::clone(&shared),
            config: DiskConfig {
                // So that the end of a wait can be computed.
                read_timeout: config.read_timeout.min(WAIT_MAX),
                insert_wait: config.insert_wait.min(WAIT_MAX),
                ..config.clone()
            },
            entry_max: entry_max(geometry),
            reads: Arc::new(Semaphore::new(READS_MAX)),
        });
        tokio::spawn(writer::run(shared, trusted, opened));
        match timeout(config.open_wait, opening).await {
            Ok(Ok(Ok(()))) => Ok(tier),
            Ok(Ok(Err(source))) => Err(BuildError::Folder {
                path: config.path.clone(),
                source,
            }),
            Ok(Err(gone)) => Err(BuildError::Folder {
                path: config.path.clone(),
                source: gone.into(),
            }),
            Err(_) => {
                tracing::info!("disk tier is being opened in the background");
                Ok(tier)
            }
        }
    }

    /// Its state and what it did since it was opened.
    pub(crate) fn status(&self) -> (DiskStatus, DiskUse) {
        self.shared.status()
    }

    /// The engine that is open now, for tests that look past the tier.
    #[cfg(test)]
    pub(super) fn engine(&self) -> Arc<super::engine::Engine> {
        self.shared.readable().expect("the tier is open")
    }

    async fn load(&self, key: &EntryKey) -> Result<Option<Bytes>, TierError> {
        // Not even from the queue: a tier that is off must not seem to work.
        let Some(engine) = self.shared.readable() else {
            return Err(TierError::Unavailable);
        };
        let stamp = match self.shared.queue().look(key.hash) {
            Look::Found(bytes) => return Ok(Some(bytes)),
            Look::Removed => return Ok(None),
            Look::Ask(stamp) => stamp,
        };
        let deadline = Instant::now() + self.config.read_timeout;
        let permit = Arc::clone(&self.reads).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(deadline, permit).await else {
            return Err(TierError::TimedOut);
        };
        let hash = key.hash;
        let mut loading = Loading {
            rest: Some(async move { engine.load(hash).await }.boxed()),
            permit: Some(permit),
        };
        match timeout_at(deadline, &mut loading).await {
            Ok(loaded) => self.judge(key, stamp, loaded),
            Err(_) => Err(TierError::TimedOut),
        }
    }

    fn judge(
        &self,
        key: &EntryKey,
        stamp: Stamp,
        loaded: Loaded,
    ) -> Result<Option<Bytes>, TierError> {
        match loaded {
            // What was removed while it was read is not there.
            Loaded::Found(_) if self.shared.queue().overtaken(key.hash, stamp) => Ok(None),
            Loaded::Found(bytes) => Ok(Some(bytes)),
            Loaded::Absent => Ok(None),
            Loaded::Damaged => {
                self.shared.counts.add(&self.shared.counts.damaged, 1);
                Ok(None)
            }
            Loaded::Failed(error) => Err(TierError::Failed(error)),
        }
    }

    async fn keep(&self, hash: u64, entry: Sealed) -> Result<bool, TierError> {
        match self.shared.state() {
            State::Open(_) | State::Opening => {}
            State::Failing(..) | State::Stalled(_) => return Ok(self.lose(hash)),
            State::Failed(_) | State::Closed => return Err(TierError::Unavailable),
        }
        if entry.bytes.len() > self.entry_max {
            let (bytes, max) = (entry.bytes.len(), self.entry_max);
            tracing::debug!(bytes, max, "entry too large for the disk tier");
            self.shared.counts.add(&self.shared.counts.refused, 1);
            self.forget(hash);
            return Ok(false);
        }
        let deadline = Instant::now() + self.config.insert_wait;
        let mut room = std::pin::pin!(self.shared.room.notified());
        loop {
            // Before the look, so that room made after it is not missed.
            room.as_mut().enable();
            let write = Write {
                hash,
                bytes: entry.bytes.clone(),
            };
            let offer = {
                let mut queue = self.shared.queue();
                // Under its lock, so that nothing comes in after it was emptied for the last time.
                if *self.shared.phase.borrow() != Phase::Running {
                    return Err(TierError::Unavailable);
                }
                queue.offer(write, entry.version)
            };
            match offer {
                Offer::Queued => {
                    self.shared.work.notify_one();
                    return Ok(true);
                }
                Offer::Outdated => return Ok(false),
                Offer::Full if !entry.insertion => return Ok(self.lose(hash)),
                Offer::Full => {}
            }
            // CANCEL: what waits here is in no queue yet, so nothing is half-done.
            if timeout_at(deadline, room.as_mut()).await.is_err() {
                return Ok(self.lose(hash));
            }
            room.set(self.shared.room.notified());
        }
    }

    /// Counts a lost write, and takes the older version away, which would pass for the newest.
    fn lose(&self, hash: u64) -> bool {
        self.shared.counts.add(&self.shared.counts.dropped, 1);
        self.forget(hash);
        false
    }

    fn forget(&self, hash: u64) {
        self.shared.queue().forget(hash);
        self.shared.lose(hash);
    }
}

impl Tier for DiskTier {
    fn kind(&self) -> TierKind {
        TierKind::Disk
    }

    fn scope(&self) -> TierScope {
        TierScope::Process
    }

    fn read<'a>(&'a self, key: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        self.load(key).boxed()
    }

    fn write<'a>(
        &'a self,
        key: &'a EntryKey,
        entry: Sealed,
        keep_for: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        async move {
            if keep_for.is_zero() {
                return Ok(false);
            }
            self.keep(key.hash, entry).await
        }
        .boxed()
    }

    /// Done before it returns, as far as this process sees; that a restart finds nothing of it is the
    /// matter of the floors. An expiry leaves the bytes, which may still serve as stale.
    fn invalidate<'a>(
        &'a self,
        key: &'a EntryKey,
        effect: Effect,
        version: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        if effect == Effect::Remove {
            self.shared.queue().remove(key.hash, version);
            self.shared.delete(key.hash);
        }
        std::future::ready(Ok(())).boxed()
    }

    /// Takes nothing more, writes what waits, and gives the folder back. Dropped halfway, it goes on as
    /// long as the tier lives. A disk that does not get it done within [`GIVE_UP`] is left to itself, and
    /// the folder given back all the same.
    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.shared.phase.send_if_modified(|phase| {
                let running = *phase == Phase::Running;
                if running {
                    *phase = Phase::Closing;
                }
                running
            });
            let mut phase = self.shared.phase.subscribe();
            // The sender is right here, so there is nothing to fail.
            let mut closed = async || drop(phase.wait_for(|phase| *phase == Phase::Closed).await);
            if timeout(GIVE_UP, closed()).await.is_err() {
                tracing::warn!("disk tier not flushed in time: the rest is given up");
                self.shared.abandon();
                closed().await;
            }
        }
        .boxed()
    }
}

impl Drop for DiskTier {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

/// A read that, dropped, goes on elsewhere: its thread may hang long after the deadline, and counts as
/// one of the reads until then.
struct Loading {
    rest: Option<BoxFuture<'static, Loaded>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Future for Loading {
    type Output = Loaded;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Loaded> {
        let Some(rest) = &mut self.rest else {
            return Poll::Pending;
        };
        let loaded = ready!(rest.as_mut().poll(context));
        self.rest = None;
        Poll::Ready(loaded)
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let (rest, permit) = (self.rest.take(), self.permit.take());
        if let Some(rest) = rest
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                rest.await;
                drop(permit);
            });
        }
    }
}

/// A tenth of the threads that tokio gives to blocking work at most.
const READS_MAX: usize = 48;
const WAIT_MAX: Duration = Duration::from_hours(1);
/// Before whoever closes the caches gives up waiting, so that the folder is free by then.
pub(super) const GIVE_UP: Duration = CLOSE_WITHIN.saturating_sub(Duration::from_secs(1));
