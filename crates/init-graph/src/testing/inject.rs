//! Where faults happen: bodies of components wrapped in others that count their attempts and awaits.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use tokio::time::Sleep;

use super::edit_error::EditError;
use super::fault::{Deed, Fault, Injected, InjectedError, Moment, Trigger};
use crate::component::{Body, Component, Init, Work};
use crate::context::Context;
use crate::error::BoxError;
use crate::graph::Graph;
use crate::param::{Fetch, Param as _};
use crate::values::Value;
use crate::wiring;

/// Faults for tests; feature `testing`.
impl Graph {
    /// Makes `fault` happen when its component runs; several of one component happen independently of each other.
    ///
    /// The returned [`Injected`] tells afterwards how often it happened.
    ///
    /// # Errors
    /// [`EditError`] when there is no component of that name, or it is a value or a mere point in the order.
    ///
    /// ```
    /// use init_graph::testing::{self, Fault};
    /// use init_graph::{BoxError, Graph, Retry};
    /// use std::time::Duration;
    ///
    /// # fn main() -> init_graph::Result<()> {
    /// testing::run(async {
    ///     let mut graph = Graph::new();
    ///     graph
    ///         .add(async || Ok::<_, BoxError>(7_u32))
    ///         .named("db")
    ///         .retry(Retry::fixed(2, Duration::from_secs(1)));
    ///     let injected = graph.inject(Fault::fail("db").at_attempt(1))?;
    ///     let running = graph.start().await?;
    ///     assert_eq!(injected.count(), 1);
    ///     running.shutdown().await?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn inject(&mut self, fault: Fault) -> Result<Injected, EditError> {
        let place = Location::caller();
        let Fault {
            name,
            deed,
            moment,
            attempt,
        } = fault;
        let Some(at) = named(self, &name).first().copied() else {
            return Err(EditError::no_such_name(place, &name));
        };
        let component = &mut self.components[at];
        if !has_initialiser(component) {
            return Err(EditError::no_initialiser(place, &name));
        }
        let trigger = Trigger {
            deed,
            moment,
            attempt,
            injected: Injected::default(),
        };
        let injected = trigger.injected.clone();
        if let Deed::Cancel(token) = &trigger.deed {
            self.settings.cancel_on.push(token.clone());
        }
        let body = std::mem::replace(&mut component.body, Body::Point);
        component.body = broken(body, Arc::new(trigger));
        Ok(injected)
    }
}

/// The components of this name, as they were named or, in a graph that fits together, as the plan tells them apart.
pub(super) fn named(graph: &Graph, name: &str) -> Vec<usize> {
    let components = graph.components.iter().enumerate();
    let same = components.filter(|(_, component)| component.name == *name);
    let same: Vec<_> = same.map(|(at, _)| at).collect();
    if same.len() == 1 {
        return same;
    }
    let Ok(wiring) = wiring::resolve(graph) else {
        return same;
    };
    let mut nodes = wiring.plan.nodes().iter().zip(&wiring.components);
    match nodes.find(|(node, _)| node.name() == name) {
        Some((_, at)) => vec![*at as usize],
        None => same,
    }
}

pub(super) fn has_initialiser(component: &Component) -> bool {
    matches!(component.body, Body::Init(_) | Body::Blocking(_))
}

/// `body` with every value that it makes sent through `change`.
pub(super) fn made_with(
    body: Body,
    change: impl Fn(Value) -> Value + Send + Sync + 'static,
) -> Body {
    let change = Arc::new(change);
    match body {
        Body::Point => Body::Point,
        Body::Value(value) => Body::Value(value.map(|value| change(value))),
        Body::Init(init) => Body::Init(Box::new(move |fetch| {
            let (made, change) = (init(fetch), Arc::clone(&change));
            Box::pin(async move { Ok(made.await?.map(|value| change(value))) })
        })),
        Body::Blocking(blocking) => Body::Blocking(Box::new(move |fetch| {
            let (work, change) = (blocking(fetch), Arc::clone(&change));
            Box::new(move || Ok(work()?.map(|value| change(value))))
        })),
    }
}

fn broken(body: Body, trigger: Arc<Trigger>) -> Body {
    match body {
        Body::Blocking(blocking) if trigger.fits_a_thread() => {
            Body::Blocking(Box::new(move |fetch| {
                let applies = trigger.applies(attempt(fetch));
                let (work, trigger) = (blocking(fetch), Arc::clone(&trigger));
                if applies {
                    Box::new(move || broken_work(work, &trigger))
                } else {
                    work
                }
            }))
        }
        // A thread that hangs would outlive the test, so what hangs is a future.
        Body::Blocking(blocking) => {
            let init = move |fetch: &mut Fetch<'_>| on_a_thread(blocking(fetch));
            broken_init(Box::new(init), trigger)
        }
        Body::Init(init) => broken_init(init, trigger),
        other => other,
    }
}

