//! One attempt of one initialiser: runs it within its limits until it ends, is out of time, or is cut off.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::{Instrument as _, Span, warn};

use crate::component::Body;
use crate::error::{BoxError, Cause};
use crate::guard::{Guarded, guarded};
use crate::options::Options;
use crate::param::Fetch;
use crate::plan::NodeId;
use crate::run::Run;
use crate::values::Value;

/// How one attempt ended.
pub(crate) enum Ended {
    Ready(Option<Value>),
    Failed(Cause),
    /// The start was given up, and the initialiser was dropped.
    Cut,
}

/// One attempt before it begins.
pub(crate) struct Attempt<'a> {
    pub(crate) run: &'a Arc<Run>,
    pub(crate) id: NodeId,
    /// From 1.
    pub(crate) number: u32,
    pub(crate) begun: Instant,
    /// When the first attempt began.
    pub(crate) first_begun: Instant,
    /// Ends the attempt at its current await.
    pub(crate) cut: &'a CancellationToken,
    pub(crate) span: Span,
}

type Made = Result<Option<Value>, BoxError>;

impl Attempt<'_> {
    /// Runs the attempt; also tells when it ended.
    ///
    /// Cancellation rule: an attempt that is cut off or out of time is dropped at its current await; what it registered
    /// with `on_stop` until then runs at the stop. The body of a blocking component cannot be dropped: out of time it is
    /// left behind, and one that is cut off is waited for, as one is that blocks its thread.
    pub(crate) async fn run(self) -> (Ended, Instant) {
        let step = &self.run.steps[self.id.index()];
        let bounds = Bounds::new(&self, step.options());
        let deadline = bounds.context_deadline(self.run);
        let mut fetch = Fetch::new(self.run, self.id, self.number, deadline);
        match &step.body {
            Body::Init(init) => {
                let made = self.span.in_scope(|| Guarded::new(|| init(&mut fetch)));
                self.within(bounds, made.instrument(self.span.clone()), true)
                    .await
            }
            Body::Blocking(make) => {
                let made = self.span.in_scope(|| guarded(|| make(&mut fetch)));
                let work = match made {
                    Ok(work) => work,
                    Err(panic) => return (Ended::Failed(Cause::Panicked(panic)), Instant::now()),
                };
                let span = self.span.clone();
                let task = self.run.runtime.spawn_blocking(move || {
                    let _entered = span.entered();
                    guarded(work)
                });
                self.within(bounds, Blocking(task), false).await
            }
            Body::Point | Body::Value(_) => (Ended::Ready(None), self.begun),
        }
    }
}

