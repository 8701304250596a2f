//! One run of a graph: the values, the times and the failures that start, stop and report share.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::component::{Body, Component};
use crate::core::{Core, lock};
use crate::error::NodeError;
use crate::exec::{Starter, Walk};
use crate::failure::{Failure, Why};
use crate::guard::drop_quietly;
use crate::history::History;
use crate::life::Life;
use crate::observers::Observers;
use crate::options::Options;
use crate::plan::NodeId;
use crate::settings::Settings;
use crate::values::Values;
use crate::wiring::{Csr, Offer, Wires, Wiring};

/// Everything is indexed by [`NodeId`].
pub(crate) struct Run {
    pub(crate) core: Arc<Core>,
    pub(crate) steps: Box<[Step]>,
    values: Box<[Mutex<Option<Values>>]>,
    times: Box<[Times]>,
    pub(crate) wires: Wires,
    pub(crate) dependents: Csr<NodeId>,
    pub(crate) providers: HashMap<TypeId, Vec<Offer>>,
    /// Those that count: of components that are not optional.
    pub(crate) failures: Mutex<Vec<NodeError>>,
    /// Which initialiser (first) waited for whom (second) by a `Lazy`, and when it asked, since the begin of the start.
    pub(crate) waited_for: Mutex<HashMap<(NodeId, NodeId), Duration>>,
    /// The walk of the start, which lazy nodes join later.
    pub(crate) walk: OnceLock<Weak<Walk<Starter>>>,
    pub(crate) life: Life,
    pub(crate) settings: Settings,
    /// What earlier starts took, where they are kept.
    pub(crate) earlier: OnceLock<Arc<History>>,
    /// Writes this start down, for the next ones.
    pub(crate) history_write: Mutex<Option<JoinHandle<()>>>,
    /// The milestone that the start waits for, where it does not wait for everything.
    pub(crate) goal: OnceLock<NodeId>,
    pub(crate) begun: Instant,
    /// Of the runtime that the start was called on; the stop runs there as well.
    pub(crate) runtime: Handle,
}

/// What the executor keeps of one component.
pub(crate) struct Step {
    pub(crate) body: Body,
    options: Option<Box<Options>>,
    /// How many of the needs are the body's; those of the condition come after them.
    pub(crate) parameters: u16,
}

impl Step {
    pub(crate) fn options(&self) -> &Options {
        const NONE: &Options = &Options::NONE;
        self.options.as_deref().unwrap_or(NONE)
    }
}

/// When a node began and was settled, in nanoseconds since the begin of the start.
#[derive(Default)]
struct Times {
    began: AtomicU64,
    settled: AtomicU64,
}

impl Run {
    pub(crate) fn new(
        wiring: Wiring,
        components: Vec<Component>,
        observers: Observers,
        settings: Settings,
        begun: Instant,
        runtime: Handle,
    ) -> Self {
        let mut components: Vec<_> = components.into_iter().map(Some).collect();
        let in_order = wiring.components.iter();
        let parts = in_order.filter_map(|at| components[*at as usize].take());
        let mut values = Vec::with_capacity(wiring.components.len());
        let steps = parts
            .map(|component| {
                let (step, value) = Step::new(component);
                values.push(Mutex::new(value));
                step
            })
            .collect();
        let times = values.iter().map(|_| Times::default()).collect();
        let core = Core::new(wiring.plan, observers, begun);
        Self {
            life: Life::new(&core.given_up, &settings, &wiring.wires),
            core: Arc::new(core),
            steps,
            values: values.into(),
            times,
            wires: wiring.wires,
            dependents: wiring.dependents,
            providers: wiring.providers,
            failures: Mutex::default(),
            waited_for: Mutex::default(),
            walk: OnceLock::new(),
            settings,
            earlier: OnceLock::new(),
            history_write: Mutex::default(),
            goal: OnceLock::new(),
            begun,
            runtime,
        }
    }

    /// The walk of the start; `None` when the graph is gone.
    pub(crate) fn walk(&self) -> Option<Arc<Walk<Starter>>> {
        self.walk.get()?.upgrade()
    }

    /// Ends everything at once and without stop hooks: cancels the tokens, drops what still starts, lets go of the
    /// values. Returns how many hooks there were.
    pub(crate) fn let_go(&self) -> usize {
        self.core.given_up.cancel();
        self.life.close();
        if let Some(walk) = self.walk() {
            walk.visitor.closing.close();
            walk.visitor.closing.cut_off();
        }
        let hooks = self.core.close_hooks();
        for node in self.core.plan.nodes().iter().rev() {
            drop_quietly(self.replace_value(node.id, None));
        }
        hooks
    }

    // === values ===

    /// The value of `id` as its view number `view`. One that was there from the beginning counts when its turn has come.
    pub(crate) fn value<T: ?Sized + Send + Sync + 'static>(
        &self,
        id: NodeId,
        view: u16,
    ) -> Option<Arc<T>> {
        if self.core.plan.node(id).is_value() && !self.core.is_ready(id) {
            return None;
        }
        lock(&self.values[id.index()]).as_ref()?.get(view)
    }

    /// Puts a value in its place and returns the one that was there.
    pub(crate) fn replace_value(&self, id: NodeId, value: Option<Values>) -> Option<Values> {
        std::mem::replace(&mut *lock(&self.values[id.index()]), value)
    }

    /// Why `id` is not there.
    pub(crate) fn failure(&self, id: NodeId) -> Failure {
        let known = self.core.known(id);
        let noted = known.and_then(|extra| lock(&extra.failure).clone());
        noted.unwrap_or_else(|| Failure::new(self.core.plan.node(id).name.clone(), Why::GivenUp))
    }

    pub(crate) fn set_failure(&self, id: NodeId, failure: Failure) {
        *lock(&self.core.extra(id).failure) = Some(failure);
    }

    // === times ===

    /// The time since the start began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn set_times(&self, id: NodeId, began: Duration, settled: Duration) {
        let times = &self.times[id.index()];
        times.began.store(nanos(began), Ordering::Relaxed);
        times.settled.store(nanos(settled), Ordering::Relaxed);
    }

    /// When `id` began and when it was settled, since the begin of the start.
    pub(crate) fn times(&self, id: NodeId) -> (Duration, Duration) {
        let times = &self.times[id.index()];
        let read = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        (read(&times.began), read(&times.settled))
    }
}

impl Drop for Run {
    /// On whichever task lets go last, which values and functions of components must not harm.
    fn drop(&mut self) {
        for value in &self.values {
            drop_quietly(lock(value).take());
        }
        std::mem::take(&mut self.steps)
            .into_iter()
            .for_each(drop_quietly);
        lock(&self.failures).drain(..).for_each(drop_quietly);
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}

impl Step {
    fn new(component: Component) -> (Self, Option<Values>) {
        let parameters = component.parameters;
        let (mut body, options) = component.into_parts();
        let value = match &mut body {
            // Its views are made when its turn comes.
            Body::Value(value) => value.take().map(Values::One),
            _ => None,
        };
        let step = Self {
            body,
            options,
            parameters,
        };
        (step, value)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
