//! Properties that hold for every graph: random shapes, times, failures, limits and cancellations, on a paused clock.
//!
//! What has to happen comes from the model, which knows nothing of tasks; see [`crate::model`].

use std::sync::Arc;
use std::time::Duration;

use init_graph::testing::{EventLog, What};
use init_graph::{Cause, GraphError, NodeError, Policy, Running};
use proptest::prelude::*;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::model::{self, Fate, Outcome, Shape, Take, Wild, shapes};
use crate::support::ms;
use crate::world::{How, Seen, World, name};

/// What one run of a shape left to look at.
struct Ran {
    world: Arc<World>,
    log: EventLog,
    /// How long the start took.
    result: Result<Duration, GraphError>,
    /// Of a graph that started: names of components that failed all the same.
    failures: Vec<String>,
    tasks_left: usize,
}

impl Ran {
    fn check_clean(&self) {
        self.world.check_clean(&self.log);
        assert_eq!(self.tasks_left, 0, "tasks left\n{}", self.log);
    }
}

fn run(shape: &Shape) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = World::new(shape, How::Sleeps);
    let log = EventLog::new();
    let (result, failures, tasks_left) = runtime.block_on(async {
        let token = CancellationToken::new();
        let mut graph = world.graph();
        graph.observe(log.clone());
        graph.cancel_on(token.clone());
        let cancel_after = shape.cancel_after;
        let canceller = tokio::spawn(async move {
            match cancel_after {
                Some(after) => sleep(ms(after)).await,
                None => std::future::pending().await,
            }
            token.cancel();
        });
        let mut failures = Vec::new();
        let start = async {
            match shape.until {
                Some(_) => graph.start_until("goal").await,
                None => graph.start().await,
            }
        };
        let whole = async {
            match start.await {
                Ok(running) => Ok(look_at(running, &mut failures).await),
                Err(error) => Err(error),
            }
        };
        // Virtual time, so that a run that is stuck is a failure and not a test without end.
        let whole = timeout(Duration::from_secs(3_600), whole).await;
        let Ok(result) = whole else {
            panic!("stuck\n{log}\n{shape:#?}");
        };
        canceller.abort();
        drop(canceller.await);
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let left = runtime.metrics().num_alive_tasks();
        (result, failures, left)
    });
    Ran {
        world,
        log,
        result,
        failures,
        tasks_left,
    }
}

async fn look_at(running: Running, failures: &mut Vec<String>) -> Duration {
    let took = running.report().took();
    running.settled().await;
    let failed = running.failures();
    failures.extend(
        failed
            .iter()
            .map(|failure| failure.node().name().to_owned()),
    );
    // Hooks that fail as told make it an error; what matters is in the log.
    drop(running.shutdown().await);
    took
}

// === what the model says ===

/// When and how the start ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Started(u64),
    Failed(u64),
    Cancelled(u64),
    /// The whole start took too long.
    TooLate(u64),
}

/// Those that the start still waited for when its time was up.
fn late(error: &GraphError) -> impl Iterator<Item = &NodeError> {
    let failures = error.failures().iter();
    failures.filter(|failure| matches!(failure.cause(), Cause::Deadline(_)))
}

/// All that may come first; several at one time.
fn expected(shape: &Shape, fates: &[Fate]) -> Vec<Expected> {
    let off = model::not_waited_for(shape);
    let nodes = shape.nodes.iter().zip(fates).zip(&off);
    let foreground = nodes.clone().filter(|(_, off)| !**off);
    let whole = foreground
        .map(|((_, fate), _)| fate.settled)
        .max()
        .unwrap_or(0);
    let eager = model::eager(shape);
    let fatal = nodes.zip(eager).filter(|(((node, fate), _), eager)| {
        *eager && fate.outcome == Outcome::Failed && !node.optional
    });
    let fatal = fatal.map(|(((_, fate), off), _)| (fate.settled, *off));
    let fatal: Vec<_> = fatal
        .filter(|_| shape.policy != Policy::KeepGoing)
        .collect();
    let first = fatal.iter().map(|(at, _)| *at).min();
    let end = [first, shape.cancel_after, shape.timeout, Some(whole)]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(0);
    let mut expected = Vec::new();
    if first == Some(end) {
        expected.push(Expected::Failed(end));
    }
    if shape.cancel_after == Some(end) {
        expected.push(Expected::Cancelled(end));
    }
    if shape.timeout == Some(end) {
        expected.push(Expected::TooLate(end));
    }
    // What fails in the foreground comes before the end of the foreground.
    let held_up = shape.until.is_none() && fatal.iter().any(|(at, off)| *at == end && !off);
    if whole == end && !held_up {
        expected.push(Expected::Started(end));
    }
    expected
}

