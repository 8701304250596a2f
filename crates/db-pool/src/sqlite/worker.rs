//! The thread that owns one SQLite connection and runs its statements one after another.
//!
//! A statement cannot be interrupted. So a caller that goes away leaves its statement to the thread, which never
//! blocks a worker of the runtime; statements that nobody waits for any more are not begun.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error};
use tokio::sync::{mpsc, oneshot};

use crate::backend::Role;
use crate::error::ConnectError;
use crate::shared::OpenToken;

type Job = Box<dyn FnOnce(&mut diesel::SqliteConnection) + Send>;

/// The caller's end of the thread; the thread ends when this is dropped.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Statements that are queued or running.
    pending: AtomicUsize,
    panicked: AtomicBool,
}

impl Worker {
    /// Starts a thread and opens the connection on it.
    ///
    /// Dropping the future lets the thread finish opening, close and end.
    pub(super) async fn start(
        role: Role,
        token: OpenToken,
        open: impl FnOnce() -> Result<diesel::SqliteConnection, ConnectError> + Send + 'static,
    ) -> io::Result<Result<Self, ConnectError>> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (opened, opening) = oneshot::channel();
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let name = match role {
            Role::Writer => "sqlite-writer",
            Role::Reader | Role::Lane => "sqlite-reader",
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Declared first, dropped last: after the file is closed.
                let _token = token;
                match open() {
                    Ok(connection) => {
                        if opened.send(Ok(())).is_ok() {
                            run(connection, queue, &seen, role);
                        }
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
            })?;
        // The thread answers before it ends, unless opening panicked.
        let opened = opening
            .await
            .map_err(|_| io::Error::other("the SQLite thread panicked"))?;
        Ok(opened.map(|()| Self { jobs, state }))
    }

    /// Runs `task` on the thread.
    ///
    /// Nothing happens before the first poll. Dropping the future withdraws a task that has not begun and lets one
    /// that has begun run to its end.
    pub(super) fn call<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut diesel::SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> impl Future<Output = QueryResult<R>> + Send + 'static {
        let jobs = self.jobs.clone();
        let state = Arc::clone(&self.state);
        async move {
            let (answer, result) = oneshot::channel();
            let ticket = Ticket::new(state);
            let job: Job = Box::new(move |connection| {
                if answer.is_closed() {
                    return;
                }
                // Before the answer goes, too: whoever learns of a panic sees that there was one.
                let result = catch_unwind(AssertUnwindSafe(|| task(connection)));
                if result.is_err() {
                    ticket.0.panicked.store(true, Ordering::Release);
                }
                // Before the answer: whoever has it sees an idle thread.
                drop(ticket);
                let Ok(result) = result else { return };
                // The caller may have gone meanwhile.
                drop(answer.send(result));
            });
            // Waits while an abandoned statement runs and another is queued.
            jobs.send(job).await.map_err(|_| gone())?;
            result.await.map_err(|_| gone())?
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.state.pending.load(Ordering::Acquire) > 0
    }

    /// Whether a task panicked, which leaves the connection in an unknown state.
    pub(super) fn has_panicked(&self) -> bool {
        self.state.panicked.load(Ordering::Acquire)
    }
}

fn run(
    mut connection: diesel::SqliteConnection,
    mut queue: mpsc::Receiver<Job>,
    state: &State,
    role: Role,
) {
    while let Some(job) = queue.blocking_recv() {
        if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
            state.panicked.store(true, Ordering::Release);
        }
    }
    if role == Role::Writer {
        // Lets the planner know better next time; SQLite bounds the work itself. A failure costs only that.
        drop(connection.batch_execute("PRAGMA optimize"));
    }
    // Nothing panics under the lock, so a poisoned one protects as well.
    let _alone = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(connection);
}

/// One connection closes at a time: the last one of a file merges its log, and of two that close at the same moment
/// neither is the last.
static CLOSING: Mutex<()> = Mutex::new(());

/// Counts one statement as pending; dropped when it ended, was withdrawn or panicked.
struct Ticket(Arc<State>);

impl Ticket {
    fn new(state: Arc<State>) -> Self {
        state.pending.fetch_add(1, Ordering::AcqRel);
        Self(state)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

fn gone() -> Error {
    let text = "the thread of this SQLite connection panicked or ended; borrow another connection";
    Error::DatabaseError(
        DatabaseErrorKind::UnableToSendCommand,
        Box::new(text.to_owned()),
    )
}

/// A borrower waits for each of its statements, so more than one is queued only behind abandoned ones.
const QUEUE: usize = 1;
