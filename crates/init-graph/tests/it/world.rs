//! A random graph made real: components that do what their shape says, and counters of everything that they leave behind.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use init_graph::testing::{EventLog, What};
use init_graph::{
    After, All, BoxError, Class, Component, Context, Dep, Failure, Graph, Lazy, Live, Param,
    Result, Retry,
};
use tokio::time::sleep;

use crate::model::{End, Hook, HookEnd, Node, Shape, Take};
use crate::support::ms;

/// Shared by all components of one graph.
pub(crate) struct World {
    pub(crate) shape: Shape,
    /// Every body, value, hook and task of the graph has a clone.
    life: Arc<()>,
    pub(crate) running: Gauge,
    pub(crate) running_limited: Gauge,
    /// Per node.
    pub(crate) hooks_registered: Vec<AtomicUsize>,
    pub(crate) hooks_begun: Vec<AtomicUsize>,
    /// The number of the last attempt that registered hooks.
    last_attempt: Vec<AtomicUsize>,
    /// What each node got as its first and its second parameter.
    pub(crate) seen: Mutex<Vec<(usize, [Seen; 2])>>,
    pub(crate) collected: Mutex<Option<Vec<usize>>>,
    how: How,
}

/// How work passes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It sleeps on the paused clock.
    Sleeps,
    /// It yields and spins, so that threads meet in other ways each time.
    Yields,
}

/// How many there are now, and how many there were at most at once.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Inside<'_> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Inside(self)
    }
}

struct Inside<'a>(&'a Gauge);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What every node makes.
pub(crate) struct Out {
    pub(crate) number: usize,
    _token: Arc<()>,
}

