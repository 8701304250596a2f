//! Many small graphs on several threads, since a paused clock shows no races: the same rules hold, read from the log.
//!
//! Bounded by the number of graphs; nothing waits for a clock.

use std::sync::Arc;
use std::time::Duration;

use init_graph::testing::EventLog;
use init_graph::{GraphError, Policy};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::model::{HookEnd, Shape, Wild, shapes};
use crate::support::ms;
use crate::world::{How, World};

const BATCHES: usize = 60;
const GRAPHS_AT_ONCE: usize = 8;

/// Without anything that would wait for a clock.
fn without_time(mut shape: Shape) -> Shape {
    shape.cancel_grace = 0;
    shape.timeout = None;
    for node in &mut shape.nodes {
        node.retry.1 = 0;
        node.timeout = None;
        node.total_timeout = None;
        node.stall_timeout = None;
        for hook in &mut node.hooks {
            if hook.end == HookEnd::Hangs {
                hook.end = HookEnd::Well;
            }
        }
    }
    shape
}

async fn run(shape: Shape) -> (Arc<World>, EventLog, Result<(), GraphError>) {
    let world = World::new(&shape, How::Yields);
    let log = EventLog::new();
    let token = CancellationToken::new();
    let mut graph = world.graph();
    graph.observe(log.clone());
    graph.cancel_on(token.clone());
    let canceller = shape.cancel_after.map(|turns| {
        tokio::spawn(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            token.cancel();
        })
    });
    let start = async {
        match shape.until {
            Some(_) => graph.start_until("goal").await,
            None => graph.start().await,
        }
    };
    let result = match start.await {
        Ok(running) => {
            // At any moment of what goes on in the background.
            for _ in 0..shape.nodes.len() % 5 {
                tokio::task::yield_now().await;
            }
            drop(running.shutdown().await);
            Ok(())
        }
        Err(error) => Err(error),
    };
    if let Some(canceller) = canceller {
        canceller.await.unwrap();
    }
    (world, log, result)
}

fn check(shape: &Shape, result: &Result<(), GraphError>, log: &EventLog) {
    match result {
        Ok(()) => {}
        Err(error) if error.is_cancelled() => assert!(shape.cancel_after.is_some(), "{log}"),
        Err(error) => {
            assert!(!error.failures().is_empty(), "{error}\n{log}");
            assert!(
                shape.policy != Policy::KeepGoing || shape.cancel_after.is_some(),
                "{log}"
            );
        }
    }
}

fn stress(wild: Wild) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let mut runner = TestRunner::deterministic();
    let shapes = shapes(wild).prop_map(without_time);
    for _ in 0..BATCHES {
        let batch: Vec<_> = (0..GRAPHS_AT_ONCE)
            .map(|_| shapes.new_tree(&mut runner).unwrap().current())
            .collect();
        let ran = runtime.block_on(async {
            let runs: JoinSet<_> = batch.into_iter().map(run).collect();
            let ran = runs.join_all().await;
            // What was told to end does so on its own thread, however busy the machine; a leak never does.
            let none_left = async {
                while runtime.metrics().num_alive_tasks() > 0 {
                    sleep(ms(1)).await;
                }
            };
            let ended = timeout(Duration::from_secs(30), none_left).await;
            if let Some((world, log, _)) = ran.iter().find(|(world, ..)| world.alive() > 0) {
                panic!("tasks left of {:#?}\n{log}", world.shape);
            }
            assert!(ended.is_ok(), "tasks left that are not of components");
            ran
        });
        for (world, log, result) in ran {
            check(&world.shape, &result, &log);
            world.check_clean(&log);
        }
    }
}

#[test]
fn on_four_threads_graphs_keep_every_rule_and_leave_nothing() {
    stress(Wild {
        size: 12,
        limits: true,
        bad_hooks: true,
        background: true,
        ..Wild::default()
    });
}

#[test]
fn on_four_threads_failures_and_cancels_at_any_moment_leave_nothing() {
    stress(Wild {
        size: 12,
        failures: true,
        cancels: true,
        bad_hooks: true,
        limits: true,
        background: true,
        milestones: true,
        lazies: true,
    });
}

#[test]
fn on_four_threads_what_is_asked_for_on_demand_keeps_every_rule() {
    stress(Wild {
        size: 10,
        failures: true,
        cancels: true,
        lazies: true,
        ..Wild::default()
    });
}
