//! What a start leaves in metrics and in the log.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex};

use init_graph::{BoxError, Context, Dep, Graph};
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::time::sleep;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Log, ms};

struct Config;
struct Database;

/// Writes every gauge to a log.
struct Gauges(Log);

struct Written(Log, String);

impl GaugeFn for Written {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.0.say(format!("{} {value}", self.1));
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Gauge::from_arc(Arc::new(Written(
            self.0.clone(),
            format!("{} {}", key.name(), labels.join(",")),
        )))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// For the current thread, which is all that a test's runtime has.
    fn install(&self) -> tracing::subscriber::DefaultGuard {
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
fn gauges_tell_how_long_the_latest_start_and_its_components_took() {
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&Gauges(log.clone()), || {
        runtime.block_on(async { graph().start().await.unwrap().shutdown().await.unwrap() });
    });
    assert_eq!(
        log.lines(),
        [
            "init_graph_node_seconds node=Database 0.25",
            "init_graph_start_seconds  0.25"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_component_logs_is_inside_its_span() {
    let logged = Logged::default();
    let _guard = logged.install();
    graph().start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    let line = text.lines().find(|line| line.ends_with("inside")).unwrap();
    assert!(
        line.contains("init_graph:component{name=\"Database\" stage=\"storage\"}"),
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
