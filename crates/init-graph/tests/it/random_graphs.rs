//! Properties that hold for every graph: random shapes, times, failures and cancellations, on a paused clock.
//!
//! The expected times come from a model that knows nothing of tasks: a node begins when its last dependency is settled.

use std::time::Duration;

use init_graph::{Context, Graph, GraphError, Result};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::{Log, ms};

#[derive(Clone, Debug)]
struct Shape {
    nodes: Vec<Node>,
    cancel_after: Option<u64>,
    added_backwards: bool,
}

#[derive(Clone, Debug)]
struct Node {
    after: Vec<usize>,
    start_ms: u64,
    stop_ms: u64,
    fails: bool,
    optional: bool,
}

fn shapes(failing: f64, cancelled: bool) -> impl Strategy<Value = Shape> {
    let node = (
        prop::collection::vec(any::<Index>(), 0..4),
        0..20_u64,
        0..10_u64,
        prop::bool::weighted(failing),
        prop::bool::weighted(0.3),
    );
    let cancel_after = if cancelled {
        prop::option::of(1..60_u64).boxed()
    } else {
        Just(None).boxed()
    };
    (
        prop::collection::vec(node, 1..24),
        cancel_after,
        any::<bool>(),
    )
        .prop_map(|(nodes, cancel_after, added_backwards)| {
            let node = |(own, (after, start_ms, stop_ms, fails, optional)): (
                usize,
                (Vec<Index>, _, _, _, _),
            )| Node {
                after: if own == 0 {
                    Vec::new()
                } else {
                    after.iter().map(|index| index.index(own)).collect()
                },
                start_ms,
                stop_ms,
                fails,
                optional,
            };
            let nodes = nodes.into_iter().enumerate().map(node).collect();
            Shape {
                nodes,
                cancel_after,
                added_backwards,
            }
        })
}

fn graph(shape: &Shape, log: &Log) -> Graph {
    let mut graph = Graph::new();
    graph.observe(log.clone());
    let mut numbers: Vec<_> = (0..shape.nodes.len()).collect();
    if shape.added_backwards {
        numbers.reverse();
    }
    for number in numbers {
        let node = shape.nodes[number].clone();
        let (log, own) = (log.clone(), node.clone());
        let component = graph.add(move |cx: Context| {
            initialise(cx, log.clone(), own.start_ms, own.stop_ms, own.fails)
        });
        component.named(format!("n{number}"));
        for other in node.after {
            component.after(format!("n{other}"));
        }
        if node.optional {
            component.optional();
        }
    }
    graph
}

async fn initialise(cx: Context, log: Log, start_ms: u64, stop_ms: u64, fails: bool) -> Result<()> {
    let name = cx.name().to_owned();
    cx.on_stop(move || async move {
        log.say(format!("hook begins {name}"));
        sleep(ms(stop_ms)).await;
        log.say(format!("hook ends {name}"));
        Ok(())
    });
    sleep(ms(start_ms)).await;
    if fails { Err("as told".into()) } else { Ok(()) }
}

/// When each node is settled if nothing gives up the start.
fn settled(shape: &Shape) -> Vec<u64> {
    let mut settled: Vec<u64> = Vec::new();
    for node in &shape.nodes {
        let begins = node
            .after
            .iter()
            .map(|other| settled[*other])
            .max()
            .unwrap_or(0);
        settled.push(begins + node.start_ms);
    }
    settled
}

fn run(shape: &Shape) -> (Log, std::result::Result<Duration, GraphError>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let log = Log::default();
    let result = runtime.block_on(async {
        let token = CancellationToken::new();
        let mut graph = graph(shape, &log);
        graph.cancel_on(token.clone());
        if let Some(after) = shape.cancel_after {
            tokio::spawn(async move {
                sleep(ms(after)).await;
                token.cancel();
            });
        }
        let running = graph.start().await?;
        let took = running.report().took();
        running.shutdown().await.expect("no hook fails");
        Ok(took)
    });
    (log, result)
}

/// Every node that began has one end, its hook ran once, and the hooks ran in reverse order.
fn check_order(shape: &Shape, log: &Log) {
    let lines = log.lines();
    let places = |line: &str| {
        let found = lines
            .iter()
            .enumerate()
            .filter(|(_, other)| other.split(": ").next() == Some(line));
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    for (number, node) in shape.nodes.iter().enumerate() {
        let begun = places(&format!("starting n{number} 1"));
        let ready = places(&format!("ready n{number}"));
        let failed = places(&format!("failed n{number}"));
        let cancelled = lines
            .iter()
            .filter(|line| line.starts_with(&format!("cancelled n{number} ")))
            .count();
        assert!(begun.len() <= 1);
        assert_eq!(
            begun.len(),
            ready.len() + failed.len() + cancelled,
            "n{number}\n{}",
            log.text()
        );
        let (hook_begins, hook_ends) = (
            places(&format!("hook begins n{number}")),
            places(&format!("hook ends n{number}")),
        );
        assert_eq!(
            (hook_begins.len(), hook_ends.len()),
            (begun.len(), begun.len()),
            "n{number}\n{}",
            log.text()
        );
        assert_eq!(places(&format!("stopping n{number}")).len(), begun.len());
        assert_eq!(places(&format!("stopped n{number}")).len(), begun.len());
        for other in node.after.iter().filter(|_| begun.len() == 1) {
            let settled = [
                places(&format!("ready n{other}")),
                places(&format!("failed n{other}")),
            ]
            .concat();
            assert!(
                settled[0] < begun[0],
                "n{number} after n{other}\n{}",
                log.text()
            );
            // What failed without ending the start cleans up at once.
            if shape.nodes[*other].fails && shape.nodes[*other].optional {
                continue;
            }
            let other_hook = places(&format!("hook begins n{other}"));
            assert!(
                hook_ends[0] < other_hook[0],
                "n{number} stops before n{other}\n{}",
                log.text()
            );
        }
    }
    assert_eq!(places("finished"), [lines.len() - 1]);
}

fn check(shape: &Shape) {
    let (log, result) = run(shape);
    check_order(shape, &log);
    let settled = settled(shape);
    let whole = settled.iter().copied().max().unwrap_or(0);
    let fatal = shape
        .nodes
        .iter()
        .zip(&settled)
        .filter(|(node, _)| node.fails && !node.optional);
    let first_failure = fatal.map(|(_, at)| *at).min();
    match (&result, first_failure, shape.cancel_after) {
        (Ok(took), None, cancelled) => {
            assert_eq!(*took, ms(whole), "exactly as long as the longest path");
            assert!(cancelled.is_none_or(|after| after >= whole));
        }
        (Err(error), failure, Some(after)) if error.is_cancelled() => {
            assert!(after <= whole && failure.is_none_or(|at| after <= at));
        }
        (Err(error), Some(at), cancelled) => {
            assert!(cancelled.is_none_or(|after| at <= after));
            for failure in error.failures() {
                let number: usize = failure.node().name()[1..].parse().unwrap();
                assert!(
                    shape.nodes[number].fails && settled[number] == at,
                    "{error}"
                );
            }
            assert!(!error.failures().is_empty());
        }
        other => panic!("{other:?}\n{}", log.text()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_graph_without_failures_takes_exactly_its_longest_path(shape in shapes(0.0, false)) {
        check(&shape);
    }

    #[test]
    fn whatever_fails_or_is_cancelled_all_that_began_is_stopped_once_in_reverse(shape in shapes(0.1, true)) {
        check(&shape);
    }
}
