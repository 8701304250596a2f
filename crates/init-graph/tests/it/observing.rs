//! What observers hear, and that they cannot hurt the graph.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;
use init_graph::{BoxError, Context, Dep, Event, Graph};
use tokio::time::sleep;

use crate::support::{Log, ms};

struct Config;
struct Database;
struct Kept(Context);

#[tokio::test(start_paused = true)]
async fn events_tell_the_whole_story_in_order() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Config);
    graph.add(|cx: Context, _: Dep<Config>| async move {
        cx.message("connecting");
        sleep(ms(5)).await;
        cx.progress(3, 10);
        cx.progress(4, None);
        Ok::<_, BoxError>(Database)
    });
    graph.start().await.unwrap().shutdown().await.unwrap();
    expect![[r#"
        planned 2
        starting Config 1
        ready Config
        starting Database 1
        advanced Database 0/None Some("connecting")
        advanced Database 3/Some(10) Some("connecting")
        advanced Database 4/None Some("connecting")
        ready Database
        started in 5ms
        stopping Database
        stopped Database
        stopping Config
        stopped Config
        finished"#]]
    .assert_eq(&log.text());
}

#[tokio::test(start_paused = true)]
async fn progress_after_the_end_of_an_initialiser_is_ignored() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|cx: Context| async move { Ok::<_, BoxError>(Kept(cx)) });
    let running = graph.start().await.unwrap();
    running.get::<Kept>().unwrap().0.progress(1, 2);
    running.get::<Kept>().unwrap().0.message("too late");
    running.shutdown().await.unwrap();
    assert!(!log.text().contains("advanced"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_is_not_called_again_and_the_others_are() {
    let calls = Arc::new(AtomicUsize::new(0));
    let log = Log::default();
    let mut graph = Graph::new();
    let counted = Arc::clone(&calls);
    graph.observe(move |event: &Event<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert!(
            !matches!(event, Event::Ready { .. }),
            "an observer's own fault"
        );
    });
    graph.observe(log.clone());
    graph.value(Config);
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3, "planned, starting, ready");
    assert_eq!(log.at("finished"), log.lines().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_observer_is_an_observer() {
    let log = Arc::new(Log::default());
    let mut graph = Graph::new();
    graph.observe(Arc::clone(&log));
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(log.lines(), ["planned 0", "started in 0ns", "finished"]);
}

#[tokio::test(start_paused = true)]
async fn a_wiring_error_is_heard_as_a_failed_start() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|_: Dep<Config>| async { Ok::<_, BoxError>(Database) });
    graph.start().await.unwrap_err();
    assert!(
        log.text().starts_with("start failed: nothing provides `"),
        "{}",
        log.text()
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_in_events_are_those_of_the_plan() {
    let log = Log::default();
    let seen = log.clone();
    let mut graph = Graph::new();
    graph.observe(move |event: &Event<'_>| match event {
        Event::Planned { plan } => {
            let by_id: HashMap<_, _> = plan
                .nodes()
                .iter()
                .map(|node| (node.id(), node.name()))
                .collect();
            for node in plan.nodes() {
                let ids = plan.dependencies(node.id()).iter();
                let dependencies: Vec<_> = ids.map(|id| by_id[id]).collect();
                assert_eq!(plan.node(node.id()).name(), node.name());
                seen.say(format!(
                    "{} {} {:?}",
                    node.id().index(),
                    node.name(),
                    dependencies
                ));
            }
        }
        Event::Ready { node, .. } => seen.say(format!(
            "{} {:?} {}",
            node.id().index(),
            node.stage(),
            node.is_optional()
        )),
        _ => {}
    });
    graph
        .add(|_: Dep<Config>| async { Ok::<_, BoxError>(Database) })
        .stage("storage")
        .optional();
    graph.value(Config);
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "0 Config []",
            "1 Database [\"Config\"]",
            "0 None false",
            "1 Some(\"storage\") true"
        ]
    );
}
