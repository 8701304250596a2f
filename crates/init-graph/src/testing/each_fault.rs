//! Every fault that can happen to a graph, one after the other, each on a clean slate of its own.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use super::event_log::EventLog;
use super::fault::Fault;
use super::inject::has_initialiser;
use super::virtual_time::runtime;
use crate::error::{GraphError, StopError};
use crate::graph::Graph;
use crate::report::{Report, StopReport};

/// Starts and stops the graph that `build` makes again and again, with another fault each time, and hands every trial to
/// `check`.
///
/// The first trial is without a fault. Then, for each component that runs something: it fails, panics and hangs before
/// it runs; it fails after it has run; and at each of its awaits it fails and the start is cancelled. The number of
/// awaits is found by trying, up to 64. Each trial has a graph and a runtime of its own with virtual time, and a graph
/// without [`timeout`](Graph::timeout) gets one of an hour, so that what hangs ends. Trials happen in the same order each
/// time.
///
/// # Errors
/// [`GraphError::Wiring`] when the graph does not fit together.
///
/// # Panics
/// Inside of a runtime, and when `check` panics.
///
/// ```
/// use init_graph::testing::each_fault;
/// use init_graph::{BoxError, Context, Dep, Graph};
///
/// struct Database;
///
/// async fn database(cx: Context) -> init_graph::Result<Database> {
///     cx.on_stop(async || Ok(()));
///     tokio::task::yield_now().await;
///     Ok(Database)
/// }
///
/// # fn main() -> init_graph::Result<()> {
/// let build = || {
///     let mut graph = Graph::new();
///     graph.add(database);
///     graph.add(async |_: Dep<Database>| Ok::<_, BoxError>(7_u32)).named("api");
///     graph
/// };
/// let summary = each_fault(build, |trial| {
///     trial.log.verify().unwrap();
///     assert_eq!(trial.tasks_left, 0, "{}", trial.case);
///     // A cancel may come too late to matter; without any fault the graph starts.
///     assert!(trial.error.is_none() || trial.case.fault.is_some(), "{}", trial.case);
/// })?;
/// assert_eq!(summary.trials, 11);
/// # Ok(())
/// # }
/// ```
pub fn each_fault(
    build: impl Fn() -> Graph,
    mut check: impl FnMut(&Trial),
) -> Result<Summary, GraphError> {
    let nodes = nodes(&build())?;
    let mut summary = Summary::default();
    let mut trial = |fault: Option<Fault>| {
        let trial = attempt(build(), Case { fault });
        let happened = trial.happened;
        // A fault that found no place is no trial.
        if happened || trial.case.fault.is_none() {
            summary.trials += 1;
            check(&trial);
        }
        happened
    };
    trial(None);
    let mut cut_short = Vec::new();
    for node in nodes {
        let name = node.as_str();
        trial(Some(Fault::fail(name)));
        trial(Some(Fault::panic(name)));
        trial(Some(Fault::hang(name)));
        trial(Some(Fault::fail(name).after()));
        let mut number = 1;
        while trial(Some(Fault::cancel(name).at_await(number))) {
            trial(Some(Fault::fail(name).at_await(number)));
            if number == AWAITS_MAX {
                cut_short.push(node);
                break;
            }
            number += 1;
        }
    }
    summary.cut_short = cut_short;
    Ok(summary)
}

/// What [`each_fault`] has tried.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// How many trials there were, the one without a fault included.
    pub trials: usize,
    /// The names of components with more awaits than were tried.
    pub cut_short: Vec<String>,
}

/// What was tried in one [`Trial`]; `Display` is a clause: "`db` fails at its await 2".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Case {
    /// The fault; `None` for the trial without any.
    pub fault: Option<Fault>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Some(fault) => fault.fmt(f),
            None => f.write_str("nothing goes wrong"),
        }
    }
}

/// One start and stop of a graph with a fault in it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trial {
    /// What was tried.
    pub case: Case,
    /// Why it did not start; `None` when it started.
    pub error: Option<GraphError>,
    /// How the start went; `None` when it did not start, and then the error has one.
    pub report: Option<Report>,
    /// How the shutdown went; `None` when it did not start, and then the error has the rollback.
    pub stop: Option<Result<StopReport, StopError>>,
    /// Every event, to the end.
    pub log: EventLog,
    /// How many tasks were still alive when all was over; anything but 0 is a leak.
    pub tasks_left: usize,
    /// Whether the start was still not over long after all of its time.
    pub stuck: bool,
    happened: bool,
}

/// The names of the components that run something.
fn nodes(graph: &Graph) -> Result<Vec<String>, GraphError> {
    let wiring = crate::wiring::resolve(graph).map_err(GraphError::Wiring)?;
    let nodes = wiring.plan.nodes().iter().zip(&wiring.components);
    let runs = nodes.filter(|(_, at)| has_initialiser(&graph.components[**at as usize]));
    Ok(runs.map(|(node, _)| node.name().to_owned()).collect())
}

fn attempt(mut graph: Graph, case: Case) -> Trial {
    let log = EventLog::new();
    graph.observe(log.clone());
    let limit = *graph.settings.timeout.get_or_insert(HANG_MAX);
    let limit = limit
        .saturating_add(HANG_MAX)
        .saturating_add(graph.settings.stop_timeout);
    let injected = case.fault.clone().map(|fault| graph.inject(fault));
    let injected = injected.and_then(Result::ok);
    let mut trial = Trial {
        case,
        error: None,
        report: None,
        stop: None,
        log,
        tasks_left: 0,
        stuck: false,
        happened: false,
    };
    let runtime = runtime();
    runtime.block_on(async {
        match timeout(limit, graph.start()).await {
            Ok(Ok(running)) => {
                trial.report = Some(running.report());
                trial.stop = Some(running.shutdown().await);
            }
            Ok(Err(error)) => trial.error = Some(error),
            Err(_) => trial.stuck = true,
        }
        // Tasks that were told to end get their turn.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        trial.tasks_left = runtime.metrics().num_alive_tasks();
    });
    trial.happened = injected.is_some_and(|injected| injected.count() > 0);
    trial
}

/// The awaits of one component that are tried.
const AWAITS_MAX: u32 = 64;

/// The time that a graph without a limit has for its start.
const HANG_MAX: Duration = Duration::from_secs(60 * 60);

/// Enough for a task that was cancelled to end, and for one that waits for that.
const TURNS: usize = 16;
