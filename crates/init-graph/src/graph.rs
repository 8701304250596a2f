//! The graph as its user builds it: components and values in, a plan or a running service out.

use std::fmt;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::component::{Component, IntoComponent};
use crate::error::GraphError;
use crate::event::Observer;
use crate::observers::Observers;
use crate::plan::Plan;
use crate::running::Running;
use crate::{start, wiring};

/// The components of a service and how they depend on each other.
///
/// Nothing runs until [`start`](Self::start).
pub struct Graph {
    pub(crate) components: Vec<Component>,
    pub(crate) observers: Observers,
    pub(crate) cancel_on: Vec<CancellationToken>,
    pub(crate) stop_timeout: Duration,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self {
            components: Vec::new(),
            observers: Observers::default(),
            cancel_on: Vec::new(),
            stop_timeout: DEFAULT_STOP_TIMEOUT,
        }
    }

    /// Adds an async function as a component; its parameters are its dependencies and the order of adding is free.
    ///
    /// Returns the component for its options.
    #[track_caller]
    pub fn add<M>(&mut self, component: impl IntoComponent<M>) -> &mut Component {
        self.components.push(component.into_component());
        self.components
            .last_mut()
            .expect("a component was pushed in the line above")
    }

    /// Adds a value that other components can take as `Dep<T>`; it is ready at once.
    #[track_caller]
    pub fn value<T: Send + Sync + 'static>(&mut self, value: T) {
        self.components.push(Component::value(value));
    }

    /// Lets `observer` hear every event of the start and the stop; several may be added.
    pub fn observe(&mut self, observer: impl Observer) {
        self.observers.push(observer);
    }

    /// Gives up the start as soon as `token` is cancelled: what runs is dropped, what has started is stopped in reverse
    /// and [`start`](Self::start) returns [`GraphError::Cancelled`].
    ///
    /// Several may be added. After the start has succeeded the token has no effect.
    pub fn cancel_on(&mut self, token: CancellationToken) {
        self.cancel_on.push(token);
    }

    /// The longest time that a rollback, and later the shutdown, may take; each begins with the full time, however long
    /// the start took. Default: 30 seconds.
    pub fn stop_timeout(&mut self, limit: Duration) {
        self.stop_timeout = limit;
    }

    /// Checks that the components fit together, without running anything; meant for a unit test.
    ///
    /// # Errors
    /// [`GraphError::Wiring`] with every error at once: types and names without provider, two providers of one type,
    /// two components of one name, cycles, required components that need optional ones, and time limits of zero.
    pub fn check(&self) -> Result<(), GraphError> {
        self.plan().map(drop)
    }

    /// What a start would do.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn plan(&self) -> Result<Plan, GraphError> {
        wiring::resolve(&self.components, self.stop_timeout)
            .map(|wiring| wiring.plan)
            .map_err(GraphError::Wiring)
    }

    /// Starts every component as soon as its own dependencies are ready, with nothing else to wait for.
    ///
    /// The first failure of a component that is not optional gives up the start: no component begins any more, those
    /// that run are dropped at their current await, and what was started is stopped in reverse order of dependency, in
    /// parallel, within [`stop_timeout`](Self::stop_timeout).
    ///
    /// When the returned future is dropped, the same happens on a task of its own, within the same time; its errors go
    /// to the log and to the observers. Components run on tasks of the current tokio runtime, which needs its time
    /// driver.
    ///
    /// # Errors
    /// [`GraphError::Wiring`] before anything ran; [`GraphError::Failed`] and [`GraphError::Cancelled`] after everything
    /// that had started was stopped; [`GraphError::NoRuntime`] outside a tokio runtime.
    pub async fn start(self) -> Result<Running, GraphError> {
        start::start(self).await
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("components", &self.components)
            .finish_non_exhaustive()
    }
}

const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);
