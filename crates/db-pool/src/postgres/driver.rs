//! The task that moves bytes for one PostgreSQL connection, and what it knows about its end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_postgres::AsyncMessage;

use super::dial::Socket;
use super::stream::Followed;
use super::tls::Encrypted;
use super::wire::Wire;
use crate::backend::Role;
use crate::class::ErrorClass;
use crate::shared::OpenToken;

pub(super) type Connection = tokio_postgres::Connection<Followed<Socket>, Followed<Encrypted>>;

/// The owner's end: tells whether the connection has ended, and ends it by force.
#[derive(Clone)]
pub(super) struct Driver {
    state: Arc<State>,
    task: AbortHandle,
}

/// What the task and the owner share.
pub(super) struct State {
    pub(super) wire: Arc<Wire>,
    fault: OnceLock<Fault>,
    /// The server follows a primary and only reads.
    standby: AtomicBool,
}

struct Fault {
    text: String,
    class: ErrorClass,
}

impl Driver {
    /// Spawns the task. It ends when the client is dropped and everything is answered, when the connection breaks, or
    /// when the server owes an answer for longer than the wire's patience.
    pub(super) fn spawn(
        mut connection: Connection,
        wire: Arc<Wire>,
        role: Role,
        token: OpenToken,
    ) -> Self {
        let state = Arc::new(State {
            wire,
            fault: OnceLock::new(),
            standby: AtomicBool::new(false),
        });
        state.look_at_role(&connection);
        if role == Role::Lane {
            state.wire.share();
        }
        let seen = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let token = token;
            let fault = seen.drive(&mut connection, role, &token).await;
            if fault.as_ref().is_some_and(Fault::concerns_others) {
                token.suspect();
            }
            // Set before the connection is dropped, which is when those who wait for an answer learn of the end.
            let _ = seen.fault.set(fault.unwrap_or_else(Fault::closed));
            drop(connection);
        });
        let task = task.abort_handle();
        Self { state, task }
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.state.wire
    }

    /// Why the connection has ended; `None` while it lives.
    pub(super) fn fault(&self) -> Option<&str> {
        match self.state.fault.get() {
            Some(fault) => Some(&fault.text),
            None => self.task.is_finished().then_some(CLOSED),
        }
    }

    /// The class of what ended the connection.
    pub(super) fn fault_class(&self) -> Option<ErrorClass> {
        match self.state.fault.get() {
            Some(fault) => Some(fault.class),
            None => self
                .task
                .is_finished()
                .then_some(ErrorClass::ConnectionLost),
        }
    }

    pub(super) fn is_standby(&self) -> bool {
        self.state.standby.load(Ordering::Acquire)
    }

    /// Closes the socket now, without waiting for answers.
    pub(super) fn abort(&self) {
        self.task.abort();
    }
}

impl State {
    /// `None` for the end that its owner wanted.
    async fn drive(
        &self,
        connection: &mut Connection,
        role: Role,
        token: &OpenToken,
    ) -> Option<Fault> {
        let plans = self.wire.plans();
        let mut told_stale = false;
        let mut patience = Patience::default();
        poll_fn(|cx| {
            while let Poll::Ready(message) = connection.poll_message(cx) {
                match message {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Fault::of(&error))),
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        tracing::debug!(
                            severity = notice.severity(),
                            code = notice.code().code(),
                            "{}",
                            notice.message()
                        );
                    }
                    Some(Ok(_)) => {}
                }
            }
            if self.wire.take_told() {
                self.look_at_role(connection);
            }
            // Nobody can empty the cache of a lane, which is always in use.
            let stale = role == Role::Lane && !told_stale && self.wire.plans() != plans;
            if stale || self.wire.take_type_lost() {
                told_stale |= stale;
                token.outdated();
            }
            patience.poll(&self.wire, cx).map(Some)
        })
        .await
    }

    /// Replaces "connection closed" by the reason, which only the task has seen.
    pub(super) fn explain<R>(&self, result: QueryResult<R>) -> QueryResult<R> {
        match (result, self.fault.get()) {
            (Err(Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, _)), Some(fault)) => {
                let text = Box::new(fault.text.clone());
                Err(Error::DatabaseError(
                    DatabaseErrorKind::ClosedConnection,
                    text,
                ))
            }
            (result, _) => result,
        }
    }

    fn look_at_role(&self, connection: &Connection) {
        let standby = connection.parameter("in_hot_standby") == Some("on");
        self.standby.store(standby, Ordering::Release);
    }
}

/// Watches for silence while an answer is due, with one timer that is set at most once per step.
#[derive(Default)]
struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
    heard: u64,
    silent_steps: u32,
}

impl Patience {
    fn poll(&mut self, wire: &Wire, cx: &mut Context<'_>) -> Poll<Fault> {
        if !self.armed {
            let Some(limit) = wire.patience().filter(|_| wire.is_waiting()) else {
                return Poll::Pending;
            };
            self.armed = true;
            self.silent_steps = 0;
            self.heard = wire.heard();
            self.set(limit);
        }
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            let Some(limit) = wire.patience().filter(|_| wire.is_waiting()) else {
                self.armed = false;
                break;
            };
            let heard = wire.heard();
            self.silent_steps = if heard == self.heard {
                self.silent_steps + 1
            } else {
                0
            };
            self.heard = heard;
            if self.silent_steps >= STEPS {
                let text = format!(
                    "nothing came from the server for {limit:?} although an answer was due"
                );
                let class = ErrorClass::ConnectionLost;
                return Poll::Ready(Fault { text, class });
            }
            self.set(limit);
        }
        Poll::Pending
    }

    fn set(&mut self, limit: Duration) {
        let at = Instant::now() + limit / STEPS;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(sleep_until(at))),
        }
    }
}

impl Fault {
    fn of(error: &tokio_postgres::Error) -> Self {
        let class = error
            .as_db_error()
            .map_or(ErrorClass::ConnectionLost, |server| {
                ErrorClass::of_server(server.code().code(), server.message(), "")
            });
        let text = describe(error);
        Self { text, class }
    }

    fn closed() -> Self {
        Self {
            text: CLOSED.to_owned(),
            class: ErrorClass::ConnectionLost,
        }
    }

    /// Whether other connections may have met the same: not when the server ended a session for idling.
    fn concerns_others(&self) -> bool {
        !IDLED.iter().any(|code| self.text.contains(code))
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("fault", &self.fault())
            .finish()
    }
}

/// Aborts the driver unless told otherwise: a set-up given up in the middle would wait for its answer for ever.
pub(super) struct AbortOnDrop(Option<Driver>);

impl AbortOnDrop {
    pub(super) fn new(driver: Driver) -> Self {
        Self(Some(driver))
    }

    pub(super) fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}

/// The server's message and code if it sent one, else the driver's words with their causes.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", server.message(), server.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

const CLOSED: &str = "the connection was closed";

/// Idle session, idle in transaction, transaction too long.
const IDLED: [&str; 3] = ["SQLSTATE 57P05", "SQLSTATE 25P03", "SQLSTATE 25P04"];

/// Silence is noticed at most this part of the limit too late.
const STEPS: u32 = 8;
