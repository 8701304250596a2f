//! Restarts of a part that do not succeed: what is stopped again, what is gone, and what is told to whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use expect_test::expect;
use init_graph::{BoxError, Context, Dep, Graph, Lazy, Policy};
use tokio::time::{Instant, sleep, timeout};

use crate::restarting::{Api, Cache, Config, Database, Model, Switch, graph, started};
use crate::support::{Log, ms};
use crate::telemetry::Logged;

/// Stands beside the `Api` on the `Cache`.
struct Sibling;

/// Adds it, and returns what makes its next start fail.
fn add_sibling(graph: &mut Graph) -> Arc<AtomicBool> {
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    graph.add(move |_: Dep<Cache>| {
        let fails = told.load(Ordering::SeqCst);
        async move {
            if fails {
                Err("no".into())
            } else {
                Ok::<_, BoxError>(Sibling)
            }
        }
    });
    fails
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_leaves_the_part_stopped_and_says_what_is_gone() {
    let (log, switch) = (Log::default(), Switch::default());
    let running = started(&log, &switch).await;
    switch.fails.store(true, Ordering::SeqCst);
    let error = running.restart::<Database>().await.unwrap_err();
    assert_eq!(error.gone(), ["Database", "Cache", "Api"]);
    expect!["restart failed: `Database` failed; gone: Database, Cache, Api; restart again when the cause is away"]
        .assert_eq(&error.to_string());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "connection refused");
    assert!(running.get::<Database>().is_none() && running.get::<Api>().is_none());
    assert!(running.get::<Config>().is_some());
    assert!(running.failures().is_empty());
    let failure = running.reached("Api").await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "`Api` was skipped because `Database` failed"
    );
    // Later it comes back, by a restart of any of them that reaches down to the cause.
    switch.fails.store(false, Ordering::SeqCst);
    running.restart_named("Database").await.unwrap();
    assert_eq!(running.get::<Database>().unwrap().0, 3);
    running.reached("Api").await.unwrap();
    running.shutdown().await.unwrap();
    assert_eq!(
        log.count("stopping Database"),
        3,
        "its hook of the failed start ran too"
    );
}

#[tokio::test(start_paused = true)]
async fn what_had_started_of_a_part_that_failed_is_stopped_again() {
    let (log, switch) = (Log::default(), Switch::default());
    let mut graph = graph(&log, &switch);
    let fails = add_sibling(&mut graph);
    let running = graph.start().await.unwrap();
    fails.store(true, Ordering::SeqCst);
    let error = running.restart::<Database>().await.unwrap_err();
    assert_eq!(error.gone(), ["Database", "Cache", "Api", "Sibling"]);
    assert_eq!(log.count("stopping Database"), 2);
    let report = running.shutdown().await.unwrap();
    assert!(report.is_clean());
    assert_eq!(log.count("stopping Database"), 2, "it stays stopped");
}

