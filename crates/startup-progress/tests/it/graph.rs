//! The events of a real graph become steps.

use std::{sync::Arc, time::Duration};

use init_graph::{After, Class, Context, Dep, Event, Graph, Lazy, Node, Observer, Plan};
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

/// Lets an observer hear events as a graph of this plan would cause them.
struct Told {
    progress: Progress,
    observer: startup_progress::GraphObserver,
    plan: Plan,
}

impl Told {
    fn new(graph: &Graph) -> Self {
        let progress = Progress::new("test");
        let observer = progress.observer();
        let plan = graph.plan().expect("the graph is sound");
        observer.on_event(&Event::Planned { plan: &plan });
        Self {
            progress,
            observer,
            plan,
        }
    }

    fn hear(&self, event: &Event<'_>) {
        self.observer.on_event(event);
    }

    fn node(&self, name: &str) -> &Node {
        let mut nodes = self.plan.nodes().iter();
        nodes.find(|node| node.name() == name).expect("a node")
    }

    fn message(&self, name: &str) -> String {
        step(&self.progress, name).message.unwrap_or_default()
    }
}

fn of_database() -> Told {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(database).named("database");
    Told::new(&graph)
}

#[test]
fn a_wait_for_another_attempt_is_the_message() {
    let told = of_database();
    let node = told.node("database");
    told.hear(&Event::Starting { node, attempt: 1 });
    told.hear(&Event::Advanced {
        node,
        current: 3,
        total: Some(4),
        message: Some("migrating"),
    });
    let delays = [
        (1, 4_000, "attempt 2 of 4, next in 4 s: refused"),
        (2, 250, "attempt 3 of 4, next in 250 ms: refused"),
        (3, 1_530, "attempt 4 of 4, next in 1.5 s: refused"),
    ];
    for (attempt, delay, expected) in delays {
        let refused = std::io::Error::other("refused");
        told.hear(&Event::Retrying {
            node,
            attempt,
            attempts: 4,
            delay: Duration::from_millis(delay),
            error: &refused,
        });
        assert_eq!(told.message("database"), expected);
        let attempt = attempt + 1;
        told.hear(&Event::Starting { node, attempt });
        assert_eq!(told.message("database"), format!("attempt {attempt} of 4"));
        let again = step(&told.progress, "database");
        assert_eq!(again.status, StepStatus::Running);
        assert_eq!(
            (again.current, again.total),
            (0, None),
            "it begins from nothing"
        );
    }
}

#[test]
fn a_wait_for_a_permit_is_the_message_until_it_is_there() {
    let told = of_database();
    let node = told.node("database");
    told.hear(&Event::Queued {
        node,
        class: &Class::new("db"),
    });
    assert_eq!(told.message("database"), "waits for a permit of class db");
    assert_eq!(step(&told.progress, "database").status, StepStatus::Pending);
    told.hear(&Event::Starting { node, attempt: 1 });
    assert_eq!(told.message("database"), "");
}

#[test]
fn background_steps_and_milestones_are_marked() {
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(cache).named("cache").background();
    graph.add(database).named("database");
    graph.milestone("warm").needs::<Cache>();
    let told = Told::new(&graph);
    let marks = |name| {
        let step = step(&told.progress, name);
        (step.background, step.milestone)
    };
    assert_eq!(marks("database"), (false, false));
    assert!(marks("cache").0);
    assert!(marks("warm").1);
    let json = serde_json::to_string(&step(&told.progress, "database")).expect("JSON");
    assert!(!json.contains("background"), "{json}");
}

#[test]
fn a_lazy_component_is_a_step_once_it_is_used() {
    async fn lazy_routes(_cache: Lazy<Cache>) -> init_graph::Result<Routes> {
        Ok(Routes)
    }
    let mut graph = Graph::new();
    graph.value(Config);
    graph.add(cache).named("cache");
    graph.add(lazy_routes).named("routes");
    let told = Told::new(&graph);
    assert_eq!(told.progress.snapshot().steps.len(), 1);
    let node = told.node("cache");
    told.hear(&Event::Starting { node, attempt: 1 });
    assert_eq!(step(&told.progress, "cache").status, StepStatus::Running);
    let took = Duration::ZERO;
    told.hear(&Event::Ready { node, took });
    assert_eq!(step(&told.progress, "cache").status, StepStatus::Done);
}

#[test]
fn what_blocks_its_thread_is_shown_as_left_behind() {
    let told = of_database();
    let node = told.node("database");
    let took = Duration::ZERO;
    told.hear(&Event::Starting { node, attempt: 1 });
    told.hear(&Event::Abandoned { node, took });
    let shown = step(&told.progress, "database");
    assert_eq!(shown.status, StepStatus::Abandoned);
    assert_eq!(told.message("database"), "blocks its thread; left behind");

    let told = of_database();
    let node = told.node("database");
    told.hear(&Event::Starting { node, attempt: 1 });
    told.hear(&Event::Ready { node, took });
    told.hear(&Event::Stopping { node });
    told.hear(&Event::Abandoned { node, took });
    let shown = step(&told.progress, "database");
    assert_eq!(shown.status, StepStatus::Failed);
    assert_eq!(
        shown.error.as_deref(),
        Some("stop: blocks its thread; left behind")
    );
}

#[test]
fn a_restarted_step_runs_again() {
    let told = of_database();
    let node = told.node("database");
    let took = Duration::ZERO;
    for _ in 0..2 {
        told.hear(&Event::Starting { node, attempt: 1 });
        let shown = step(&told.progress, "database");
        assert_eq!(shown.status, StepStatus::Running);
        assert_eq!(shown.took_ms, None);
        told.hear(&Event::Ready { node, took });
        told.hear(&Event::Stopping { node });
        told.hear(&Event::Stopped { node, took });
        assert_eq!(step(&told.progress, "database").status, StepStatus::Stopped);
    }
}
