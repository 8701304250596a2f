//! The task that writes: one buffer at a time, counted only when the disk has it, and what it does
//! when the disk takes nothing or does not answer.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    engine::{Engine, footprint},
    queue::Write,
    shared::{Phase, Shared, State},
};
use crate::error::BoxError;

/// Opens the folder, says so, and writes until it is told to end.
pub(super) async fn run(
    shared: Arc<Shared>,
    trusted: bool,
    opened: oneshot::Sender<Result<(), BoxError>>,
) {
    let farewell = Farewell(Arc::clone(&shared));
    let engine = match shared.open(trusted).await {
        Ok(engine) => engine,
        Err(error) => {
            shared.enter(State::Failed(error.to_string()));
            // Nobody waits any more if it took long; the state says it then.
            let _ = opened.send(Err(error));
            return;
        }
    };
    let adopted = shared.adopt(&engine);
    let _ = opened.send(Ok(()));
    let mut phase = shared.phase.subscribe();
    let mut writer = Writer {
        phase: shared.phase.subscribe(),
        shared,
        engine,
    };
    tokio::select! {
        biased;
        // What hangs then goes on hanging elsewhere: the folder is free all the same.
        _ = phase.wait_for(|phase| *phase == Phase::Abandoned) => {}
        () = writer.work(adopted) => {}
    }
    drop(farewell);
}

struct Writer {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    phase: watch::Receiver<Phase>,
}

/// How a batch ended.
enum Flush {
    /// The disk has it.
    Kept,
    /// The disk does not have all of it.
    Lost,
    /// It does not answer.
    Stalled,
}

impl Writer {
    /// Writes until it is closed.
    async fn work(&mut self, adopted: bool) {
        if adopted || self.heal().await {
            self.write_all().await;
        }
        self.shared.drop_queue();
        self.engine.close().await;
    }

    async fn write_all(&mut self) {
        while let Some(batch) = self.next_batch().await {
            let flush = self.flush(&batch).await;
            self.shared.room.notify_waiters();
            let went_on = match flush {
                Flush::Kept => true,
                Flush::Lost => self.refused().await,
                Flush::Stalled => self.stalled(&batch).await,
            };
            if !went_on {
                return;
            }
        }
    }

    /// Waits for something to write; `None` at the end.
    async fn next_batch(&mut self) -> Option<Vec<Write>> {
        loop {
            let phase = *self.phase.borrow_and_update();
            if matches!(phase, Phase::Abandoned | Phase::Closed) {
                return None;
            }
            let batch = self
                .shared
                .queue()
                .take(footprint, self.shared.geometry.buffer);
            if !batch.is_empty() {
                return Some(batch);
            }
            if phase == Phase::Closing {
                return None;
            }
            tokio::select! {
                biased;
                _ = self.phase.changed() => {}
                () = self.shared.work.notified() => {}
            }
        }
    }

    /// Hands the batch to foyer, waits until it is through with it, and looks at what it kept.
    async fn flush(&mut self, batch: &[Write]) -> Flush {
        for write in batch {
            let removed = self.shared.queue().removed(write.hash);
            if !removed {
                self.engine.replace(write.hash, write.bytes.clone());
            }
        }
        match timeout(STALLED_AFTER, self.engine.flushed()).await {
            Ok(()) => self.tally(batch),
            Err(_) => Flush::Stalled,
        }
    }

    fn tally(&self, batch: &[Write]) -> Flush {
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut queue = self.shared.queue();
        for write in batch {
            if queue.removed(write.hash) {
                // Once more: it may have been on its way to foyer when the removal came.
                self.engine.delete(write.hash);
            } else if self.engine.holds(write.hash) {
                kept.push(write.hash);
                bytes += write.bytes.len() as u64;
            } else {
                lost.push(write.hash);
            }
        }
        queue.finish(batch);
        drop(queue);
        let counts = &self.shared.counts;
        counts.add(&counts.written, kept.len() as u64);
        counts.add(&counts.written_bytes, bytes);
        counts.add(&counts.dropped, lost.len() as u64);
        let flush = if lost.is_empty() {
            Flush::Kept
        } else {
            Flush::Lost
        };
        self.shared.regain(kept.into_iter());
        for hash in lost {
            self.shared.lose(hash);
        }
        flush
    }

