//! The events of a real graph become steps.

use std::{sync::Arc, time::Duration};

use init_graph::{After, Context, Dep, Graph};
use startup_progress::{Progress, Readiness, StepStatus};
use tokio::{sync::Notify, time::sleep};

use crate::support::step;

struct Config;
struct Database;
struct Cache;
struct Routes;

async fn database(_config: Dep<Config>, cx: Context) -> init_graph::Result<Database> {
    cx.on_stop(|| async { Ok(()) });
    cx.progress(1, 4);
    cx.message("migrating");
    sleep(Duration::from_millis(40)).await;
    Ok(Database)
}

async fn cache(_config: Dep<Config>) -> init_graph::Result<Cache> {
    sleep(Duration::from_millis(10)).await;
    Ok(Cache)
}

async fn routes(
    _database: Dep<Database>,
    _cache: Option<Dep<Cache>>,
) -> init_graph::Result<Routes> {
    Ok(Routes)
}

async fn no_cache(_config: Dep<Config>) -> init_graph::Result<Cache> {
    sleep(Duration::from_millis(10)).await;
    Err("connection refused".into())
}

#[tokio::test(start_paused = true)]
async fn every_node_is_a_step_from_plan_to_stop() {
    let progress = Progress::new("test");
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(database).named("database").stage("storage");
    graph.add(cache).named("cache");
    graph.add(routes).named("routes");
    graph.observe(progress.observer());

    let starting = graph.start();
    tokio::pin!(starting);
    tokio::select! {
        _ = &mut starting => panic!("the database takes 40 ms"),
        () = sleep(Duration::from_millis(20)) => {}
    }
    let running = step(&progress, "database");
    assert_eq!(running.status, StepStatus::Running);
    assert_eq!(running.stage.as_deref(), Some("storage"));
    assert_eq!((running.current, running.total), (1, Some(4)));
    assert_eq!(running.message.as_deref(), Some("migrating"));
    assert!(
        running.dependencies.is_empty(),
        "a value is nothing to wait for"
    );
    assert_eq!(progress.snapshot().steps.len(), 3, "a value is no step");
    let routes = step(&progress, "routes");
    assert_eq!(
        routes.status,
        StepStatus::Pending,
        "announced before it runs"
    );
    assert_eq!(routes.dependencies, ["database", "cache"]);

    let running = starting.await.expect("nothing fails");
    let took = step(&progress, "database");
    assert_eq!((took.status, took.took_ms), (StepStatus::Done, Some(40)));
    assert_eq!(
        progress.readiness(),
        Readiness::Starting,
        "ready is the service's own word"
    );
    assert_eq!(progress.snapshot().percent, 75);
    progress.ready();

    progress.drain();
    running.shutdown().await.expect("nothing fails");
    assert_eq!(step(&progress, "database").status, StepStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn an_optional_failure_is_shown_and_does_not_fail_the_service() {
    let progress = Progress::new("test");
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(database).named("database");
    graph.add(no_cache).named("cache").optional();
    graph.add(routes).named("routes");
    graph.observe(progress.observer());
    let _running = graph.start().await.expect("the cache is optional");
    let cache = step(&progress, "cache");
    assert_eq!(cache.status, StepStatus::Failed);
    assert_eq!(cache.error.as_deref(), Some("connection refused"));
    assert_eq!(progress.readiness(), Readiness::Starting);
    assert!(progress.ready());
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_fails_the_service_with_its_reason() {
    let progress = Progress::new("test");
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(database).named("database");
    graph.add(no_cache).named("cache");
    graph.add(routes).named("routes");
    graph.observe(progress.observer());
    assert!(graph.start().await.is_err());
    let snapshot = progress.snapshot();
    assert_eq!(snapshot.status, Readiness::Failed);
    let reason = snapshot.reason.expect("a reason");
    assert!(reason.contains("connection refused"), "{reason}");
    assert!(reason.contains("cache"), "{reason}");
    assert_eq!(step(&progress, "cache").status, StepStatus::Failed);
    assert_eq!(step(&progress, "database").status, StepStatus::Cancelled);
    assert_eq!(step(&progress, "routes").status, StepStatus::Skipped);
    assert!(snapshot.steps.iter().all(|step| step.status.is_over()));
}

#[tokio::test(start_paused = true)]
async fn a_failed_stop_is_shown() {
    async fn stubborn(cx: Context) -> init_graph::Result<Database> {
        cx.on_stop(|| async { Err("still busy".into()) });
        Ok(Database)
    }
    let progress = Progress::new("test");
    let mut graph = Graph::new();
    graph.add(stubborn).named("database");
    graph.observe(progress.observer());
    let running = graph.start().await.expect("the start is well");
    assert!(running.shutdown().await.is_err());
    let database = step(&progress, "database");
    assert_eq!(database.status, StepStatus::Failed);
    let error = database.error.expect("an error");
    assert!(
        error.starts_with("stop: ") && error.contains("still busy"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_graphs_share_one_progress() {
    async fn first() -> init_graph::Result<Database> {
        Ok(Database)
    }
    async fn second() -> init_graph::Result<Cache> {
        Err("on purpose".into())
    }
    let progress = Progress::new("test");
    for fails in [false, true] {
        let mut graph = Graph::new();
        match fails {
            false => graph.add(first).named("first"),
            true => graph.add(second).named("second").optional(),
        };
        graph.observe(progress.observer());
        let _running = graph.start().await.expect("the failing one is optional");
    }
    assert_eq!(step(&progress, "first").status, StepStatus::Done);
    assert_eq!(step(&progress, "second").status, StepStatus::Failed);
}

#[tokio::test(start_paused = true)]
async fn order_without_a_value_is_a_dependency_too() {
    async fn late(_after: After<Database>) -> init_graph::Result<Routes> {
        Ok(Routes)
    }
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let progress = Progress::new("test");
    let mut graph = Graph::new();
    graph
        .add(move || {
            let gate = Arc::clone(&opened);
            async move {
                gate.notified().await;
                Ok::<_, init_graph::BoxError>(Database)
            }
        })
        .named("database");
    graph.add(late).named("late");
    graph.observe(progress.observer());
    let (started, ()) = tokio::join!(graph.start(), async {
        sleep(Duration::from_millis(5)).await;
        assert_eq!(step(&progress, "late").status, StepStatus::Pending);
        assert_eq!(step(&progress, "late").dependencies, ["database"]);
        gate.notify_one();
    });
    assert!(started.is_ok());
    assert_eq!(step(&progress, "late").started_ms, Some(5));
}