impl Attempt<'_> {
    async fn within<F>(
        &self,
        bounds: Bounds,
        initialiser: F,
        can_be_dropped: bool,
    ) -> (Ended, Instant)
    where
        F: Future<Output = Result<Made, String>>,
    {
        let mut initialiser = pin!(initialiser);
        // Made only when the first poll did not end it: most need neither.
        let mut cut = pin!(None::<WaitForCancellationFuture<'_>>);
        let mut timer = pin!(None::<Sleep>);
        let mut waits = false;
        let mut slow = false;
        poll_fn(|cx| {
            if is_ready(cut.as_mut(), cx) {
                return Poll::Ready((Ended::Cut, Instant::now()));
            }
            let before = if waits { Instant::now() } else { self.begun };
            let polled = initialiser.as_mut().poll(cx);
            let now = Instant::now();
            if !slow && now.saturating_duration_since(before) > SLOW_POLL {
                slow = true;
                self.warn_of_slow(now.saturating_duration_since(before));
            }
            if let Poll::Ready(made) = polled {
                return Poll::Ready((Ended::from(made), now));
            }
            if !waits {
                waits = true;
                if can_be_dropped {
                    cut.set(Some(self.cut.cancelled()));
                }
                timer.set(bounds.next(self.run, self.id).map(sleep_until));
                if is_ready(cut.as_mut(), cx) {
                    return Poll::Ready((Ended::Cut, now));
                }
            }
            // The initialiser was polled once more before its time is up: a result that is there counts.
            while is_ready(timer.as_mut(), cx) {
                match bounds.spent(Instant::now(), self.run, self.id) {
                    Some(cause) => return Poll::Ready((Ended::Failed(cause), now)),
                    None => {
                        let next = bounds.next(self.run, self.id);
                        timer.set(next.map(sleep_until));
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    fn warn_of_slow(&self, took: Duration) {
        let node = self.run.core.plan.node(self.id);
        warn!(
            node = node.name(),
            ?took,
            "initialiser holds its thread: what computes or blocks belongs into a function for `Graph::add_blocking`"
        );
    }
}

impl From<Result<Made, String>> for Ended {
    fn from(made: Result<Made, String>) -> Self {
        match made {
            Ok(Ok(value)) => Self::Ready(value),
            Ok(Err(error)) => Self::Failed(Cause::Failed(error)),
            Err(panic) => Self::Failed(Cause::Panicked(panic)),
        }
    }
}

/// Whether a future that may not be there has ended.
fn is_ready<F: Future<Output = ()>>(future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> bool {
    future
        .as_pin_mut()
        .is_some_and(|future| future.poll(cx).is_ready())
}

/// How long an attempt may take.
struct Bounds {
    begun: Instant,
    /// With the limit that it came from.
    deadline: Option<(Instant, Duration)>,
    stall: Option<Duration>,
}

impl Bounds {
    fn new(attempt: &Attempt<'_>, options: &Options) -> Self {
        let end = |begun: Instant, limit: Option<Duration>| {
            // A limit too long to count is none.
            limit.and_then(|limit| Some((begun.checked_add(limit)?, limit)))
        };
        let own = end(attempt.begun, options.timeout);
        let total = end(attempt.first_begun, options.total_timeout);
        Self {
            begun: attempt.begun,
            deadline: own.into_iter().chain(total).min_by_key(|(end, _)| *end),
            stall: options.stall_timeout,
        }
    }

    /// What the initialiser itself is told, which includes the end of the whole start.
    fn context_deadline(&self, run: &Run) -> Option<Instant> {
        let graph = run.settings.timeout;
        let graph = graph.and_then(|limit| run.begun.checked_add(limit));
        let own = self.deadline.map(|(end, _)| end);
        own.into_iter().chain(graph).min()
    }

    /// When time may be up next.
    fn next(&self, run: &Run, id: NodeId) -> Option<Instant> {
        let deadline = self.deadline.map(|(end, _)| end);
        deadline.into_iter().chain(self.stalls_at(run, id)).min()
    }

    fn stalls_at(&self, run: &Run, id: NodeId) -> Option<Instant> {
        let spoke = run.core.known(id).map(|extra| extra.spoke_at());
        let since = spoke.map_or(self.begun, |spoke| spoke.max(self.begun));
        since.checked_add(self.stall?)
    }

    /// Why time is up, if it is.
    fn spent(&self, now: Instant, run: &Run, id: NodeId) -> Option<Cause> {
        if let Some((_, limit)) = self.deadline.filter(|(end, _)| *end <= now) {
            return Some(Cause::TimedOut(limit));
        }
        let stalled = self.stalls_at(run, id).filter(|end| *end <= now);
        stalled.and(self.stall).map(Cause::Stalled)
    }
}

/// The body of a blocking component on its thread.
struct Blocking(JoinHandle<Result<Made, String>>);

impl Future for Blocking {
    type Output = Result<Made, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended| {
            // Its panics are caught inside, so this is the end of the runtime.
            ended.unwrap_or_else(|_| Err("the runtime was shut down".to_owned()))
        })
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // Keeps a body from beginning that still waits for a thread; one that runs goes on by itself.
        self.0.abort();
    }
}

/// An initialiser that holds its thread for longer than this is named.
const SLOW_POLL: Duration = Duration::from_millis(50);
