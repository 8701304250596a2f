//! The test kit that changes a graph: fakes in place of components, wrappers around them, and parts of a graph.

use std::sync::Arc;

use crate::support::without_lines;
use expect_test::{Expect, expect};
use init_graph::testing::{self, EditErrorKind};
use init_graph::{All, BoxError, Cause, Dep, Graph, GraphError, Result, WiringErrorKind};

trait Clock: Send + Sync {
    fn now(&self) -> u32;
}

struct SystemClock;
struct FakeClock(u32);

impl Clock for SystemClock {
    fn now(&self) -> u32 {
        unreachable!("no test looks at the real clock")
    }
}

impl Clock for FakeClock {
    fn now(&self) -> u32 {
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct Config;
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Database(pub(crate) &'static str);
#[derive(Debug, PartialEq)]
struct Api(String);
struct Blue;

async fn config() -> Result<Config> {
    Ok(Config)
}

async fn database(_: Dep<Config>) -> Result<Database> {
    Err("there is none in tests".into())
}

async fn api(db: Dep<Database>) -> Result<Api> {
    Ok(Api(format!("on {}", db.0)))
}

fn service() -> Graph {
    let mut graph = Graph::new();
    graph.add(config);
    graph.add(database);
    graph.add(api);
    graph
}

fn names(graph: &Graph) -> Vec<String> {
    let plan = graph.plan().unwrap();
    plan.nodes()
        .iter()
        .map(|node| node.name().to_owned())
        .collect()
}

fn check(error: &impl std::fmt::Display, expected: &Expect) {
    expected.assert_eq(&without_lines(&error.to_string()));
}

// === replace ===

#[tokio::test(start_paused = true)]
async fn a_replaced_component_does_not_run_and_its_consumers_get_the_fake() -> Result<()> {
    let mut graph = service();
    graph.replace::<Database>(Database("a fake"))?;
    let running = graph.start().await?;
    assert_eq!(
        running.get::<Api>().as_deref(),
        Some(&Api("on a fake".into()))
    );
    running.shutdown().await?;
    Ok(())
}

#[test]
fn a_replaced_component_keeps_its_name_and_loses_its_needs() -> Result<()> {
    let mut graph = Graph::new();
    graph.node("first");
    // Without the replacement nobody provides `Config`.
    graph
        .add(database)
        .after("first")
        .when(|_: Dep<Config>| true);
    graph.add(api).after("database");
    graph.replace::<Database>(Database("a fake"))?;
    let plan = graph.plan()?;
    let node = plan.nodes().iter().find(|node| node.name() == "database");
    let node = node.ok_or("the name is gone")?;
    assert!(plan.dependencies(node.id()).is_empty());
    assert!(node.is_value());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_trait_object_is_replaced_by_its_own_type_and_not_by_that_of_the_fake() -> Result<()> {
    let mut graph = Graph::new();
    graph
        .value(SystemClock)
        .provide(|clock: Arc<SystemClock>| clock as Arc<dyn Clock>);
    graph.add(async |clock: Dep<dyn Clock>| Ok::<_, BoxError>(clock.now()));

    let error = graph.replace::<FakeClock>(FakeClock(1)).unwrap_err();
    assert_eq!(error.kind(), EditErrorKind::Missing);
    assert!(error.place().file().ends_with("test_kit.rs"));
    check(
        &error,
        &expect![[r#"
        nothing provides `FakeClock`; there are `SystemClock` (crates/init-graph/tests/it/test_kit.rs:N), `u32` (crates/init-graph/tests/it/test_kit.rs:N)
          help: name the type that the consumers take, not that of the fake
          asked for at crates/init-graph/tests/it/test_kit.rs:N"#]],
    );

    graph.replace::<dyn Clock>(Arc::new(FakeClock(7)) as Arc<dyn Clock>)?;
    let running = graph.start().await?;
    assert_eq!(running.get::<u32>().as_deref(), Some(&7));
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn views_of_a_replaced_value_are_made_of_the_fake() -> Result<()> {
    let mut graph = Graph::new();
    graph
        .value(FakeClock(1))
        .provide(|clock: Arc<FakeClock>| clock as Arc<dyn Clock>);
    graph.add(async |clock: Dep<dyn Clock>| Ok::<_, BoxError>(clock.now()));
    graph.replace::<FakeClock>(FakeClock(9))?;
    let running = graph.start().await?;
    assert_eq!(running.get::<u32>().as_deref(), Some(&9));
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tag_stays_with_the_fake() -> Result<()> {
    let mut graph = Graph::new();
    graph.value(Database("plain"));
    graph.value(Database("blue")).named("blue").tagged::<Blue>();
    graph.add(async |db: Dep<Database, Blue>| Ok::<_, BoxError>(Api(db.0.into())));
    graph.replace_named::<Database>("blue", Database("fake"))?;
    let running = graph.start().await?;
    assert_eq!(running.get::<Api>().as_deref(), Some(&Api("fake".into())));
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_several_providers_the_unnamed_one_is_replaced() -> Result<()> {
    let mut graph = Graph::new();
    graph.value(Database("replica")).named("replica");
    graph.value(Database("primary"));
    graph.replace::<Database>(Database("fake"))?;
    graph.add(async |all: All<Database>| {
        Ok::<_, BoxError>(all.iter().map(|db| db.0).collect::<Vec<_>>())
    });
    let running = graph.start().await?;
    let all = running.get::<Vec<&'static str>>();
    assert_eq!(all.as_deref(), Some(&vec!["replica", "fake"]));
    running.shutdown().await?;
    Ok(())
}

#[test]
fn what_cannot_be_replaced_says_why_and_where() {
    let mut graph = Graph::new();
    graph.value(Database("one")).named("one");
    graph.value(Database("two")).named("two");
    graph.add(config);
    let error = graph.replace::<Database>(Database("fake")).unwrap_err();
    assert_eq!(error.kind(), EditErrorKind::Ambiguous);
    check(
        &error,
        &expect![[r#"
        2 components provide `Database`: `one` (crates/init-graph/tests/it/test_kit.rs:N), `two` (crates/init-graph/tests/it/test_kit.rs:N)
          help: choose one by its name, with the call that takes a name
          asked for at crates/init-graph/tests/it/test_kit.rs:N"#]],
    );
    let error = graph
        .replace_named::<Database>("tow", Database("fake"))
        .unwrap_err();
    assert_eq!(error.kind(), EditErrorKind::Missing);
    check(
        &error,
        &expect![[r#"
        there is no component named `tow`
          help: names are those given by `named`, or the functions' own
          asked for at crates/init-graph/tests/it/test_kit.rs:N"#]],
    );
    let error = graph
        .replace_named::<Database>("config", Database("fake"))
        .unwrap_err();
    assert_eq!(error.kind(), EditErrorKind::OtherType);
    check(
        &error,
        &expect![[r#"
        `config` makes `Config`, not `Database`
          asked for at crates/init-graph/tests/it/test_kit.rs:N"#]],
    );
    let error = graph
        .replace_with::<Config, _>(async || Ok::<_, BoxError>(1_u32))
        .unwrap_err();
    assert_eq!(error.kind(), EditErrorKind::OtherType);
    check(
        &error,
        &expect![[r#"
        the replacement makes `u32`, not `Config`
          asked for at crates/init-graph/tests/it/test_kit.rs:N"#]],
    );
}

#[tokio::test(start_paused = true)]
async fn a_replacement_may_be_a_component_with_parameters_and_make_a_trait_object() -> Result<()> {
    let mut graph = service();
    graph.value_arc::<dyn Clock>(Arc::new(SystemClock));
    graph.replace_with::<Database, _>(async |clock: Dep<dyn Clock>| {
        assert_eq!(clock.now(), 3);
        Ok::<_, BoxError>(Database("made"))
    })?;
    graph.replace_with::<dyn Clock, _>(async || {
        Ok::<_, BoxError>(Arc::new(FakeClock(3)) as Arc<dyn Clock>)
    })?;
    let running = graph.start().await?;
    assert_eq!(
        running.get::<Api>().as_deref(),
        Some(&Api("on made".into()))
    );
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_value_is_replaced_by_name() -> Result<()> {
    let mut graph = Graph::new();
    graph
        .node("migrate")
        .run(async || Err::<(), BoxError>("no database".into()));
    graph.replace_named_with::<(), _>("migrate", async || Ok::<_, BoxError>(()))?;
    graph.start().await?.shutdown().await?;
    Ok(())
}

#[cfg(all(unix, feature = "signals"))]
#[test]
fn a_component_may_use_what_needs_the_system_in_virtual_time() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    testing::run(async {
        let mut graph = Graph::new();
        graph.add(async || Ok::<_, BoxError>(signal(SignalKind::window_change())?));
        graph.start().await?.shutdown().await?;
        Ok(())
    })
}

// === decorate ===

#[tokio::test(start_paused = true)]
async fn decorations_change_the_value_for_everybody_in_the_order_of_their_calls() -> Result<()> {
    let mut graph = Graph::new();
    graph.add(async || Ok::<_, BoxError>(1_u32));
    graph.add(async |number: Dep<u32>| Ok::<_, BoxError>(u64::from(*number)));
    graph.decorate(|number: Dep<u32>| *number + 1)?;
    graph.decorate(|number: Dep<u32>| *number * 10)?;
    let running = graph.start().await?;
    assert_eq!(running.get::<u32>().as_deref(), Some(&20));
    assert_eq!(running.get::<u64>().as_deref(), Some(&20));
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn values_blocking_components_and_views_can_be_decorated() -> Result<()> {
    let mut graph = Graph::new();
    graph.value(5_u8);
    graph.add_blocking(|| Ok::<_, BoxError>(6_u16));
    graph
        .value(FakeClock(7))
        .provide(|clock: Arc<FakeClock>| clock as Arc<dyn Clock>);
    graph.decorate(|number: Dep<u8>| *number + 1)?;
    graph.decorate(|number: Dep<u16>| *number + 1)?;
    graph
        .decorate(|clock: Dep<dyn Clock>| Arc::new(FakeClock(clock.now() + 1)) as Arc<dyn Clock>)?;
    let running = graph.start().await?;
    assert_eq!(running.get::<u8>().as_deref(), Some(&6));
    assert_eq!(running.get::<u16>().as_deref(), Some(&7));
    assert_eq!(running.get::<dyn Clock>().map(|clock| clock.now()), Some(8));
    assert_eq!(
        running.get::<FakeClock>().map(|clock| clock.0),
        Some(7),
        "only the view"
    );
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_decoration_that_panics_is_a_failure_of_the_component() -> Result<()> {
    let mut graph = Graph::new();
    graph.add(async || Ok::<_, BoxError>(1_u32)).named("one");
    graph.decorate(|_: Dep<u32>| -> u32 { std::panic::resume_unwind(Box::new("no")) })?;
    let error = graph.start().await.unwrap_err();
    assert!(matches!(error.failures()[0].cause(), Cause::Panicked(text) if text == "no"));
    Ok(())
}

// === only ===

#[test]
fn only_keeps_what_is_needed_over_edges_of_every_kind() -> Result<()> {
    let mut graph = Graph::new();
    graph.node("last");
    graph.add(config).after("first");
    graph.add(database);
    graph.add(api);
    graph.node("first");
    graph
        .add(async |_: init_graph::Lazy<Api>| Ok::<_, BoxError>(1_u32))
        .named("lazy owner");
    graph.only::<u32>()?;
    assert_eq!(
        names(&graph),
        ["first", "config", "database", "api", "lazy owner"]
    );
    Ok(())
}

#[test]
fn only_after_replace_drops_what_the_replaced_one_needed() -> Result<()> {
    let mut graph = service();
    graph.replace::<Database>(Database("fake"))?;
    assert_eq!(names(&graph).len(), 3, "nothing goes unasked");
    graph.only::<Api>()?;
    assert_eq!(names(&graph), ["database", "api"]);
    Ok(())
}

#[test]
fn handles_stay_right_within_the_graph_and_old_ones_are_refused() -> Result<()> {
    let mut graph = Graph::new();
    graph.node("unwanted");
    let first = graph.node("first").id();
    let second = graph.node("second").after(first).id();
    graph.only_named("second")?;
    assert_eq!(names(&graph), ["first", "second"]);
    assert_eq!(graph.plan()?.dependencies(1.into()).len(), 1);
    graph.node("third").after(second);
    let GraphError::Wiring(errors) = graph.check().unwrap_err() else {
        return Err("a handle from before is no longer valid".into());
    };
    assert!(
        errors
            .iter()
            .any(|error| error.kind() == WiringErrorKind::ForeignHandle)
    );
    Ok(())
}

#[test]
fn only_of_a_graph_that_does_not_fit_together_tells_what_is_wrong() {
    let mut graph = Graph::new();
    graph.add(database);
    let error = graph.only::<Database>().unwrap_err();
    assert_eq!(error.kind(), EditErrorKind::Wiring);
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert!(source.is_some_and(|text| text.contains("nothing provides")));
}
