//! `#[component]` is the builder, written beside the function.

use std::time::Duration;

use expect_test::expect;
use init_graph::{Context, Dep, Graph, Result, component};

use crate::support::{Log, ms, without_lines};

struct Config(&'static str);
struct Database(String);
struct Cache;
struct Api;

/// The tables of the service.
#[component(
    name = "the database",
    stage = "storage",
    timeout = "50ms",
    stop_timeout = "1s",
    optional
)]
async fn database(config: Dep<Config>, cx: Context) -> Result<Database> {
    if config.0 == "slow" {
        tokio::time::sleep(ms(500)).await;
    }
    cx.message("connected");
    Ok(Database(config.0.to_owned()))
}

#[component]
async fn api(database: Option<Dep<Database>>) -> Result<Api> {
    assert!(database.is_none_or(|database| !database.0.is_empty()));
    Ok(Api)
}

#[component]
async fn cache(_: Dep<Api>) -> Result<Cache> {
    Ok(Cache)
}

#[component]
async fn circular_config(_: Dep<Cache>) -> Result<Database> {
    Ok(Database(String::new()))
}

#[tokio::test(start_paused = true)]
async fn the_options_of_the_attribute_are_applied_by_add() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Config("slow"));
    graph.add(database);
    graph.add(api);
    let plan = graph.plan().unwrap();
    let node = plan
        .nodes()
        .iter()
        .find(|node| node.name() == "the database")
        .unwrap();
    assert_eq!((node.stage(), node.is_optional()), (Some("storage"), true));
    assert!(node.added_at().file().ends_with("macros.rs"));
    assert_eq!(plan.nodes().last().unwrap().name(), "api");
    let running = graph.start().await.unwrap();
    assert_eq!(running.report().took(), ms(50));
    assert_eq!(log.count("failed the database: did not end within 50ms"), 1);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_given_at_add_wins_over_the_attribute() {
    let mut graph = Graph::new();
    graph.value(Config("slow"));
    graph
        .add(database)
        .named("tables")
        .timeout(Duration::from_secs(1));
    let running = graph.start().await.unwrap();
    assert_eq!(running.get::<Database>().unwrap().0, "slow");
    assert_eq!(running.plan().nodes()[1].name(), "tables");
    running.shutdown().await.unwrap();
}

#[test]
fn errors_name_the_line_of_the_function_too() {
    let mut graph = Graph::new();
    graph.add(api);
    graph.add(cache);
    graph.add(circular_config);
    let error = graph.check().unwrap_err();
    expect![[r#"
        dependency cycle of 3 nodes
          `api` (crates/init-graph/tests/it/macros.rs:N, added at crates/init-graph/tests/it/macros.rs:N) takes `Option<Dep<Database>>` as parameter 1, made by `circular_config`
          `circular_config` (crates/init-graph/tests/it/macros.rs:N, added at crates/init-graph/tests/it/macros.rs:N) takes `Dep<Cache>` as parameter 1, made by `cache`
          `cache` (crates/init-graph/tests/it/macros.rs:N, added at crates/init-graph/tests/it/macros.rs:N) takes `Dep<Api>` as parameter 1, made by `api`
          help: `api` can do without `circular_config`: take `Lazy<Database>` there to break the cycle, and ask for it after the start"#]].assert_eq(&without_lines(&error.to_string()));
}

#[test]
fn the_line_of_a_function_is_that_of_its_name() {
    const LINE: u32 = line!() + 2;
    #[component(name = "lost")]
    async fn lost(_: Dep<Cache>) -> Result<()> {
        Ok(())
    }
    let mut graph = Graph::new();
    graph.add(lost);
    let error = graph.check().unwrap_err().to_string();
    let place = format!("`lost` (crates/init-graph/tests/it/macros.rs:{LINE}, added at");
    assert!(error.contains(&place), "{place} in {error}");
}

#[tokio::test(start_paused = true)]
async fn the_function_can_be_called_by_hand() {
    assert!(matches!(api(None).await, Ok(Api)));
}

#[tokio::test(start_paused = true)]
async fn what_an_enclosing_closure_takes_is_what_counts() {
    let mut graph = Graph::new();
    graph.value(Config("left out"));
    graph.add(|_: Dep<Config>| async { api(None).await });
    let plan = graph.plan().unwrap();
    assert_eq!(plan.dependencies(plan.nodes()[1].id()).len(), 1);
}

/// Functions that another macro writes.
mod written {
    use super::{Config, Context, Dep, Result, component};

    macro_rules! make {
        ($name:ident, $ty:ty, $value:expr, $timeout:literal) => {
            #[component(timeout = $timeout, needs = $ty, tag = $ty)]
            pub(super) async fn $name(config: Dep<Config>, cx: Context) -> Result<$ty> {
                cx.message(config.0.to_owned());
                Ok($value)
            }
        };
    }

    make!(number, u8, 8, "5s");
}

#[test]
fn another_macro_may_write_the_function() {
    let mut graph = Graph::new();
    graph.value(Config(""));
    graph.value(1_u8);
    graph.add(written::number);
    let shown = format!("{graph:?}");
    assert!(shown.contains("timeout: 5s"), "{shown}");
}

/// Names that the attribute could trip over.
mod awkward {
    use super::{Config, Context, Dep, Result, component};

    pub(super) struct Options;
    pub(super) struct Both(pub(super) bool);

    #[component]
    pub(super) async fn options(_: Dep<Config>, mut cx: Context) -> Result<Options> {
        cx = cx.clone();
        cx.message("here");
        Ok(Options)
    }

    #[component]
    #[expect(
        unused_variables,
        reason = "attributes of the function stay on its body"
    )]
    pub(super) async fn both(both: Option<Dep<String>>, options: Dep<Options>) -> Result<Both> {
        Ok(Both(both.is_none()))
    }
}

#[tokio::test(start_paused = true)]
async fn any_names_may_be_used_inside() {
    let mut graph = Graph::new();
    graph.value(Config(""));
    graph.add(awkward::options);
    graph.add(awkward::both).stage("last");
    let running = graph.start().await.unwrap();
    assert!(running.get::<awkward::Options>().is_some());
    assert!(running.get::<awkward::Both>().unwrap().0);
    running.shutdown().await.unwrap();
}

#[test]
fn mistakes_are_compile_errors_at_their_place() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