fn check_by_model(shape: &Shape, ran: &Ran) {
    let fates = model::fates(shape);
    let expected = expected(shape, &fates);
    let log = &ran.log;
    let told = || {
        format!(
            "expected {expected:?}, got {:?}\n{shape:#?}\n{log}",
            ran.result
        )
    };
    let ended = expected
        .iter()
        .find(|expected| match (expected, &ran.result) {
            (Expected::Started(at), Ok(took)) => *took == ms(*at),
            (Expected::Failed(_), Err(error)) => !error.failures().is_empty(),
            (Expected::TooLate(_), Err(error)) => late(error).count() > 0,
            (Expected::Cancelled(_), Err(error)) => {
                // What failed before is told, although it was no reason to give up.
                error.is_cancelled() || shape.policy == Policy::KeepGoing
            }
            _ => false,
        });
    let cut = match ended {
        None => panic!("{}", told()),
        Some(Expected::Started(_)) => None,
        Some(Expected::Failed(at) | Expected::Cancelled(at) | Expected::TooLate(at)) => Some(*at),
    };
    for (number, fate) in fates.iter().enumerate() {
        check_node(number, fate, cut, log, &told);
    }
    match &ran.result {
        Ok(_) => {
            check_seen(ran, shape, &fates);
            check_failures(ran, shape, &fates);
        }
        Err(error) => {
            let on_its_own = |failure: &&NodeError| !matches!(failure.cause(), Cause::Deadline(_));
            for failure in error.failures().iter().filter(on_its_own) {
                let number: usize = failure.node().name()[1..].parse().unwrap();
                // While it drains there is no further attempt, so what would have been well in the end has failed.
                let by_itself = fates[number].outcome == Outcome::Failed;
                assert!(
                    by_itself || shape.policy == Policy::Drain,
                    "a root cause: {}",
                    told()
                );
                let at_first = cut.is_some_and(|cut| fates[number].settled == cut);
                assert!(at_first || shape.policy != Policy::FailFast, "{}", told());
            }
        }
    }
}

/// `cut` is when the start was given up.
fn check_node(
    number: usize,
    fate: &Fate,
    cut: Option<u64>,
    log: &EventLog,
    told: &dyn Fn() -> String,
) {
    let entries: Vec<_> = log
        .entries()
        .into_iter()
        .filter(|entry| entry.event.is_of(&name(number)))
        .collect();
    let starts: Vec<_> = entries
        .iter()
        .filter(|entry| entry.event.what == What::Starting)
        .collect();
    let ends = entries.iter().find(|entry| entry.event.what.settles());
    if cut.is_some_and(|cut| fate.settled >= cut) {
        let cut = cut.unwrap_or(0);
        if fate.begins > cut {
            assert!(starts.is_empty(), "n{number} begins too late: {}", told());
        }
        if fate.begins < cut && fate.attempts > 0 {
            assert_eq!(
                starts[0].at,
                ms(fate.begins),
                "n{number} begins: {}",
                told()
            );
        }
        return;
    }
    if fate.outcome == Outcome::Unasked {
        assert!(entries.is_empty(), "nobody asked for n{number}: {}", told());
        return;
    }
    let Some(end) = ends else {
        panic!("n{number} has no end: {}", told());
    };
    let what = match fate.outcome {
        Outcome::Ready => What::Ready,
        Outcome::Failed => What::Failed,
        _ => What::Skipped,
    };
    assert_eq!(
        (end.event.what, end.at),
        (what, ms(fate.settled)),
        "n{number}: {}",
        told()
    );
    assert_eq!(
        starts.len(),
        fate.attempts as usize,
        "attempts of n{number}: {}",
        told()
    );
    if let Some(first) = starts.first() {
        assert_eq!(first.at, ms(fate.begins), "n{number} begins: {}", told());
    }
}

/// Parameters held what the model says, and `All` all that there is.
fn check_seen(ran: &Ran, shape: &Shape, fates: &[Fate]) {
    for (number, seen) in ran.world.seen.lock().unwrap().iter() {
        let node = &shape.nodes[*number];
        for ((take, other), seen) in [node.first, node.second].iter().zip(seen) {
            let ready = fates[*other].outcome == Outcome::Ready;
            let expected = match take {
                Take::Nothing => Seen::Missing,
                Take::Order => Seen::There,
                _ if !ready => Seen::Missing,
                Take::MaybeOrder => Seen::There,
                _ => Seen::Value(*other),
            };
            assert_eq!(
                *seen, expected,
                "n{number} of n{other} by {take:?}\n{}",
                ran.log
            );
        }
    }
    let collected = ran.world.collected.lock().unwrap().clone();
    assert_eq!(collected.is_some(), shape.collects);
    if let Some(mut collected) = collected {
        if shape.added_backwards {
            collected.reverse();
        }
        let numbers = 0..fates.len();
        let ready: Vec<_> = numbers
            .filter(|at| fates[*at].outcome == Outcome::Ready)
            .collect();
        assert_eq!(collected, ready, "in the order of adding");
    }
}