/// The same value as other types, for a second and a third choice of provider.
pub(crate) struct Alt(Arc<Out>);
pub(crate) struct Third(#[expect(dead_code, reason = "only its order matters")] Arc<Out>);

/// What nobody makes.
pub(crate) struct Nobody;

struct Collected;

impl World {
    pub(crate) fn new(shape: &Shape, how: How) -> Arc<Self> {
        let zeros = || shape.nodes.iter().map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self {
            shape: shape.clone(),
            life: Arc::default(),
            running: Gauge::default(),
            running_limited: Gauge::default(),
            hooks_registered: zeros(),
            hooks_begun: zeros(),
            last_attempt: zeros(),
            seen: Mutex::default(),
            collected: Mutex::default(),
            how,
        })
    }

    /// How many bodies, values, hooks and tasks are alive.
    pub(crate) fn alive(&self) -> usize {
        Arc::strong_count(&self.life) - 1
    }

    /// What always holds when all is over, however it went.
    pub(crate) fn check_clean(&self, log: &EventLog) {
        let shape = &self.shape;
        if let Err(violations) = log.verify() {
            panic!("{violations}\n{shape:#?}");
        }
        assert_eq!(log.count_all(What::Finished), 1, "{log}");
        assert_eq!(self.alive(), 0, "values, hooks or tasks left\n{log}");
        for number in 0..shape.nodes.len() {
            let registered = self.hooks_registered[number].load(Ordering::SeqCst);
            let begun = self.hooks_begun[number].load(Ordering::SeqCst);
            assert_eq!(registered, begun, "hooks of n{number}\n{log}");
            let stops = log.count(What::Stopping, &name(number));
            assert!(stops <= 1, "n{number} stops twice\n{log}");
            // What a failed attempt registered is undone before the next one, without a stop of the node.
            let last = self.last_attempt[number].load(Ordering::SeqCst);
            let undone = last <= log.count(What::Retrying, &name(number));
            assert!(undone || stops == 1, "n{number} never stops\n{log}");
        }
        let most = self.running.most();
        let holds = shape.concurrency.is_none_or(|count| most <= count);
        assert!(holds, "{most} at once\n{log}");
        let most = self.running_limited.most();
        let holds = shape.limit.is_none_or(|count| most <= count);
        assert!(holds, "{most} of the class\n{log}");
    }

    async fn pass(&self, milliseconds: u64) {
        match self.how {
            How::Sleeps => sleep(ms(milliseconds)).await,
            How::Yields => {
                for turn in 0..milliseconds % 7 {
                    if turn % 3 == 0 {
                        tokio::task::yield_now().await;
                    } else {
                        std::hint::black_box((0..turn * 40).fold(1_u64, |sum, next| sum ^ next));
                    }
                }
            }
        }
    }

    // === the graph ===

    pub(crate) fn graph(self: &Arc<Self>) -> Graph {
        let shape = &self.shape;
        let mut graph = Graph::new();
        graph.policy(shape.policy);
        if let Some(limit) = shape.timeout {
            graph.timeout(ms(limit));
        }
        if let Some(number) = shape.until {
            graph.milestone("goal").after(name(number));
        }
        graph.cancel_grace(ms(shape.cancel_grace));
        if let Some(count) = shape.concurrency {
            graph.concurrency(count);
        }
        if let Some(count) = shape.limit {
            graph.limit(Class::new("limited"), count);
        }
        let mut numbers: Vec<_> = (0..shape.nodes.len()).collect();
        if shape.added_backwards {
            numbers.reverse();
        }
        let mut ids = vec![None; numbers.len()];
        for number in numbers {
            let node = &shape.nodes[number];
            let component = self.add(&mut graph, number);
            describe(component, number, node);
            for (other, by_handle) in &node.after {
                match ids[*other].filter(|_| *by_handle) {
                    Some(id) => component.after(id),
                    None => component.after(name(*other)),
                };
            }
            ids[number] = Some(component.id());
        }
        if shape.collects {
            let world = Arc::clone(self);
            graph.add(move |all: All<Out>| {
                let numbers = all.iter().map(|out| out.number).collect();
                *world.collected.lock().unwrap() = Some(numbers);
                async { Ok::<_, BoxError>(Collected) }
            });
        }
        graph
    }

    fn add<'a>(self: &Arc<Self>, graph: &'a mut Graph, number: usize) -> &'a mut Component {
        match self.shape.nodes[number].first.0 {
            Take::Nothing => self.add_second::<Option<Dep<Nobody>>>(graph, number),
            Take::Hard => self.add_second::<Dep<Out>>(graph, number),
            Take::Live => self.add_second::<Live<Out>>(graph, number),
            Take::Soft => self.add_second::<Option<Dep<Out>>>(graph, number),
            Take::Outcome => self.add_second::<Result<Dep<Out>, Failure>>(graph, number),
            Take::Order => self.add_second::<After<Out>>(graph, number),
            Take::MaybeOrder => self.add_second::<Option<After<Out>>>(graph, number),
            Take::Lazy => self.add_second::<Lazy<Out>>(graph, number),
        }
    }

    fn add_second<'a, A: Taken>(
        self: &Arc<Self>,
        graph: &'a mut Graph,
        number: usize,
    ) -> &'a mut Component {
        match self.shape.nodes[number].second.0 {
            Take::Nothing | Take::Lazy => self.add_both::<A, Option<Dep<Nobody>>>(graph, number),
            Take::Hard => self.add_both::<A, Dep<Alt>>(graph, number),
            Take::Live => self.add_both::<A, Live<Alt>>(graph, number),
            Take::Soft => self.add_both::<A, Option<Dep<Alt>>>(graph, number),
            Take::Outcome => self.add_both::<A, Result<Dep<Alt>, Failure>>(graph, number),
            Take::Order => self.add_both::<A, After<Alt>>(graph, number),
            Take::MaybeOrder => self.add_both::<A, Option<After<Alt>>>(graph, number),
        }
    }

    fn add_both<'a, A: Taken, B: Taken>(
        self: &Arc<Self>,
        graph: &'a mut Graph,
        number: usize,
    ) -> &'a mut Component {
        let world = Arc::clone(self);
        graph.add(move |first: A, second: B, cx: Context| {
            let world = Arc::clone(&world);
            let asked = async move { [first.ask().await, second.ask().await] };
            async move { world.initialise(number, asked, cx).await }
        })
    }

    // === what a component does ===

    async fn initialise(
        self: Arc<Self>,
        number: usize,
        asked: impl Future<Output = [Seen; 2]> + Send,
        cx: Context,
    ) -> Result<Out> {
        let node = &self.shape.nodes[number];
        let token = Arc::clone(&self.life);
        // One that waits for another on demand lends its permit meanwhile, and takes it back at once.
        let counts = node.lazy().is_none();
        let _inside = counts.then(|| self.running.enter());
        let _limited = (counts && node.limited).then(|| self.running_limited.enter());
        for hook in &node.hooks {
            self.register(number, *hook, &cx);
        }
        if node.spawns {
            let (token, cancelled) = (Arc::clone(&self.life), cx.cancelled());
            tokio::spawn(async move {
                cancelled.cancelled().await;
                drop(token);
            });
        }
        let seen = asked.await;
        self.seen.lock().unwrap().push((number, seen));
        let attempt = node.attempt(cx.attempt());
        if node.speaks {
            for _ in 0..attempt.takes / 2 {
                cx.keep_alive();
                self.pass(2).await;
            }
        } else {
            self.pass(attempt.takes).await;
        }
        match attempt.end {
            End::Well => Ok(Out {
                number,
                _token: token,
            }),
            End::Fails => Err("as told".into()),
            End::Panics => std::panic::resume_unwind(Box::new("as told")),
        }
    }

    fn register(self: &Arc<Self>, number: usize, hook: Hook, cx: &Context) {
        self.hooks_registered[number].fetch_add(1, Ordering::SeqCst);
        self.last_attempt[number].store(cx.attempt() as usize, Ordering::SeqCst);
        let (world, token) = (Arc::clone(self), Arc::clone(&self.life));
        cx.on_stop(move || async move {
            world.hooks_begun[number].fetch_add(1, Ordering::SeqCst);
            world.pass(hook.takes).await;
            drop(token);
            match hook.end {
                HookEnd::Well => Ok(()),
                HookEnd::Fails => Err("as told".into()),
                HookEnd::Panics => std::panic::resume_unwind(Box::new("as told")),
                HookEnd::Hangs => std::future::pending().await,
            }
        });
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("n{number}")
}

