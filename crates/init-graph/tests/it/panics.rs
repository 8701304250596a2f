//! No panic in code of components reaches the graph, wherever it comes from.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use init_graph::{BoxError, Cause, Context, Dep, Graph, Retry};

use crate::support::{Log, ms};

struct Config;
struct Database;

/// Panics as it is dropped.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

/// An error that panics as it is dropped.
#[derive(Debug)]
struct Spiteful(Grudge);

impl fmt::Debug for Grudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grudge")
    }
}

impl fmt::Display for Spiteful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiteful: {:?}", self.0)
    }
}

impl std::error::Error for Spiteful {}

/// The cause of the only failure of a start.
async fn only_failure(graph: Graph) -> String {
    let error = graph.start().await.unwrap_err();
    assert_eq!(error.failures().len(), 1, "{error}");
    assert!(error.rollback().unwrap().is_clean(), "{error}");
    error.failures()[0].cause().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_panics_is_a_failure_of_its_component() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Config);
    graph
        .add(|| async { Ok::<_, BoxError>(Database) })
        .when(|_: Dep<Config>| -> bool { panic!("no idea") });
    let cause = only_failure(graph).await;
    assert!(cause.contains("no idea"), "{cause}");
    assert!(!log.text().contains("starting Database"), "{}", log.text());
    assert!(log.text().contains("failed Database"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_panics_for_an_optional_component_harms_nobody_else() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Ok::<_, BoxError>(Database) })
        .when(|| -> bool { panic!("no idea") })
        .optional();
    graph.add(|database: Option<Dep<Database>>| async move {
        assert!(database.is_none());
        Ok::<_, BoxError>(Config)
    });
    graph.start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_rule_that_panics_means_no_further_attempt() {
    let mut graph = Graph::new();
    let rule = |_: &Cause| -> bool { panic!("no idea") };
    graph
        .add(|| async { Err::<Config, BoxError>("refused".into()) })
        .retry(Retry::fixed(3, ms(1)).when(rule));
    let error = graph.start().await.unwrap_err();
    let failure = &error.failures()[0];
    assert_eq!(failure.attempts(), 1);
    let cause = failure.source().unwrap().to_string();
    assert_eq!(cause, "refused");
}

#[tokio::test(start_paused = true)]
async fn a_cast_that_panics_is_a_failure_of_its_component() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Ok::<_, BoxError>(Database) })
        .provide(|_: Arc<Database>| -> Arc<dyn Send + Sync> { panic!("not one of those") });
    let cause = only_failure(graph).await;
    assert!(cause.contains("not one of those"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_while_it_is_dropped_does_not_end_the_attempts() {
    let mut graph = Graph::new();
    graph
        .add(|cx: Context| async move {
            match cx.attempt() {
                1 => Err(BoxError::from(Spiteful(Grudge))),
                _ => Ok(Config),
            }
        })
        .retry(Retry::fixed(2, ms(1)));
    let running = graph.start().await.unwrap();
    assert!(running.get::<Config>().is_some());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn values_and_functions_that_panic_while_they_are_dropped_harm_no_stop() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Grudge);
    let kept = Grudge;
    graph.add(move |_: Dep<Grudge>| {
        let _ = &kept;
        async { Ok::<_, BoxError>(Config) }
    });
    let report = graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(report.stopped(), 2);
    assert_eq!(log.at("finished"), log.lines().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_running_graph_with_such_values_can_be_dropped() {
    let mut graph = Graph::new();
    graph.value(Grudge);
    graph.value(Spiteful(Grudge));
    drop(graph.start().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_while_it_is_dropped_unrun_harms_nobody() {
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move {
        let kept = Grudge;
        cx.on_stop(move || {
            let _ = &kept;
            async { Ok(()) }
        });
        Ok::<_, BoxError>(Config)
    });
    drop(graph.start().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_function_that_panics_is_a_failure_of_its_component() {
    let mut graph = Graph::new();
    graph.add_blocking(|| -> Result<Config, BoxError> { panic!("no idea") });
    let cause = only_failure(graph).await;
    assert!(cause.contains("no idea"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn a_view_that_panics_fails_whoever_hands_it_out() {
    trait Door: Send + Sync {}
    struct House;
    impl Door for House {}
    let view = |_: Arc<House>| -> Arc<dyn Door> { panic!("no door") };
    for is_value in [true, false] {
        let mut graph = Graph::new();
        match is_value {
            true => graph.value(House).provide(view),
            false => graph
                .add(|| async { Ok::<_, BoxError>(House) })
                .provide(view),
        };
        let error = graph.start().await.unwrap_err();
        let cause = error.failures()[0].cause();
        assert!(
            matches!(cause, Cause::Panicked(message) if message == "no door"),
            "{error}"
        );
    }
}
