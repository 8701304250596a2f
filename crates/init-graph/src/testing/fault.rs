//! A fault that a test wants: what happens, to whom and when.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Something that is to happen to a component while it starts; for [`Graph::inject`](crate::Graph::inject).
///
/// By default it happens before the initialiser runs, at every attempt.
///
/// ```
/// use std::time::Duration;
/// use init_graph::testing::Fault;
///
/// let at_once = Fault::fail("db");
/// let second_attempt = Fault::panic("db").at_attempt(2);
/// let connected_but_thrown_away = Fault::fail("db").after();
/// let slow = Fault::delay("db", Duration::from_secs(3));
/// let never_gets_past_its_second_await = Fault::hang("db").at_await(2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is given to `Graph::inject`"]
pub struct Fault {
    pub(super) name: Box<str>,
    pub(super) deed: Deed,
    pub(super) moment: Moment,
    /// `None` for each.
    pub(super) attempt: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum Deed {
    Fail,
    Panic,
    Hang,
    Delay(Duration),
    Cancel(CancellationToken),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
    /// When the initialiser waits for the so many-th time, from 1.
    Await(u32),
}

impl Fault {
    /// The component named `name` returns an [`InjectedError`].
    pub fn fail(name: impl Into<String>) -> Self {
        Self::new(name.into(), Deed::Fail)
    }

    /// The component named `name` panics; nothing is printed.
    pub fn panic(name: impl Into<String>) -> Self {
        Self::new(name.into(), Deed::Panic)
    }

    /// The component named `name` waits for ever, until its time is up or the start is given up.
    ///
    /// A blocking component hangs as an async one does, since a thread that hangs would outlive the test.
    pub fn hang(name: impl Into<String>) -> Self {
        Self::new(name.into(), Deed::Hang)
    }

    /// The component named `name` waits for `time` and then goes on.
    pub fn delay(name: impl Into<String>, time: Duration) -> Self {
        Self::new(name.into(), Deed::Delay(time))
    }

    /// The start is cancelled from outside while the component named `name` runs.
    pub fn cancel(name: impl Into<String>) -> Self {
        Self::new(name.into(), Deed::Cancel(CancellationToken::new()))
    }

    fn new(name: String, deed: Deed) -> Self {
        Self {
            name: name.into(),
            deed,
            moment: Moment::Before,
            attempt: None,
        }
    }

    /// Only at attempt number `attempt`, from 1. Default: at each.
    pub fn at_attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Before the initialiser runs; the default.
    pub fn before(mut self) -> Self {
        self.moment = Moment::Before;
        self
    }

    /// After the initialiser has succeeded; a failure throws its value away. Never happens when it fails by itself.
    pub fn after(mut self) -> Self {
        self.moment = Moment::After;
        self
    }

    /// When the initialiser waits for the `await_number`-th time, from 1, at that await; never when it does not wait so
    /// often.
    pub fn at_await(mut self, await_number: u32) -> Self {
        self.moment = Moment::Await(await_number);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.deed {
            Deed::Fail => write!(f, "`{name}` fails")?,
            Deed::Panic => write!(f, "`{name}` panics")?,
            Deed::Hang => write!(f, "`{name}` hangs")?,
            Deed::Delay(time) => write!(f, "`{name}` waits {time:?}")?,
            Deed::Cancel(_) => write!(f, "the start is cancelled while `{name}` runs,")?,
        }
        match self.moment {
            Moment::Before => f.write_str(" before it runs")?,
            Moment::After => f.write_str(" after it has run")?,
            Moment::Await(number) => write!(f, " at its await {number}")?,
        }
        match self.attempt {
            Some(attempt) => write!(f, " of attempt {attempt}"),
            None => Ok(()),
        }
    }
}

/// How often an injected fault has happened; a cheap clone. Made by [`Graph::inject`](crate::Graph::inject).
#[derive(Clone, Debug, Default)]
pub struct Injected(pub(super) Arc<AtomicU32>);

impl Injected {
    /// How often it has happened so far.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The error of a component that was told to fail.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InjectedError;

impl fmt::Display for InjectedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("injected")
    }
}

impl Error for InjectedError {}

/// A fault in its place.
pub(super) struct Trigger {
    pub(super) deed: Deed,
    pub(super) moment: Moment,
    pub(super) attempt: Option<u32>,
    pub(super) injected: Injected,
}
