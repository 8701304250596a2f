//! The graph as its user builds it: components and values in, a plan or a running service out.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::class::Class;
use crate::component::{Component, ComponentId};
use crate::error::GraphError;
use crate::event::Observer;
use crate::exec;
use crate::into_component::{IntoBlocking, IntoComponent};
use crate::observers::Observers;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::running::Running;
use crate::settings::Settings;
use crate::wiring;

/// The components of a service and how they depend on each other.
///
/// Nothing runs until [`start`](Self::start).
pub struct Graph {
    /// Tells handles of this graph from those of others.
    pub(crate) id: u32,
    pub(crate) components: Vec<Component>,
    pub(crate) observers: Observers,
    pub(crate) settings: Settings,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        static GRAPHS: AtomicU32 = AtomicU32::new(0);
        Self {
            id: GRAPHS.fetch_add(1, Ordering::Relaxed),
            components: Vec::new(),
            observers: Observers::default(),
            settings: Settings::default(),
        }
    }

    // === components ===

    /// Adds an async function as a component; its parameters are its dependencies and the order of adding is free.
    ///
    /// Returns the component for its options.
    #[track_caller]
    pub fn add<M>(&mut self, component: impl IntoComponent<M>) -> &mut Component {
        self.push(component.into_component())
    }

    /// Adds a plain function that blocks its thread or computes for long; it runs on a thread where that is allowed.
    ///
    /// Such a function cannot be dropped in the middle: when its time is up or the start is given up, what it makes is
    /// thrown away, and a stop that cannot wait for it names it as abandoned.
    #[track_caller]
    pub fn add_blocking<M>(&mut self, component: impl IntoBlocking<M>) -> &mut Component {
        let component = self.push(component.into_component());
        if component.options().class.is_none() {
            component.class(Class::BLOCKING);
        }
        component
    }

    /// Adds a value that other components can take as `Dep<T>`; it is ready at once.
    #[track_caller]
    pub fn value<T: Send + Sync + 'static>(&mut self, value: T) -> &mut Component {
        self.push(Component::of_value(value))
    }

    /// Adds a value that is shared already, or that is a trait object: `graph.value_arc::<dyn Clock>(clock)`.
    #[track_caller]
    pub fn value_arc<T: ?Sized + Send + Sync + 'static>(
        &mut self,
        value: Arc<T>,
    ) -> &mut Component {
        self.push(Component::of_arc(value))
    }

    /// Adds a component by name alone, for graphs that are data:
    /// `graph.node("db").after("config").run(|cx: Context| async move { Ok(()) })`.
    ///
    /// Without [`run`](Component::run) it is only a point in the order.
    #[track_caller]
    pub fn node(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Component {
        self.push(Component::point(name.into()))
    }

    /// Adds a named point that is reached when all that it [needs](Component::needs) or comes [after](Component::after)
    /// is there; for [`start_until`](Self::start_until) and [`reached`](crate::Handle::reached).
    #[track_caller]
    pub fn milestone(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Component {
        let component = self.push(Component::point(name.into()));
        component.options_mut().milestone = true;
        component
    }

    fn push(&mut self, mut component: Component) -> &mut Component {
        component.id = ComponentId {
            graph: self.id,
            index: u32::try_from(self.components.len()).unwrap_or(u32::MAX),
        };
        self.components.push(component);
        self.components
            .last_mut()
            .expect("a component was pushed in the line above")
    }

    // === settings ===

    /// What the failure of a component means for the others. Default: [`Policy::FailFast`].
    pub fn policy(&mut self, policy: Policy) {
        self.settings.policy = policy;
    }

    /// How many components of `class` may initialise at once. Zero is an error of [`check`](Self::check).
    pub fn limit(&mut self, class: Class, count: usize) {
        self.settings.limits.push((class, count));
    }

    /// How many components may initialise at once, whatever their class. Default: any number.
    pub fn concurrency(&mut self, count: usize) {
        self.settings.concurrency = Some(count);
    }

    /// The longest time of the whole start; then it is given up as after a failure. Default: no limit.
    pub fn timeout(&mut self, limit: Duration) {
        self.settings.timeout = Some(limit);
    }

    /// How long initialisers may go on after the start was given up and their tokens were cancelled, before they are
    /// dropped at their current await. Default: zero.
    pub fn cancel_grace(&mut self, grace: Duration) {
        self.settings.cancel_grace = grace;
    }

    /// The longest time that a rollback, and later the shutdown, may take; each begins with the full time, however long
    /// the start took. Default: 30 seconds.
    pub fn stop_timeout(&mut self, limit: Duration) {
        self.settings.stop_timeout = limit;
    }

    /// How many restarts of parts of the running graph are allowed within `window`. Default: 5 within 60 seconds.
    pub fn restart_budget(&mut self, restarts: u32, window: Duration) {
        self.settings.restart_budget = (restarts, window);
    }

    /// How often the log says what a start still waits for; zero for never. Default: 5 seconds.
    pub fn waiting_every(&mut self, period: Duration) {
        self.settings.waiting_every = period;
    }

    /// Learns from earlier starts, kept in the file at `path`: what took long begins first where a limit makes others
    /// wait, and the report tells what became slower.
    ///
    /// A file that cannot be read or written costs a warning in the log and nothing else.
    #[cfg(feature = "history")]
    pub fn history(&mut self, path: impl Into<std::path::PathBuf>) {
        self.settings.history = Some(path.into());
    }

    /// Lets `observer` hear every event of the start and the stop; several may be added.
    #[track_caller]
    pub fn observe(&mut self, observer: impl Observer) {
        self.observers.push(observer);
    }

    /// Gives up the start as soon as `token` is cancelled: what runs is dropped, what has started is stopped in reverse
    /// and [`start`](Self::start) returns [`GraphError::Cancelled`].
    ///
    /// Several may be added. After the start has succeeded the token has no effect.
    pub fn cancel_on(&mut self, token: CancellationToken) {
        self.settings.cancel_on.push(token);
    }

    // === checking and running ===

    /// Checks that the components fit together, without running anything; meant for a unit test.
    ///
    /// # Errors
    /// [`GraphError::Wiring`] with every error at once: types and names without provider, providers that nothing tells
    /// apart, two components of one name, cycles, required components that need optional ones, handles of another
    /// graph, choices that choose nothing, and times, limits and attempts of zero.
    pub fn check(&self) -> Result<(), GraphError> {
        wiring::check(self).map_err(GraphError::Wiring)
    }

    /// What a start would do.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn plan(&self) -> Result<Plan, GraphError> {
        wiring::plan(self).map_err(GraphError::Wiring)
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
        exec::start(self, None).await
    }

    /// As [`start`](Self::start), and returns as soon as the milestone of this name is reached; the rest goes on in the
    /// background as [`Component::background`] does.
    ///
    /// # Errors
    /// As [`start`](Self::start); a milestone that does not exist is a [`GraphError::Wiring`].
    pub async fn start_until(self, milestone: &str) -> Result<Running, GraphError> {
        exec::start(self, Some(milestone)).await
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