#[tokio::test(start_paused = true)]
async fn with_keep_going_what_stands_behind_no_failure_stays() {
    let (log, switch) = (Log::default(), Switch::default());
    let mut graph = graph(&log, &switch);
    graph.policy(Policy::KeepGoing);
    let fails = add_sibling(&mut graph);
    let running = graph.start().await.unwrap();
    fails.store(true, Ordering::SeqCst);
    let report = running.restart::<Database>().await.unwrap();
    assert_eq!(report.failures().len(), 1);
    assert!(running.get::<Api>().is_some() && running.get::<Sibling>().is_none());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_gives_up_the_restart_at_once_as_it_would_a_start() {
    struct Slow;
    struct Behind;
    for (policy, ends) in [(Policy::FailFast, 10), (Policy::Drain, 1_000)] {
        let (log, starts) = (Log::default(), Arc::new(AtomicU32::new(0)));
        let (slow_starts, slow_log) = (Arc::clone(&starts), log.clone());
        let mut graph = Graph::new();
        graph.observe(log.clone());
        graph.policy(policy);
        graph.add(|| async { Ok::<_, BoxError>(Config) });
        graph.add(move |_: Dep<Config>| {
            let number = starts.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(ms(10)).await;
                match number {
                    0 => Ok::<_, BoxError>(Cache),
                    _ => Err("no".into()),
                }
            }
        });
        graph.add(move |cx: Context, _: Dep<Config>| {
            let (number, log) = (slow_starts.load(Ordering::SeqCst), slow_log.clone());
            async move {
                let token = cx.cancelled();
                tokio::spawn(async move {
                    token.cancelled().await;
                    log.say("told");
                });
                if number > 1 {
                    sleep(ms(1_000)).await;
                }
                Ok::<_, BoxError>(Slow)
            }
        });
        graph.add(|_: Dep<Slow>| async { Ok::<_, BoxError>(Behind) });
        let running = graph.start().await.unwrap();
        let begun = Instant::now();
        let error = running.restart::<Config>().await.unwrap_err();
        assert_eq!(begun.elapsed(), ms(ends));
        assert_eq!(error.gone(), ["Config", "Cache", "Slow", "Behind"]);
        assert_eq!(
            error.to_string(),
            "restart failed: `Cache` failed; gone: Config, Cache, Slow, Behind; restart again when the cause is away"
        );
        tokio::task::yield_now().await;
        assert_eq!(log.count("told"), 2, "{}", log.text());
        assert_eq!(log.count("starting Behind 1"), 1);
        running.reached("Behind").await.unwrap_err();
        running.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_later_knows_what_did_not_come_back() {
    struct Extra;
    struct Holder(Lazy<Model>);
    for by_condition in [false, true] {
        let starts = Arc::new(AtomicU32::new(0));
        let wanted = Arc::clone(&starts);
        let mut graph = Graph::new();
        graph.add(|| async { Ok::<_, BoxError>(Config) });
        graph
            .add(move |_: Dep<Config>| {
                let number = starts.fetch_add(1, Ordering::SeqCst);
                async move {
                    match number {
                        0 => Ok::<_, BoxError>(Extra),
                        _ => Err("no".into()),
                    }
                }
            })
            .optional()
            .when(move |_: Dep<Config>| !by_condition || wanted.load(Ordering::SeqCst) == 0);
        graph
            .add(|_: Dep<Extra>| async { Ok::<_, BoxError>(Model(1)) })
            .optional();
        graph.add(|_: Option<Dep<Extra>>| async { Ok::<_, BoxError>(Cache) });
        graph.add(|model: Lazy<Model>| async { Ok::<_, BoxError>(Holder(model)) });
        let running = graph.start().await.unwrap();
        let report = running.restart::<Config>().await.unwrap();
        assert_eq!(report.failures().len(), usize::from(!by_condition));
        let error = running.get::<Holder>().unwrap().0.get().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            match by_condition {
                false => "`Model` was skipped because `Extra` failed",
                true => "`Model` was skipped because the condition of `Extra` is false",
            }
        );
        running.shutdown().await.unwrap();
    }
}

/// An error of a stop hook whose text cannot be had.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("on purpose")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn a_rollback_whose_report_panics_while_it_is_logged_ends_the_restart_all_the_same() {
    struct Holder(Lazy<Model>);
    let _guard = Logged::default().install();
    let starts = Arc::new(AtomicU32::new(0));
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move {
        cx.on_stop(|| async { Err(Unspeakable.into()) });
        Ok::<_, BoxError>(Config)
    });
    graph.add(move |_: Dep<Config>| {
        let number = starts.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                1 => Err("no".into()),
                _ => Ok::<_, BoxError>(Model(number)),
            }
        }
    });
    graph.add(|_: Dep<Model>| async { Ok::<_, BoxError>(Cache) });
    graph.add(|model: Lazy<Model>| async { Ok::<_, BoxError>(Holder(model)) });
    let running = graph.start().await.unwrap();
    let error = running.restart::<Config>().await.unwrap_err();
    assert_eq!(error.gone(), ["Config", "Model", "Cache"]);
    let model = running.get::<Holder>().unwrap().0.clone();
    timeout(ms(1_000), model.get()).await.unwrap().unwrap_err();
    running.restart::<Config>().await.unwrap();
    assert_eq!(model.get().await.unwrap().0, 2);
    running.shutdown().await.unwrap_err();
}

/// `Model` is asked for while the part that it needs starts again, and that part then fails.

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_during_a_restart_that_failed_stops_with_what_it_needs() {
    struct Holder(Lazy<Model>);
    for takes in [0, 50] {
        let (log, starts) = (Log::default(), Arc::new(AtomicU32::new(0)));
        let mut graph = Graph::new();
        graph.observe(log.clone());
        graph.add(|| async { Ok::<_, BoxError>(Database(1)) });
        graph.add(move |_: Dep<Database>| {
            let number = starts.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(ms(20)).await;
                match number {
                    1 => Err("no".into()),
                    _ => Ok::<_, BoxError>(Cache),
                }
            }
        });
        graph.add(move |cx: Context, database: Dep<Database>| async move {
            cx.on_stop(|| async { Ok(()) });
            sleep(ms(takes)).await;
            Ok::<_, BoxError>(Model(database.0))
        });
        graph.add(|model: Lazy<Model>| async { Ok::<_, BoxError>(Holder(model)) });
        let running = graph.start().await.unwrap();
        let model = running.get::<Holder>().unwrap().0.clone();
        let asked = async {
            sleep(ms(10)).await;
            model.get().await.map(drop)
        };
        let (restarted, asked) = tokio::join!(running.restart::<Database>(), asked);
        restarted.unwrap_err();
        assert_eq!(asked.is_ok(), takes == 0, "it is there until the failure");
        assert!(running.get::<Model>().is_none() && running.get::<Database>().is_none());
        assert!(
            log.at("stopped Model")
                < log
                    .lines()
                    .iter()
                    .rposition(|line| line == "stopping Database")
                    .unwrap()
        );
        assert!(!model.get().await.unwrap_err().is_stopped());
        let report = running.restart::<Database>().await.unwrap();
        assert_eq!(report.nodes().len(), 3);
        model.get().await.unwrap();
        running.shutdown().await.unwrap();
    }
}