fn on_a_thread(work: Work) -> Init {
    Box::pin(async move {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(error.into()),
        }
    })
}

fn broken_work(work: Work, trigger: &Trigger) -> Result<Option<Value>, BoxError> {
    if trigger.moment == Moment::Before {
        trigger.act_now()?;
    }
    let value = work()?;
    if trigger.moment == Moment::After {
        trigger.act_now()?;
    }
    Ok(value)
}

fn broken_init(
    init: Box<dyn Fn(&mut Fetch<'_>) -> Init + Send + Sync>,
    trigger: Arc<Trigger>,
) -> Body {
    let init: Arc<dyn Fn(&mut Fetch<'_>) -> Init + Send + Sync> = init.into();
    Body::Init(Box::new(move |fetch| {
        if !trigger.applies(attempt(fetch)) {
            return init(fetch);
        }
        let before = trigger.moment == Moment::Before;
        if before && trigger.ends() {
            let trigger = Arc::clone(&trigger);
            return Box::pin(async move { trigger.act().await.map(|()| None) });
        }
        Box::pin(Broken {
            inner: Some(init(fetch)),
            value: None,
            awaits: 0,
            acting: before.then(|| acting(&trigger)),
            acted: before,
            trigger: Arc::clone(&trigger),
        })
    }))
}

/// The parameters take nothing from a `Fetch` for their `Context`, so one more does no harm.
fn attempt(fetch: &mut Fetch<'_>) -> u32 {
    Context::fetch(fetch).attempt()
}

type Acting = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

fn acting(trigger: &Arc<Trigger>) -> Acting {
    let trigger = Arc::clone(trigger);
    Box::pin(async move { trigger.act().await })
}

/// An initialiser with a fault in it.
struct Broken {
    inner: Option<Init>,
    /// What the initialiser made, while the fault after it happens.
    value: Option<Option<Value>>,
    /// How often the initialiser has said that it waits.
    awaits: u32,
    acting: Option<Acting>,
    acted: bool,
    trigger: Arc<Trigger>,
}

impl Future for Broken {
    type Output = Result<Option<Value>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(acting) = &mut this.acting {
                match acting.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => this.acting = None,
                }
            }
            if let Some(value) = this.value.take() {
                return Poll::Ready(Ok(value));
            }
            let Some(inner) = &mut this.inner else {
                return Poll::Pending;
            };
            let moment = match inner.as_mut().poll(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(value)) => {
                    this.inner = None;
                    this.value = Some(value);
                    Moment::After
                }
                Poll::Pending => {
                    this.awaits += 1;
                    Moment::Await(this.awaits)
                }
            };
            if !this.acted && this.trigger.moment == moment {
                this.acted = true;
                this.acting = Some(acting(&this.trigger));
            } else if this.value.is_none() {
                return Poll::Pending;
            }
        }
    }
}

impl Trigger {
    /// Whether the fault can happen on a blocking thread.
    fn fits_a_thread(&self) -> bool {
        matches!(self.deed, Deed::Fail | Deed::Panic | Deed::Cancel(_))
            && matches!(self.moment, Moment::Before | Moment::After)
    }

    fn applies(&self, attempt: u32) -> bool {
        self.attempt.is_none_or(|wanted| wanted == attempt)
    }

    /// Whether nothing comes after the fault.
    fn ends(&self) -> bool {
        matches!(self.deed, Deed::Fail | Deed::Panic | Deed::Hang)
    }

    /// The faults that take no time.
    fn act_now(&self) -> Result<(), BoxError> {
        self.injected.0.fetch_add(1, Ordering::Relaxed);
        match &self.deed {
            Deed::Fail => Err(InjectedError.into()),
            // Without the panic hook: nothing is wrong that the output of a test should show.
            Deed::Panic => std::panic::resume_unwind(Box::new("injected")),
            Deed::Cancel(token) => {
                token.cancel();
                Ok(())
            }
            Deed::Hang | Deed::Delay(_) => Ok(()),
        }
    }

    async fn act(&self) -> Result<(), BoxError> {
        self.act_now()?;
        match &self.deed {
            Deed::Hang => std::future::pending().await,
            Deed::Delay(time) => {
                let sleep: Sleep = tokio::time::sleep(*time);
                sleep.await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