fn describe(component: &mut Component, number: usize, node: &Node) {
    component
        .named(name(number))
        .provide(|out: Arc<Out>| Arc::new(Alt(out)))
        .provide(|out: Arc<Out>| Arc::new(Third(out)));
    if node.first.0 != Take::Nothing {
        component.wire::<Out>(name(node.first.1));
    }
    if !matches!(node.second.0, Take::Nothing | Take::Lazy) {
        component.wire::<Alt>(name(node.second.1));
    }
    if let Some(other) = node.needs {
        component.needs::<Third>().wire::<Third>(name(other));
    }
    if node.retry.0 > 1 {
        component.retry(Retry::fixed(node.retry.0, ms(node.retry.1)));
    }
    if let Some(limit) = node.timeout {
        component.timeout(ms(limit));
    }
    if let Some(limit) = node.total_timeout {
        component.total_timeout(ms(limit));
    }
    if let Some(limit) = node.stall_timeout {
        component.stall_timeout(ms(limit));
    }
    if let Some(limit) = node.stop_timeout {
        component.stop_timeout(ms(limit));
    }
    if let Some(holds) = node.condition {
        component.when(move || holds);
    }
    if node.optional {
        component.optional();
    }
    if node.background {
        component.background();
    }
    if node.limited {
        component.class(Class::new("limited"));
    }
}

// === parameters ===

/// What a parameter held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The value of this node.
    Value(usize),
    /// It is there, without a value to look at.
    There,
    Missing,
}

type Asked = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// A parameter that tells what it held.
pub(crate) trait Taken: Param {
    fn ask(self) -> Asked;
}

trait Numbered: Send + Sync + 'static {
    fn number(&self) -> usize;
}

impl Numbered for Out {
    fn number(&self) -> usize {
        self.number
    }
}

impl Numbered for Alt {
    fn number(&self) -> usize {
        self.0.number
    }
}

impl Numbered for Nobody {
    fn number(&self) -> usize {
        usize::MAX
    }
}

fn at_once(seen: Seen) -> Asked {
    Box::pin(std::future::ready(seen))
}

impl<T: Numbered> Taken for Dep<T> {
    fn ask(self) -> Asked {
        at_once(Seen::Value(self.number()))
    }
}

impl<T: Numbered> Taken for Live<T> {
    fn ask(self) -> Asked {
        at_once(Seen::Value(self.load().number()))
    }
}

impl<T: Numbered> Taken for Option<Dep<T>> {
    fn ask(self) -> Asked {
        at_once(self.map_or(Seen::Missing, |value| Seen::Value(value.number())))
    }
}

impl<T: Numbered> Taken for Result<Dep<T>, Failure> {
    fn ask(self) -> Asked {
        at_once(self.map_or(Seen::Missing, |value| Seen::Value(value.number())))
    }
}

impl<T: Numbered> Taken for After<T> {
    fn ask(self) -> Asked {
        at_once(Seen::There)
    }
}

impl<T: Numbered> Taken for Option<After<T>> {
    fn ask(self) -> Asked {
        at_once(self.map_or(Seen::Missing, |_| Seen::There))
    }
}

impl<T: Numbered> Taken for Lazy<T> {
    fn ask(self) -> Asked {
        Box::pin(async move {
            let value = self.get().await;
            value.map_or(Seen::Missing, |value| Seen::Value(value.number()))
        })
    }
}
