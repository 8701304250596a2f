//! What a start leaves in metrics and in the log.

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
