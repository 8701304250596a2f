//! The task that moves bytes for one PostgreSQL connection, and what it knows about its end.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use crate::shared::OpenToken;

/// The owner's end: tells whether the connection has ended, and ends it by force.
#[derive(Clone)]
pub(super) struct Driver {
    fault: Arc<OnceLock<String>>,
    task: AbortHandle,
}

impl Driver {
    /// Spawns the task. It ends when the client is dropped and everything is answered, or when the connection breaks.
    pub(super) fn spawn<S, T>(
        mut connection: tokio_postgres::Connection<S, T>,
        token: OpenToken,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let fault = Arc::new(OnceLock::new());
        let seen = Arc::clone(&fault);
        let task = tokio::spawn(async move {
            let _token = token;
            let text = match (&mut connection).await {
                Ok(()) => "the connection was closed".to_owned(),
                Err(error) => describe(&error),
            };
            // Set before the connection is dropped, which is when those who wait for an answer learn of the end.
            let _ = seen.set(text);
            drop(connection);
        });
        Self {
            fault,
            task: task.abort_handle(),
        }
    }

    /// Why the connection has ended; `None` while it lives.
    pub(super) fn fault(&self) -> Option<&str> {
        match self.fault.get() {
            Some(text) => Some(text),
            None => self
                .task
                .is_finished()
                .then_some("the connection was closed"),
        }
    }

    /// Closes the socket now, without waiting for answers.
    pub(super) fn abort(&self) {
        self.task.abort();
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
