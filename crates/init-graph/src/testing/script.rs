//! A component that does what the test says, step by step, and tells the test how far it is.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::context::Context;
use crate::core::lock;
use crate::error::{BoxError, Result};

/// A scripted component and the handle to it in one; a cheap clone.
///
/// The component begins and then waits for the test, which says how it ends; no sleeps are needed anywhere. What the
/// test says before its time is kept: each attempt takes the next of the endings, in order. Each `await` of
/// [`started`](Self::started), [`dropped`](Self::dropped) and [`stopping`](Self::stopping) is about the next time that
/// this happens, so nothing that happened before is missed.
///
/// ```
/// use init_graph::testing::{self, Script};
/// use init_graph::{BoxError, Dep, Graph};
///
/// struct Database(u32);
///
/// # fn main() -> init_graph::Result<()> {
/// testing::run(async {
///     let script = Script::<Database>::new();
///     let mut graph = Graph::new();
///     graph.add(script.component()).named("db");
///     graph.add(async |db: Dep<Database>| Ok::<_, BoxError>(u64::from(db.0)));
///     let start = tokio::spawn(graph.start());
///
///     assert_eq!(script.started().await, 1);
///     script.progress(1, 2);
///     assert!(!start.is_finished(), "the start waits for the database");
///     script.finish(Database(7));
///
///     let running = start.await??;
///     assert_eq!(running.get::<u64>().as_deref(), Some(&7));
///     running.shutdown().await?;
///     script.stopping().await;
///     Ok(())
/// })
/// # }
/// ```
pub struct Script<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    /// Of the attempt that runs now.
    context: Option<Context>,
    started: Seen,
    dropped: Seen,
    stopping: Seen,
    endings: VecDeque<Ending<T>>,
    stop_endings: VecDeque<Ending<()>>,
    holds_stop: bool,
}

/// How often something has happened, and how often the test has waited for it.
#[derive(Default)]
struct Seen {
    happened: u32,
    seen: u32,
}

enum Ending<T> {
    Finish(T),
    Fail(BoxError),
    Panic,
}

