//! foyer's block engine with a switch before each of its doors.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use foyer::{
    Device, Engine, EngineBuildContext, EngineConfig, Error, ErrorKind, Load, PieceRef,
    StorageFilterResult,
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

use crate::disk::engine::{Properties, Settings, Shape};

/// How the next reads end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loads {
    Plain,
    /// The system gives an error.
    Broken,
    /// What was read does not decode.
    Undecodable,
    Panicking,
    Hanging,
}

/// The switches; clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Writes are taken and not written until it is off.
    pub(super) frozen: watch::Sender<bool>,
    /// Writes are silently lost, as foyer does when a buffer is full or the disk fails.
    pub(super) losing: Arc<AtomicBool>,
    pub(super) loads: watch::Sender<Loads>,
    /// How many writes came.
    pub(super) writes: watch::Sender<usize>,
    pub(super) opened: Arc<AtomicUsize>,
    /// foyer is not opened until it is off.
    pub(super) shut: watch::Sender<bool>,
    /// Given to foyer instead of the tier's own size of the buffer.
    pub(super) buffer: Arc<Mutex<Option<usize>>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            frozen: watch::Sender::new(false),
            losing: Arc::default(),
            loads: watch::Sender::new(Loads::Plain),
            writes: watch::Sender::new(0),
            opened: Arc::default(),
            shut: watch::Sender::new(false),
            buffer: Arc::default(),
        }
    }
}

impl Script {
    pub(super) fn shape(&self) -> Shape {
        let script = self.clone();
        Arc::new(move |settings: Settings| {
            let buffer = *script.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            let settings = match buffer {
                Some(bytes) => settings.with_buffer_pool_size(bytes),
                None => settings,
            };
            Box::new(Scripted {
                script: script.clone(),
                settings,
            })
        })
    }

    /// Waits until foyer was given that many writes in all.
    pub(super) async fn written(&self, count: usize) {
        let mut writes = self.writes.subscribe();
        let seen = writes.wait_for(|seen| *seen >= count).await;
        assert!(*seen.expect("the script holds the sender") >= count);
    }
}

#[derive(Debug)]
struct Scripted {
    script: Script,
    settings: Settings,
}

impl EngineConfig<u64, Bytes, Properties> for Scripted {
    fn build(
        self: Box<Self>,
        context: EngineBuildContext,
    ) -> BoxFuture<'static, foyer::Result<Arc<dyn Engine<u64, Bytes, Properties>>>> {
        async move {
            self.script.opened.fetch_add(1, Ordering::Relaxed);
            let _ = self.script.shut.subscribe().wait_for(|shut| !shut).await;
            let inner = Box::new(self.settings).build(context).await?;
            let engine: Arc<dyn Engine<u64, Bytes, Properties>> = Arc::new(Switched {
                script: self.script,
                inner,
                held: Arc::default(),
            });
            Ok(engine)
        }
        .boxed()
    }
}

/// A write, with what foyer thinks that it takes.
type Piece = (PieceRef<u64, Bytes, Properties>, usize);

#[derive(Debug)]
struct Switched {
    script: Script,
    inner: Arc<dyn Engine<u64, Bytes, Properties>>,
    held: Arc<Mutex<Vec<Piece>>>,
}

impl Engine<u64, Bytes, Properties> for Switched {
    fn device(&self) -> &Arc<dyn Device> {
        self.inner.device()
    }

    fn filter(&self, hash: u64, estimated_size: usize) -> StorageFilterResult {
        self.inner.filter(hash, estimated_size)
    }

    fn enqueue(&self, piece: PieceRef<u64, Bytes, Properties>, estimated_size: usize) {
        if *self.script.frozen.borrow() {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.push((piece, estimated_size));
        } else if !self.script.losing.load(Ordering::Relaxed) {
            self.inner.enqueue(piece, estimated_size);
        }
        self.script.writes.send_modify(|count| *count += 1);
    }

    fn load(&self, hash: u64) -> BoxFuture<'static, foyer::Result<Load<u64, Bytes, Properties>>> {
        let mut loads = self.script.loads.subscribe();
        let loading = self.inner.load(hash);
        async move {
            let now = *loads.borrow();
            match now {
                Loads::Plain => {}
                Loads::Broken => return Err(Error::raw_os_io_error(5)),
                Loads::Undecodable => {
                    return Err(Error::new(ErrorKind::External, "cannot be decoded"));
                }
                Loads::Panicking => panic!("as foyer does when a length is damaged"),
                Loads::Hanging => {
                    let _ = loads.wait_for(|loads| *loads != Loads::Hanging).await;
                }
            }
            loading.await
        }
        .boxed()
    }

    fn delete(&self, hash: u64) {
        self.inner.delete(hash);
    }

    fn may_contains(&self, hash: u64) -> bool {
        self.inner.may_contains(hash)
    }

    fn destroy(&self) -> BoxFuture<'static, foyer::Result<()>> {
        self.inner.destroy()
    }

    fn wait(&self) -> BoxFuture<'static, ()> {
        let mut frozen = self.script.frozen.subscribe();
        let (held, inner) = (Arc::clone(&self.held), Arc::clone(&self.inner));
        async move {
            let _ = frozen.wait_for(|frozen| !frozen).await;
            let held = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
            for (piece, size) in held {
                inner.enqueue(piece, size);
            }
            inner.wait().await;
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'static, foyer::Result<()>> {
        let (waited, inner) = (self.wait(), Arc::clone(&self.inner));
        async move {
            waited.await;
            inner.close().await
        }
        .boxed()
    }
}