fn check_failures(ran: &Ran, shape: &Shape, fates: &[Fate]) {
    let eager = model::eager(shape);
    let failed = |number: &usize| {
        fates[*number].outcome == Outcome::Failed
            && !shape.nodes[*number].optional
            && eager[*number]
    };
    let mut expected: Vec<_> = (0..fates.len()).filter(failed).map(name).collect();
    let mut failures = ran.failures.clone();
    expected.sort();
    failures.sort();
    assert_eq!(failures, expected, "{}", ran.log);
}

/// With limits the model knows only bounds.
fn check_bounds(shape: &Shape, ran: &Ran) {
    let fates = model::fates(shape);
    let longest = fates.iter().map(|fate| fate.settled).max().unwrap_or(0);
    let work: u64 = shape.nodes.iter().map(|node| node.attempt(1).takes).sum();
    let Ok(took) = &ran.result else {
        panic!("nothing fails: {:?}", ran.result);
    };
    let told = || {
        format!(
            "{took:?} for {work} in all, {longest} in a row\n{}",
            ran.log
        )
    };
    assert!(*took >= ms(longest), "{}", told());
    assert!(*took <= ms(work), "somebody always works: {}", told());
    if let Some(count) = shape.concurrency {
        let count = count as u64;
        assert!(*took >= ms(work / count), "{}", told());
        if shape.limit.is_none() {
            // Graham's bound for every schedule that leaves no permit unused.
            assert!(*took <= ms(work / count + longest + 1), "{}", told());
        }
    }
    let limited = shape.nodes.iter().filter(|node| node.limited);
    let limited: u64 = limited.map(|node| node.attempt(1).takes).sum();
    if let Some(count) = shape.limit {
        assert!(*took >= ms(limited / count as u64), "{}", told());
    }
    check_seen(ran, shape, &fates);
}

fn check_twice(shape: &Shape, first: &Ran) {
    let second = run(shape);
    let times = |ran: &Ran| {
        let entries = ran.log.entries().into_iter();
        entries
            .map(|entry| format!("{:?} {}", entry.at, entry.event))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(first), times(&second), "the same again");
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn a_graph_without_failures_takes_exactly_its_longest_path(
        shape in shapes(Wild { size: 24, background: true, ..Wild::default() })
    ) {
        let ran = run(&shape);
        ran.check_clean();
        check_by_model(&shape, &ran);
        let end = ran.log.entries().pop().and_then(|entry| entry.event.time);
        assert_eq!(end, Some(ms(model::stop_time(&shape))), "the longest path of hooks\n{}", ran.log);
    }

    #[test]
    fn whatever_fails_or_is_cancelled_all_happens_as_the_model_says_and_nothing_is_left(
        shape in shapes(Wild { size: 16, failures: true, cancels: true, bad_hooks: true, background: true, milestones: true, ..Wild::default() })
    ) {
        let ran = run(&shape);
        ran.check_clean();
        check_by_model(&shape, &ran);
        check_twice(&shape, &ran);
    }

    #[test]
    fn what_is_asked_for_on_demand_begins_then_and_stops_in_the_order_of_use(
        shape in shapes(Wild { size: 14, failures: true, cancels: true, lazies: true, milestones: true, background: true, ..Wild::default() })
    ) {
        let ran = run(&shape);
        ran.check_clean();
        check_by_model(&shape, &ran);
        check_twice(&shape, &ran);
    }

    #[test]
    fn limits_hold_and_no_permit_stays_unused(
        shape in shapes(Wild { size: 24, limits: true, ..Wild::default() })
    ) {
        let ran = run(&shape);
        ran.check_clean();
        check_bounds(&shape, &ran);
        check_twice(&shape, &ran);
    }

    #[test]
    fn with_everything_at_once_nothing_is_left(
        shape in shapes(Wild {
            size: 20, milestones: true, failures: true, cancels: true, limits: true, bad_hooks: true, background: true, lazies: true,
        })
    ) {
        let ran = run(&shape);
        ran.check_clean();
        check_twice(&shape, &ran);
    }
}
