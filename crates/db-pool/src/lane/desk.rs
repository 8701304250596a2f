//! Places on lines, taken and given back: the board behind a lock, and those who wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::board::{Board, Grants, Want};
use crate::error::ConnectError;

/// Hands out places.
pub(crate) struct Desk {
    board: Mutex<Board<Waiter>>,
    /// Told whenever a place came back on a line that takes no new statements.
    pub(crate) drained: Notify,
}

type Waiter = oneshot::Sender<Result<Place, Refused>>;

/// Why there will be no place.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    Closed,
    /// The line that the waiter was bound to is gone.
    Lost,
    NotOpened(ConnectError),
}

/// Somebody waits; dropping it leaves the queue.
pub(crate) type Waiting = oneshot::Receiver<Result<Place, Refused>>;

impl Desk {
    pub(crate) fn new(depth: u32, queue_max: usize) -> Arc<Self> {
        Arc::new(Self {
            board: Mutex::new(Board::new(depth, queue_max)),
            drained: Notify::new(),
        })
    }

    /// A place if one is free.
    pub(crate) fn take(self: &Arc<Self>, want: Want) -> Option<Place> {
        let id = self.board().take(want)?;
        Some(self.place(want, id))
    }

    /// A place if one is free, else one in the queue; the length of the queue if it is full.
    pub(crate) fn take_or_wait(
        self: &Arc<Self>,
        want: Want,
    ) -> Result<Result<Place, Waiting>, usize> {
        let (sender, waiting) = oneshot::channel();
        let mut board = self.board();
        if let Some(id) = board.take(want) {
            drop(board);
            return Ok(Ok(self.place(want, id)));
        }
        match board.wait(want, sender, Waiter::is_closed) {
            Ok(()) => Ok(Err(waiting)),
            Err(_) => Err(board.waiting()),
        }
    }

    /// Looks at the board or changes it in a way that serves nobody.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Board<Waiter>) -> R) -> R {
        look(&mut self.board())
    }

    /// A line was opened or reinstated.
    pub(crate) fn open(self: &Arc<Self>, id: u64) {
        let grants = self.board().open(id);
        self.serve(grants);
    }

    /// Another line is being opened, or no more.
    pub(crate) fn expect(self: &Arc<Self>, expects: bool) {
        let grants = self.board().expect(expects);
        self.serve(grants);
    }

    /// A line is closed.
    pub(crate) fn remove(&self, id: u64) {
        let bound = self.board().remove(id);
        refuse(bound, &Refused::Lost);
    }

    /// Turns away those who wait for any line.
    pub(crate) fn dismiss(&self, why: &Refused) {
        let waiting = self.board().dismiss(|want| want == Want::Any);
        refuse(waiting, why);
    }

    fn give(self: &Arc<Self>, id: u64, slow: bool) {
        let mut board = self.board();
        let grants = board.give(id, slow);
        let drained = board.is_drained(id);
        drop(board);
        self.serve(grants);
        if drained {
            self.drained.notify_waiters();
        }
    }

    /// Outside of the lock: a waiter who has gone drops its place, which takes the lock.
    fn serve(self: &Arc<Self>, grants: Grants<Waiter>) {
        for (waiter, want, id) in grants {
            drop(waiter.send(Ok(self.place(want, id))));
        }
    }

    fn place(self: &Arc<Self>, want: Want, id: u64) -> Place {
        Place {
            desk: Arc::clone(self),
            id,
            slow: want.is_slow(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board<Waiter>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(waiters: Vec<Waiter>, why: &Refused) {
    for waiter in waiters {
        drop(waiter.send(Err(why.clone())));
    }
}

/// A place on a line; given back on drop.
pub(crate) struct Place {
    desk: Arc<Desk>,
    id: u64,
    slow: bool,
}

impl Place {
    /// The line that it is on.
    pub(crate) fn line(&self) -> u64 {
        self.id
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.desk.give(self.id, self.slow);
    }
}