    /// The disk did not take it: full, read-only or broken. Reads go on; writes are dropped until a trial
    /// goes through, and then foyer is opened anew, for a failed write leaves it in disorder.
    async fn refused(&mut self) -> bool {
        let reason = match self.shared.probe().await {
            Err(error) => error.to_string(),
            Ok(()) => "the disk did not keep what was written".to_owned(),
        };
        tracing::warn!(%reason, "disk tier takes no writes");
        let failing = |reason| State::Failing(Arc::clone(&self.engine), reason);
        self.shared.enter(failing(reason));
        self.shared.drop_queue();
        self.heal().await
    }

    /// The disk does not answer: nothing is asked of it, until it does or for a minute.
    async fn stalled(&mut self, batch: &[Write]) -> bool {
        let reason = format!("no answer from the disk for {STALLED_AFTER:?}");
        tracing::warn!(%reason, "disk tier stalled");
        self.shared.enter(State::Stalled(reason));
        self.shared.drop_queue();
        let engine = Arc::clone(&self.engine);
        tokio::select! {
            biased;
            _ = ending(&mut self.phase) => return false,
            answered = timeout(GIVEN_UP_AFTER, engine.flushed()) => if answered.is_ok() {
                self.tally(batch);
            } else {
                self.shared.counts.add(&self.shared.counts.dropped, batch.len() as u64);
                self.shared.queue().finish(batch);
                for write in batch {
                    self.shared.lose(write.hash);
                }
            }
        }
        self.heal().await
    }

    /// Tries, less and less often, until the folder can be written and foyer opens it; `false` when it
    /// is time to end.
    async fn heal(&mut self) -> bool {
        let mut pause = HEAL_FIRST;
        loop {
            tokio::select! {
                biased;
                _ = ending(&mut self.phase) => return false,
                () = sleep(pause) => {}
            }
            pause = (2 * pause).min(HEAL_LAST);
            let opened = tokio::select! {
                biased;
                _ = ending(&mut self.phase) => return false,
                opened = reopen(&self.shared) => opened,
            };
            match opened {
                Ok(engine) if self.shared.adopt(&engine) => {
                    tracing::info!("disk tier works again");
                    self.engine = engine;
                    return true;
                }
                Ok(_) => tracing::debug!("too much was deleted while the disk tier was opened"),
                Err(error) => tracing::debug!(%error, "disk tier still fails"),
            }
        }
    }
}

/// Whoever ends the writer, its runtime's end among them, leaves no tier that seems to work.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let phase = *self.0.phase.borrow();
        if phase == Phase::Running {
            self.0.enter(State::Failed(
                "its task has ended, with the runtime that opened it or by a panic".to_owned(),
            ));
        } else {
            self.0.enter(State::Closed);
        }
        self.0.drop_queue();
        let given_up = self.0.queue().give_up();
        self.0.counts.add(&self.0.counts.dropped, given_up);
        self.0.folder.release();
        self.0.phase.send_replace(Phase::Closed);
    }
}

async fn reopen(shared: &Arc<Shared>) -> Result<Arc<Engine>, BoxError> {
    shared.probe().await?;
    shared.open(true).await
}

/// Waits for the end of running.
async fn ending(phase: &mut watch::Receiver<Phase>) {
    // The sender lives as long as what the writer holds of it.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

/// Far more than a disk that works takes for one buffer.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(10);
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);
pub(super) const HEAL_FIRST: Duration = Duration::from_secs(1);
const HEAL_LAST: Duration = Duration::from_secs(60);
