//! What can be waited for and asked of a running graph: milestones, the background, failures and values.

use std::sync::Arc;

use init_graph::{BoxError, Cause, Context, Graph, Handle, Lazy, Outcome, Policy};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Log, ms};

struct Api;
struct Cache;
struct Replica;
#[derive(Debug, PartialEq)]
struct Database(&'static str);

/// An `Api` after 10 ms, and in the background a `Cache` after 30 ms, behind which is the milestone "warm".
fn graph(cache_fails: bool) -> Graph {
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(10)).await;
        Ok::<_, BoxError>(Api)
    });
    graph
        .add(move || async move {
            sleep(ms(30)).await;
            if cache_fails {
                return Err("no memory".into());
            }
            Ok::<_, BoxError>(Cache)
        })
        .background();
    graph.milestone("ready").needs::<Api>();
    graph.milestone("warm").needs::<Cache>();
    graph
}

#[tokio::test(start_paused = true)]
async fn a_start_returns_before_the_background_which_can_be_waited_for() {
    let begun = Instant::now();
    let running = graph(false).start().await.unwrap();
    assert_eq!(begun.elapsed(), ms(10));
    running.reached("ready").await.unwrap();
    assert_eq!(begun.elapsed(), ms(10));
    assert!(running.get::<Cache>().is_none());
    assert!(timeout(ms(5), running.reached("warm")).await.is_err());
    running.reached("warm").await.unwrap();
    assert_eq!(begun.elapsed(), ms(30));
    assert!(running.get::<Cache>().is_some());
    running.settled().await;
    assert_eq!(begun.elapsed(), ms(30));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_milestone_that_does_not_exist_is_an_error_and_not_a_hang() {
    let running = graph(false).start().await.unwrap();
    let failure = running.reached("hot").await.unwrap_err();
    assert!(failure.is_unknown());
    assert_eq!(
        failure.to_string(),
        "there is no component or milestone `hot`"
    );
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_background_is_told_to_everybody_who_wants_to_know() {
    let running = graph(true).start().await.unwrap();
    let begun = Instant::now();
    assert!(running.failures().is_empty());
    assert!(timeout(ms(5), running.failed()).await.is_err());
    let (failure, reached) = tokio::join!(running.failed(), running.reached("warm"));
    assert_eq!(begun.elapsed(), ms(20));
    assert!(matches!(failure.cause(), Cause::Failed(error) if error.to_string() == "no memory"));
    assert_eq!(
        reached.unwrap_err().to_string(),
        "`warm` was skipped because `Cache` failed"
    );
    assert_eq!(running.failures().len(), 1);
    assert_eq!(running.failed().await.node().name(), "Cache");
    running.settled().await;
    assert!(running.get::<Api>().is_some(), "the rest goes on");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_ends_when_the_graph_stops() {
    let running = graph(false).start().await.unwrap();
    let handle = running.handle();
    let waiting = tokio::spawn(async move {
        let reached = handle.reached("warm").await;
        handle.settled().await;
        reached.unwrap_err().to_string()
    });
    sleep(ms(1)).await;
    running.shutdown().await.unwrap();
    assert_eq!(
        waiting.await.unwrap(),
        "`warm` was given up: the graph is stopping"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drops_what_starts_in_the_background_and_runs_its_hooks() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(|cx: Context| async move {
            cx.on_stop(|| async { Ok(()) });
            std::future::pending::<()>().await;
            Ok::<_, BoxError>(Cache)
        })
        .background();
    let running = graph.start().await.unwrap();
    sleep(ms(5)).await;
    let begun = Instant::now();
    running.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(0));
    assert!(log.at("cancelled Cache after 5ms") < log.at("stopping Cache"));
}

#[tokio::test(start_paused = true)]
async fn the_report_knows_more_with_every_component_of_the_background() {
    let running = graph(false).start().await.unwrap();
    let outcome = |name: &str| {
        let report = running.report();
        report
            .nodes()
            .find(|node| node.name() == name)
            .unwrap()
            .outcome()
    };
    assert_eq!(outcome("Cache"), Outcome::Unfinished);
    running.settled().await;
    assert_eq!(outcome("Cache"), Outcome::Ready);
    assert_eq!(running.report().took(), ms(10));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_keep_going_the_failures_of_the_start_are_told() {
    let mut graph = Graph::new();
    graph.policy(Policy::KeepGoing);
    graph.add(|| async { Err::<Cache, BoxError>("no".into()) });
    graph.add(|| async { Ok::<_, BoxError>(Api) });
    let running = graph.start().await.unwrap();
    assert_eq!(running.failures()[0].node().name(), "Cache");
    // They do not end a run either.
    let begun = Instant::now();
    let report = running.run_until(sleep(ms(20))).await.unwrap();
    assert!(report.is_clean());
    assert_eq!(begun.elapsed(), ms(20));
}

#[tokio::test(start_paused = true)]
async fn values_are_found_as_parameters_find_them() {
    let mut graph = Graph::new();
    graph.value(Database("primary"));
    graph.value(Database("second")).named("second");
    graph
        .value(Database("replica"))
        .named("replica")
        .tagged::<Replica>();
    graph.value(7_u32).named("seven");
    graph.value(1_u64).named("one");
    graph.value(2_u64).named("two");
    graph.value_arc::<dyn std::fmt::Debug + Send + Sync>(Arc::new("text"));
    let running = graph.start().await.unwrap();
    assert_eq!(running.get::<Database>().unwrap().0, "primary");
    assert_eq!(running.get_named::<Database>("second").unwrap().0, "second");
    assert_eq!(
        running.get_tagged::<Database, Replica>().unwrap().0,
        "replica"
    );
    let all: Vec<_> = running.all::<Database>().iter().map(|one| one.0).collect();
    assert_eq!(all, ["primary", "second", "replica"]);
    assert_eq!(running.get::<u32>().as_deref(), Some(&7), "the only one");
    assert!(running.get::<u64>().is_none(), "one of two");
    assert!(
        running.get_named::<u64>("seven").is_none(),
        "of another type"
    );
    assert!(running.get_tagged::<u32, Replica>().is_none());
    assert!(running.get::<String>().is_none());
    assert!(running.all::<String>().is_empty());
    assert!(running.get::<dyn std::fmt::Debug + Send + Sync>().is_some());
    let handle = running.handle();
    running.shutdown().await.unwrap();
    assert!(handle.get::<Database>().is_none());
    assert!(handle.all::<Database>().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_with_what_it_waits_for_or_with_a_failure_in_the_background() {
    let begun = Instant::now();
    let running = graph(false).start().await.unwrap();
    running.run_until(sleep(ms(40))).await.unwrap();
    assert_eq!(begun.elapsed(), ms(50));

    let begun = Instant::now();
    let running = graph(true).start().await.unwrap();
    let error = running
        .run_until(std::future::pending::<()>())
        .await
        .unwrap_err();
    assert_eq!(begun.elapsed(), ms(30));
    assert!(
        error
            .to_string()
            .starts_with("stopped because `Cache` failed"),
        "{error}"
    );
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "no memory"
    );
    assert!(error.stop().unwrap().is_clean());
    assert!(!error.is_cancelled() && !error.is_interrupted() && !error.is_wiring());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_run_before_its_end_is_dropping_the_graph() {
    let running = graph(false).start().await.unwrap();
    let handle = running.handle();
    assert!(
        timeout(ms(5), running.run_until(std::future::pending::<()>()))
            .await
            .is_err()
    );
    assert!(handle.get::<Api>().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_handle_kept_inside_of_the_graph_keeps_no_value_after_the_stop() {
    struct Keeper(
        std::sync::OnceLock<Handle>,
        #[expect(dead_code, reason = "counted from outside")] Arc<()>,
    );
    for drop_only in [false, true] {
        let alive = Arc::new(());
        let mut graph = graph(false);
        graph.value(Keeper(Default::default(), Arc::clone(&alive)));
        graph.add(|lazy: Lazy<Api>| async {
            Ok::<_, BoxError>(Database("x")).inspect(|_| drop(lazy))
        });
        let running = graph.start().await.unwrap();
        let kept = running.get::<Keeper>().unwrap().0.set(running.handle());
        assert!(kept.is_ok());
        if drop_only {
            drop(running);
        } else {
            running.shutdown().await.unwrap();
        }
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
