//! Every fault at every node and at every await of it, one after the other: a clean slate each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use init_graph::testing::{EventLog, Trial, What, each_fault};
use init_graph::{BoxError, Cause, Context, Dep, Graph, Result, Retry};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use tokio::time::sleep;

use crate::model::{Wild, shapes};
use crate::support::ms;
use crate::world::{How, World};

/// Counts what is alive of one graph.
#[derive(Clone, Default)]
struct Life(Arc<()>);

impl Life {
    fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

struct Config(#[expect(dead_code, reason = "held, so that it counts")] Life);
struct Database(#[expect(dead_code, reason = "held, so that it counts")] Life);
struct Cache(#[expect(dead_code, reason = "held, so that it counts")] Life);
struct Api(#[expect(dead_code, reason = "held, so that it counts")] Life);

/// A service with a bit of everything: awaits, hooks, tasks, retries, an optional part and blocking work.
fn service(life: &Life) -> Graph {
    let mut graph = Graph::new();
    let own = life.clone();
    graph
        .add_blocking(move || Ok::<_, BoxError>(Config(own.clone())))
        .named("config");
    let own = life.clone();
    let database = move |_: Dep<Config>, cx: Context| {
        let own = own.clone();
        async move {
            cleaned_up(&cx, &own);
            sleep(ms(5)).await;
            cleaned_up(&cx, &own);
            tokio::task::yield_now().await;
            sleep(ms(5)).await;
            Ok::<_, BoxError>(Database(own))
        }
    };
    graph
        .add(database)
        .named("db")
        .retry(Retry::fixed(2, ms(10)))
        .timeout(ms(1_000));
    let own = life.clone();
    let cache = move |_: Dep<Config>, cx: Context| {
        let own = own.clone();
        async move {
            let (token, kept) = (cx.cancelled(), own.clone());
            tokio::spawn(async move {
                token.cancelled().await;
                drop(kept);
            });
            sleep(ms(3)).await;
            cleaned_up(&cx, &own);
            sleep(ms(3)).await;
            Ok::<_, BoxError>(Cache(own))
        }
    };
    graph.add(cache).named("cache").optional();
    let own = life.clone();
    let api = move |_: Dep<Database>, _: Option<Dep<Cache>>, cx: Context| {
        let own = own.clone();
        async move {
            cleaned_up(&cx, &own);
            sleep(ms(1)).await;
            Ok::<_, BoxError>(Api(own))
        }
    };
    graph.add(api).named("api");
    graph.node("ready").after("api");
    graph
}

fn cleaned_up(cx: &Context, life: &Life) {
    let life = life.clone();
    cx.on_stop(move || async move {
        sleep(ms(2)).await;
        drop(life);
        Ok(())
    });
}

fn check_slate(trial: &Trial) {
    let case = &trial.case;
    if let Err(violations) = trial.log.verify() {
        panic!("{case}: {violations}");
    }
    assert!(!trial.stuck, "{case}\n{}", trial.log);
    assert_eq!(trial.tasks_left, 0, "{case}\n{}", trial.log);
    assert_eq!(
        trial.log.count_all(What::Finished),
        1,
        "{case}\n{}",
        trial.log
    );
}

#[test]
fn a_fault_at_any_node_and_any_await_leaves_nothing_behind() -> Result<()> {
    let lives = RefCell::new(Vec::<Life>::new());
    let build = || {
        let life = Life::default();
        let graph = service(&life);
        lives.borrow_mut().push(life);
        graph
    };
    let summary = each_fault(build, |trial| {
        check_slate(trial);
        let life = lives.borrow().last().map_or(0, Life::count);
        assert_eq!(life, 0, "{}\n{}", trial.case, trial.log);
    })?;
    assert!(summary.cut_short.is_empty());
    // 1 without a fault, 4 for each of 4 components, and 2 for each await: 1 of a thread, 3, 2 and 1.
    assert_eq!(summary.trials, 1 + 4 * 4 + 2 * (1 + 3 + 2 + 1));
    Ok(())
}

#[test]
fn the_root_cause_of_every_fault_is_the_node_it_happened_to() -> Result<()> {
    let life = Life::default();
    let mut outcomes = BTreeMap::new();
    each_fault(
        || service(&life),
        |trial| {
            let case = trial.case.to_string();
            let outcome = match &trial.error {
                None => "started".to_owned(),
                Some(error) if error.is_cancelled() => "cancelled".to_owned(),
                Some(error) => {
                    let failures = error.failures().iter();
                    let told = failures.map(|failure| {
                        let how = match failure.cause() {
                            Cause::Failed(_) => "failed",
                            Cause::Panicked(_) => "panicked",
                            Cause::TimedOut(_) => "timed out",
                            Cause::Deadline(_) => "too late",
                            _ => "otherwise",
                        };
                        format!(
                            "{} {how} after {}",
                            failure.node().name(),
                            failure.attempts()
                        )
                    });
                    told.collect::<Vec<_>>().join(", ")
                }
            };
            outcomes.insert(case, outcome);
        },
    )?;
    let shown: Vec<_> = outcomes
        .iter()
        .map(|(case, outcome)| format!("{case}: {outcome}"))
        .collect();
    expect_test::expect![[r#"
        `api` fails after it has run: api failed after 1
        `api` fails at its await 1: api failed after 1
        `api` fails before it runs: api failed after 1
        `api` hangs before it runs: api too late after 1
        `api` panics before it runs: api panicked after 1
        `cache` fails after it has run: started
        `cache` fails at its await 1: started
        `cache` fails at its await 2: started
        `cache` fails before it runs: started
        `cache` hangs before it runs: cache too late after 1
        `cache` panics before it runs: started
        `config` fails after it has run: config failed after 1
        `config` fails at its await 1: config failed after 1
        `config` fails before it runs: config failed after 1
        `config` hangs before it runs: config too late after 1
        `config` panics before it runs: config panicked after 1
        `db` fails after it has run: db failed after 2
        `db` fails at its await 1: db failed after 2
        `db` fails at its await 2: db failed after 2
        `db` fails at its await 3: db failed after 2
        `db` fails before it runs: db failed after 2
        `db` hangs before it runs: db timed out after 2
        `db` panics before it runs: db panicked after 1
        nothing goes wrong: started
        the start is cancelled while `api` runs, at its await 1: cancelled
        the start is cancelled while `cache` runs, at its await 1: cancelled
        the start is cancelled while `cache` runs, at its await 2: cancelled
        the start is cancelled while `config` runs, at its await 1: cancelled
        the start is cancelled while `db` runs, at its await 1: cancelled
        the start is cancelled while `db` runs, at its await 2: cancelled
        the start is cancelled while `db` runs, at its await 3: cancelled"#]]
    .assert_eq(&shown.join("\n"));
    Ok(())
}

#[test]
fn random_graphs_bear_every_fault_at_every_await() -> Result<()> {
    let wild = Wild {
        size: 6,
        failures: true,
        background: true,
        ..Wild::default()
    };
    let shapes = shapes(wild);
    let mut runner = TestRunner::deterministic();
    let mut trials = 0;
    for _ in 0..40 {
        let shape = shapes.new_tree(&mut runner).unwrap().current();
        let worlds = RefCell::new(Vec::<Arc<World>>::new());
        let build = || {
            let world = World::new(&shape, How::Sleeps);
            let graph = world.graph();
            worlds.borrow_mut().push(world);
            graph
        };
        let summary = each_fault(build, |trial| {
            check_slate(trial);
            let world = worlds.borrow().last().cloned().unwrap();
            world.check_clean(&trial.log);
        })?;
        trials += summary.trials;
    }
    assert!(trials > 1_000, "{trials}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_hooks_of_what_failed_all_have_their_turn_though_the_first_hangs_and_the_stop_comes() {
    let (told, log) = (Arc::new(AtomicBool::new(false)), EventLog::new());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.stop_timeout(ms(100));
    let last = Arc::clone(&told);
    let broken = move |cx: Context| {
        let last = Arc::clone(&last);
        async move {
            cx.on_stop(async move || {
                last.store(true, Ordering::SeqCst);
                Ok(())
            });
            cx.on_stop(async || std::future::pending().await);
            Err::<(), BoxError>("broken".into())
        }
    };
    graph.add(broken).named("broken").optional();
    // At the very moment at which the clean-up begins, so that both have the same deadline.
    let error = graph.start().await.unwrap().shutdown().await.unwrap_err();
    log.verify().unwrap();
    assert!(told.load(Ordering::SeqCst), "{log}");
    assert_eq!(error.report().failures().len(), 1, "{log}");
    assert!(error.report().abandoned().is_empty(), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_token_asked_for_after_the_stop_is_cancelled_from_the_first() {
    let kept = Arc::new(Mutex::new(None::<Context>));
    let own = Arc::clone(&kept);
    let mut graph = Graph::new();
    graph.add(move |cx: Context| {
        *own.lock().unwrap() = Some(cx);
        async { Ok::<_, BoxError>(()) }
    });
    graph.start().await.unwrap().shutdown().await.unwrap();
    let cx = kept.lock().unwrap().take().unwrap();
    assert!(cx.cancelled().is_cancelled());
}
