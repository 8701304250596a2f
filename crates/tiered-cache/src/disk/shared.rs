//! What the tier and its writer share: the queue, the engine that is open now, and the counts.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::{
    config::Geometry,
    engine::{Engine, Shape},
    folder::Folder,
    queue::{QueueBounds, WriteQueue},
};
use crate::{
    error::BoxError,
    status::{DiskStatus, DiskUse},
};

/// One open folder with all that belongs to it.
pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) geometry: Geometry,
    shape: Shape,
    queue: Mutex<WriteQueue>,
    state: RwLock<State>,
    /// There is something to write.
    pub(super) work: Notify,
    /// The writer took something from the queue.
    pub(super) room: Notify,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) counts: Counts,
    gone: Mutex<Gone>,
}

/// How long the writer is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Until the queue is empty.
    Closing,
    /// Not any more.
    Abandoned,
    /// It has ended.
    Closed,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Opening,
    Open(Arc<Engine>),
    /// It takes no writes; what is there is read.
    Failing(Arc<Engine>, String),
    /// It answers nothing.
    Stalled(String),
    /// Until the next start.
    Failed(String),
    Closed,
}

/// What has to be deleted from the engine that is opened next, before it is used.
#[derive(Debug, Default)]
struct Gone {
    keys: BTreeSet<u64>,
    /// There were more.
    more: bool,
}

impl Gone {
    fn note(&mut self, hash: u64) {
        if self.keys.len() < GONE_MAX {
            self.keys.insert(hash);
        } else {
            self.more = true;
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) damaged: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        folder: Folder,
        geometry: Geometry,
        bounds: QueueBounds,
        shape: Shape,
    ) -> Arc<Self> {
        Arc::new(Self {
            folder,
            geometry,
            shape,
            queue: Mutex::new(WriteQueue::new(bounds)),
            state: RwLock::new(State::Opening),
            work: Notify::new(),
            room: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            counts: Counts::default(),
            gone: Mutex::default(),
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    /// Enters the state; `Failed` is for good, but for closing.
    pub(super) fn enter(&self, next: State) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!((&*state, &next), (State::Failed(_), State::Closed))
            || !matches!(*state, State::Failed(_) | State::Closed)
        {
            *state = next;
        }
    }

    /// The engine, if it can be read.
    pub(super) fn readable(&self) -> Option<Arc<Engine>> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(engine) | State::Failing(engine, _) => Some(Arc::clone(engine)),
            _ => None,
        }
    }

    /// Ends the writer wherever it is.
    pub(super) fn abandon(&self) {
        self.phase.send_if_modified(|phase| {
            let ended = *phase == Phase::Closed;
            if !ended {
                *phase = Phase::Abandoned;
            }
            !ended
        });
    }

    /// Takes the key from the disk, at once or as soon as there is an engine that answers.
    pub(super) fn delete(&self, hash: u64) {
        let mut gone = self.gone();
        match self.state() {
            State::Open(engine) => engine.delete(hash),
            State::Failing(engine, _) => {
                engine.delete(hash);
                gone.note(hash);
            }
            // Each deletion takes a place in a queue of foyer's that nobody empties now.
            State::Opening | State::Stalled(_) => gone.note(hash),
            State::Failed(_) | State::Closed => {}
        }
    }

    /// The newest version of the key was lost: what the disk has of it must not pass for that, now or
    /// after foyer was opened anew, which forgets deletions. (Of a removed key the floors know.)
    pub(super) fn lose(&self, hash: u64) {
        self.delete(hash);
        self.gone().note(hash);
    }

    /// The disk has the newest version of these.
    pub(super) fn regain(&self, hashes: impl Iterator<Item = u64>) {
        let mut gone = self.gone();
        if !gone.keys.is_empty() {
            for hash in hashes {
                gone.keys.remove(&hash);
            }
        }
    }

    fn gone(&self) -> MutexGuard<'_, Gone> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the blocks on a thread of its own: sorting the index of a large folder takes a while.
    /// Empty if more was deleted than was kept in mind.
    pub(super) async fn open(self: &Arc<Self>, trusted: bool) -> Result<Arc<Engine>, BoxError> {
        let shared = Arc::clone(self);
        let runtime = tokio::runtime::Handle::current();
        let opening = tokio::task::spawn_blocking(move || {
            let unknown = std::mem::take(&mut shared.gone().more);
            shared
                .folder
                .prepare(trusted && !unknown, shared.geometry)?;
            let blocks = shared.folder.blocks();
            let engine = Engine::open(&blocks, shared.geometry, &shared.shape);
            Ok::<_, BoxError>(Arc::new(runtime.block_on(engine)?))
        });
        opening.await?
    }

    /// Puts the engine to use, unless more was deleted meanwhile than was kept in mind.
    pub(super) fn adopt(&self, engine: &Arc<Engine>) -> bool {
        let gone = self.gone();
        for hash in &gone.keys {
            engine.delete(*hash);
        }
        if !gone.more {
            // Before the lock is given back, so that no deletion comes between.
            self.enter(State::Open(Arc::clone(engine)));
        }
        !gone.more
    }

    /// Tries whether the folder can be written at all.
    pub(super) async fn probe(self: &Arc<Self>) -> io::Result<()> {
        let shared = Arc::clone(self);
        let probe =
            tokio::task::spawn_blocking(move || shared.folder.probe(shared.geometry.buffer));
        probe.await.map_err(io::Error::other)?
    }

    /// Throws away what waits.
    pub(super) fn drop_queue(&self) {
        let dropped = self.queue().drop_all();
        self.counts.add(&self.counts.dropped, dropped.len() as u64);
        // Their older versions must not pass for them.
        for hash in dropped {
            self.lose(hash);
        }
        self.room.notify_waiters();
    }

    pub(super) fn status(&self) -> (DiskStatus, DiskUse) {
        let status = match self.state() {
            State::Opening => DiskStatus::Opening,
            State::Open(_) => DiskStatus::Ok,
            State::Failing(_, reason) | State::Stalled(reason) => DiskStatus::Failing { reason },
            State::Failed(reason) => DiskStatus::Failed { reason },
            State::Closed => DiskStatus::Off,
        };
        let (queued_entries, queued_bytes) = self.queue().load();
        // Counts of their own; nothing else is ordered by them.
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        let usage = DiskUse {
            queued_entries,
            queued_bytes,
            written: read(&counts.written),
            written_bytes: read(&counts.written_bytes),
            dropped: read(&counts.dropped),
            refused: read(&counts.refused),
            damaged: read(&counts.damaged),
        };
        (status, usage)
    }
}

impl Counts {
    pub(super) fn add(&self, count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.folder.path())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Half a MiB and the tree.
const GONE_MAX: usize = 64 << 10;
