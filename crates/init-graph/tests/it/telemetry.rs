//! What a start leaves in metrics and in the log.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use init_graph::{BoxError, Context, Dep, Event, Graph, Retry};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use tokio::time::{Instant, sleep};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Log, ms};

struct Config;
struct Database;

/// Writes every gauge and every counter to a log.
struct Metrics(Log);

struct Written(Log, String);

impl Written {
    fn of(log: &Log, key: &Key) -> Arc<Self> {
        let labels = key.labels();
        let labels: Vec<_> = labels
            .map(|label| format!(" {}={}", label.key(), label.value()))
            .collect();
        let name = format!("{}{}", key.name(), labels.concat());
        Arc::new(Self(log.clone(), name))
    }
}

impl GaugeFn for Written {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.0.say(format!("{} {value}", self.1));
    }
}

impl CounterFn for Written {
    fn increment(&self, value: u64) {
        self.0.say(format!("{} +{value}", self.1));
    }
    fn absolute(&self, _: u64) {}
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Written::of(&self.0, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Written::of(&self.0, key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// What `run` leaves in metrics, on a runtime of this thread alone.
fn measured(run: impl Future<Output = ()>) -> Vec<String> {
    let log = Log::default();
    metrics::with_local_recorder(&Metrics(log.clone()), || paused().block_on(run));
    log.lines()
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// What was logged, as text.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// For the current thread, which is all that a test's runtime has.
    pub(crate) fn install(&self) -> tracing::subscriber::DefaultGuard {
        // While there is only one subscriber, what another thread logs for the first time is off for good if that
        // thread has none. So there are always two.
        static OTHER: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
            tracing::Dispatch::new(
                tracing_subscriber::fmt()
                    .with_writer(std::io::sink)
                    .finish(),
            )
        });
        LazyLock::force(&OTHER);
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(writer)
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn graph() -> Graph {
    let mut graph = Graph::new();
    graph.value(Config);
    graph
        .add(|cx: Context, _: Dep<Config>| async move {
            cx.on_stop(|| async { Ok(()) });
            sleep(ms(250)).await;
            tracing::info!("inside");
            Ok::<_, BoxError>(Database)
        })
        .stage("storage");
    graph
}

#[test]
fn gauges_tell_how_long_the_latest_start_its_components_and_the_stop_took() {
    let measured = measured(async {
        let mut graph = graph();
        graph
            .add(|cx: Context| async move {
                cx.on_stop(|| async {
                    sleep(ms(125)).await;
                    Ok(())
                });
                Ok::<_, BoxError>(())
            })
            .named("slow to stop");
        graph.start().await.unwrap().shutdown().await.unwrap();
    });
    let expected = [
        "init_graph_start_seconds 0.25",
        "init_graph_node_seconds node=Database 0.25",
        "init_graph_node_seconds node=slow to stop 0",
        "init_graph_stop_seconds 0.125",
    ];
    assert_eq!(measured, expected);
}

#[test]
fn counters_tell_of_failures_and_gauges_of_what_was_ready_before() {
    let measured = measured(async {
        let mut graph = graph();
        graph.add(|_: Dep<Database>| async { Err::<(), _>(BoxError::from("refused")) });
        graph.start().await.unwrap_err();
    });
    let expected = [
        "init_graph_failures_total +1",
        "init_graph_stop_seconds 0",
        "init_graph_node_seconds node=Database 0.25",
    ];
    assert_eq!(measured, expected);
}

#[test]
fn components_of_a_large_graph_have_no_series_each() {
    let measured = measured(async {
        let mut graph = Graph::new();
        for at in 0..1_001 {
            graph.node(format!("node {at}"));
        }
        graph.start().await.unwrap().shutdown().await.unwrap();
    });
    let expected = ["init_graph_start_seconds 0", "init_graph_stop_seconds 0"];
    assert_eq!(measured, expected);
}

/// A recorder with a fault of its own.
struct Broken;

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("on purpose")
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_that_panics_costs_the_metrics_and_nothing_else() {
    let run = async { graph().start().await.unwrap().shutdown().await.unwrap() };
    let report = metrics::with_local_recorder(&Broken, || paused().block_on(run));
    assert_eq!(report.stopped(), 2);
}

/// Takes a moment for each event, by the wall clock.
fn dawdles(_: &Event<'_>) {
    let begun = Instant::now();
    while begun.elapsed() < ms(3) {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn an_observer_that_holds_up_the_start_is_named_once() {
    let logged = Logged::default();
    let _guard = logged.install();
    let mut graph = Graph::new();
    graph.value(Config);
    graph.observe(dawdles);
    graph.start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(warnings[0].contains("telemetry::dawdles"), "{text}");
    assert!(warnings[0].contains("telemetry.rs:"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_is_named_once() {
    let logged = Logged::default();
    let _guard = logged.install();
    let mut graph = Graph::new();
    graph.value(Config);
    graph.observe(|_: &Event<'_>| panic!("on purpose"));
    graph.start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    assert_eq!(text.matches("panicked").count(), 1, "{text}");
    assert!(text.contains("telemetry.rs:"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_component_logs_is_inside_its_span() {
    let logged = Logged::default();
    let _guard = logged.install();
    graph().start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    let line = text.lines().find(|line| line.ends_with("inside")).unwrap();
    assert!(
        line.contains("init_graph:component{name=\"Database\" stage=\"storage\" attempt=1}"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_graph_dropped_without_shutdown_is_a_warning() {
    let logged = Logged::default();
    let _guard = logged.install();
    drop(graph().start().await.unwrap());
    let text = logged.text();
    assert!(
        text.contains("WARN") && text.contains("dropped without shutdown"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_graph_that_was_shut_down_is_no_warning() {
    let logged = Logged::default();
    let _guard = logged.install();
    graph().start().await.unwrap().shutdown().await.unwrap();
    assert!(!logged.text().contains("WARN"), "{}", logged.text());
}

/// An error of a component whose text cannot be had.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("on purpose")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn a_failure_whose_text_panics_while_it_is_logged_still_fails_the_start() {
    let _guard = Logged::default().install();
    let mut graph = Graph::new();
    graph.add(|| async { Err::<Database, _>(Unspeakable) });
    let error = graph.start().await.unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert_eq!(error.failures()[0].node().name(), "Database");
}

#[tokio::test(start_paused = true)]
async fn an_optional_failure_whose_text_panics_holds_up_nobody() {
    let _guard = Logged::default().install();
    let mut graph = Graph::new();
    graph
        .add(|| async { Err::<Database, _>(Unspeakable) })
        .optional();
    graph.add(|database: Option<Dep<Database>>| async move {
        Ok::<_, BoxError>(format!("with a database: {}", database.is_some()))
    });
    let running = graph.start().await.unwrap();
    assert_eq!(*running.get::<String>().unwrap(), "with a database: false");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_hook_whose_error_panics_while_it_is_logged_does_not_end_the_stop() {
    let _guard = Logged::default().install();
    let log = Log::default();
    let mut graph = Graph::new();
    let stopped = log.clone();
    graph.add(move |cx: Context| {
        let stopped = stopped.clone();
        cx.on_stop(|| async move {
            stopped.say("config stopped");
            Ok(())
        });
        async { Ok::<_, BoxError>(Config) }
    });
    graph.add(|cx: Context, _: Dep<Config>| async move {
        cx.on_stop(|| async { Err(Unspeakable.into()) });
        Ok::<_, BoxError>(Database)
    });
    let running = graph.start().await.unwrap();
    let error = running.shutdown().await.unwrap_err();
    assert_eq!(error.report().failures().len(), 1);
    assert_eq!(error.report().stopped(), 2);
    assert_eq!(log.lines(), ["config stopped"]);
}

#[test]
fn counters_tell_of_retries_stop_failures_and_what_was_ready_later() {
    let measured = measured(async {
        let mut graph = Graph::new();
        graph
            .add(|cx: Context| async move {
                cx.on_stop(|| async { Err("stuck".into()) });
                match cx.attempt() {
                    1 => Err("not yet".into()),
                    _ => Ok::<_, BoxError>(Config),
                }
            })
            .named("config")
            .retry(Retry::fixed(2, ms(1)));
        graph
            .add(|_: Dep<Config>| async {
                sleep(ms(500)).await;
                Ok::<_, BoxError>(Database)
            })
            .named("database")
            .background();
        let running = graph.start().await.unwrap();
        sleep(ms(1_000)).await;
        running.shutdown().await.unwrap_err();
    });
    let expected = [
        "init_graph_retries_total +1",
        "init_graph_start_seconds 0.001",
        "init_graph_node_seconds node=config 0",
        "init_graph_node_seconds node=database 0.5",
        "init_graph_stop_failures_total +1",
        "init_graph_stop_seconds 0",
    ];
    assert_eq!(measured, expected);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_has_a_span_of_its_own() {
    let logged = Logged::default();
    let _guard = logged.install();
    let mut graph = Graph::new();
    graph
        .add(|cx: Context| async move {
            match cx.attempt() {
                1 => Err("not yet".into()),
                _ => {
                    tracing::info!("inside");
                    Ok::<_, BoxError>(Config)
                }
            }
        })
        .named("config")
        .retry(Retry::fixed(2, ms(1)));
    graph.start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    let line = text.lines().find(|line| line.ends_with("inside")).unwrap();
    assert!(line.contains("attempt=2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_hook_logs_is_inside_its_span() {
    let logged = Logged::default();
    let _guard = logged.install();
    let mut graph = Graph::new();
    graph
        .add(|cx: Context| async move {
            cx.on_stop(|| async {
                tracing::info!("inside");
                Ok(())
            });
            Ok::<_, BoxError>(Config)
        })
        .stage("storage");
    graph.start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    let line = text.lines().find(|line| line.ends_with("inside")).unwrap();
    let span = "init_graph_stop:component_stop{name=\"Config\" stage=\"storage\"}";
    assert!(line.contains(span), "{text}");
}