impl<T: Send + Sync + 'static> Script<T> {
    /// A script without any ending yet; its stop hook ends by itself.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                context: None,
                started: Seen::default(),
                dropped: Seen::default(),
                stopping: Seen::default(),
                endings: VecDeque::new(),
                stop_endings: VecDeque::new(),
                holds_stop: false,
            }),
            changed: Notify::new(),
        }))
    }

    /// Lets its stop hook wait for [`finish_stop`](Self::finish_stop) or [`fail_stop`](Self::fail_stop).
    #[must_use]
    pub fn holding_stop(self) -> Self {
        lock(&self.0.state).holds_stop = true;
        self
    }

    // === the component ===

    /// The component, for [`Graph::add`](crate::Graph::add) or [`Graph::replace_with`](crate::Graph::replace_with).
    ///
    /// What it is to depend on is said by [`after`](crate::Component::after) and [`needs`](crate::Component::needs), or
    /// by a function of one's own that calls [`act`](Self::act).
    pub fn component(
        &self,
    ) -> impl Fn(Context) -> Pin<Box<dyn Future<Output = Result<T>> + Send>> + Send + Sync + use<T>
    {
        let script = self.clone();
        move |cx| {
            let script = script.clone();
            Box::pin(async move { script.act(cx).await })
        }
    }

    /// One attempt of the component, for a function with other parameters:
    /// `move |config: Dep<Config>, cx: Context| { let script = script.clone(); async move { script.act(cx).await } }`.
    ///
    /// Dropping it counts as [`dropped`](Self::dropped).
    ///
    /// # Errors
    /// What [`fail`](Self::fail) was given.
    pub async fn act(&self, cx: Context) -> Result<T> {
        let script = self.clone();
        cx.on_stop(move || async move { script.act_stop().await });
        self.0.change(|state| {
            state.context = Some(cx);
            state.started.happened += 1;
        });
        let mut attempt = Attempt {
            shared: &self.0,
            ended: false,
        };
        let ending = self.0.wait(|state| state.endings.pop_front()).await;
        attempt.ended = true;
        drop(attempt);
        ending.happen()
    }

    async fn act_stop(&self) -> Result<()> {
        self.0.change(|state| state.stopping.happened += 1);
        let holds = |state: &mut State<T>| match state.stop_endings.pop_front() {
            None if !state.holds_stop => Some(Ending::Finish(())),
            ending => ending,
        };
        self.0.wait(holds).await.happen()
    }

    // === what the test says ===

    /// The attempt that runs now, or else the next, succeeds with `value`.
    pub fn finish(&self, value: T) {
        self.end(Ending::Finish(value));
    }

    /// The attempt that runs now, or else the next, fails with `error`.
    pub fn fail(&self, error: impl Into<BoxError>) {
        self.end(Ending::Fail(error.into()));
    }

    /// The attempt that runs now, or else the next, panics; nothing is printed.
    pub fn panic(&self) {
        self.end(Ending::Panic);
    }

    /// The attempt that runs now says how far it is, at once; ignored when none runs.
    pub fn progress(&self, current: u64, total: impl Into<Option<u64>>) {
        if let Some(cx) = self.context() {
            cx.progress(current, total);
        }
    }

    /// The attempt that runs now says what it does, at once; ignored when none runs.
    pub fn message(&self, message: impl Into<String>) {
        if let Some(cx) = self.context() {
            cx.message(message);
        }
    }

    /// The stop hook that runs now, or else the next, ends well.
    pub fn finish_stop(&self) {
        self.end_stop(Ending::Finish(()));
    }

    /// The stop hook that runs now, or else the next, fails with `error`.
    pub fn fail_stop(&self, error: impl Into<BoxError>) {
        self.end_stop(Ending::Fail(error.into()));
    }

    /// The stop hook that runs now, or else the next, panics; nothing is printed.
    pub fn panic_stop(&self) {
        self.end_stop(Ending::Panic);
    }

    /// The context of the attempt that runs now.
    pub fn context(&self) -> Option<Context> {
        lock(&self.0.state).context.clone()
    }

    fn end(&self, ending: Ending<T>) {
        self.0.change(|state| state.endings.push_back(ending));
    }

    fn end_stop(&self, ending: Ending<()>) {
        self.0.change(|state| state.stop_endings.push_back(ending));
    }

    // === what the test waits for ===

    /// Waits until the next attempt has begun and returns its number, from 1 in every start.
    pub async fn started(&self) -> u32 {
        self.0
            .wait(|state| {
                let attempt = state.context.as_ref().map_or(0, Context::attempt);
                state.started.next().then_some(attempt)
            })
            .await
    }

    /// Waits until an attempt was dropped before it ended: it was cancelled, or its time was up.
    pub async fn dropped(&self) {
        self.0
            .wait(|state| state.dropped.next().then_some(()))
            .await;
    }

    /// Waits until the next stop hook has begun; every attempt registers one.
    pub async fn stopping(&self) {
        self.0
            .wait(|state| state.stopping.next().then_some(()))
            .await;
    }
}

impl<T: Send + Sync + 'static> Default for Script<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Script<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Script<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct("Script")
            .field("started", &state.started.happened)
            .field("dropped", &state.dropped.happened)
            .field("stopping", &state.stopping.happened)
            .finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut lock(&self.state));
        self.changed.notify_waiters();
    }

    async fn wait<R>(&self, mut look: impl FnMut(&mut State<T>) -> Option<R>) -> R {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before looking, so that no change in between is missed.
            changed.as_mut().enable();
            let found = look(&mut lock(&self.state));
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

impl Seen {
    /// Whether there is one more than were seen; it is seen then.
    fn next(&mut self) -> bool {
        let more = self.seen < self.happened;
        self.seen += u32::from(more);
        more
    }
}

impl<T> Ending<T> {
    fn happen(self) -> Result<T> {
        match self {
            Self::Finish(value) => Ok(value),
            Self::Fail(error) => Err(error),
            // Without the panic hook: nothing is wrong that the output of a test should show.
            Self::Panic => std::panic::resume_unwind(Box::new("as scripted")),
        }
    }
}

/// An attempt while it waits for its ending.
struct Attempt<'a, T> {
    shared: &'a Shared<T>,
    ended: bool,
}

impl<T> Drop for Attempt<'_, T> {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.context = None;
            state.dropped.happened += u32::from(!self.ended);
        });
    }
}
