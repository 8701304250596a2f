//! The test kit itself: fakes, scripts, injected faults, virtual time and the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expect_test::{Expect, expect};
use init_graph::testing::{self, EditErrorKind, EventLog, Fault, Script, What};
use init_graph::{
    All, BoxError, Cause, Context, Dep, Graph, GraphError, Policy, Result, Retry, WiringErrorKind,
};
use tokio::time::Instant;

use crate::support::{ms, without_lines};

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
struct Config;
#[derive(Clone, Debug, PartialEq)]
struct Database(&'static str);
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

// === script ===

#[tokio::test(start_paused = true)]
async fn a_script_fails_panics_and_ends_as_the_test_says() -> Result<()> {
    let script = Script::<Database>::new();
    let log = EventLog::new();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(script.component())
        .named("db")
        .retry(Retry::fixed(3, ms(10)));
    let start = tokio::spawn(graph.start());
    assert_eq!(script.started().await, 1);
    script.message("connecting");
    script.progress(1, 4);
    script.fail("refused");
    assert_eq!(script.started().await, 2);
    script.fail("refused");
    assert_eq!(script.started().await, 3);
    script.panic();
    let error = start.await?.unwrap_err();
    assert!(matches!(error.failures()[0].cause(), Cause::Panicked(text) if text == "as scripted"));
    log.verify()?;
    let lines = log.lines();
    assert_eq!(
        lines[1..5],
        [
            "starting db, attempt 1",
            "advanced db: 0 connecting",
            "advanced db: 1/4 connecting",
            "retrying db, attempt 1, 10ms: refused",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_script_is_told_before_its_time_is_kept() -> Result<()> {
    let script = Script::<Database>::new();
    script.fail("the first time");
    script.finish(Database("the second time"));
    let mut graph = Graph::new();
    graph.add(script.component()).retry(Retry::fixed(2, ms(1)));
    let running = graph.start().await?;
    assert_eq!(
        running.get::<Database>().as_deref(),
        Some(&Database("the second time"))
    );
    running.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_script_tells_that_it_was_dropped_and_then_that_it_stops() -> Result<()> {
    let script = Script::<Database>::new();
    let mut graph = Graph::new();
    graph.add(script.component()).named("db");
    let start = tokio::spawn(async move {
        tokio::select! {
            _ = graph.start() => false,
            () = tokio::time::sleep(ms(50)) => true,
        }
    });
    script.started().await;
    assert!(start.await?, "the start is dropped while it waits");
    script.dropped().await;
    script.stopping().await;
    assert!(script.context().is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_script_that_holds_its_stop_ends_it_when_the_test_says() -> Result<()> {
    let (first, second) = (Script::new().holding_stop(), Script::new().holding_stop());
    first.finish(Config);
    second.finish(Database("scripted"));
    let mut graph = Graph::new();
    graph.add(first.component()).named("config");
    graph.add(second.component()).named("db").needs::<Config>();
    let running = graph.start().await?;
    let shutdown = tokio::spawn(running.shutdown());
    second.stopping().await;
    assert!(!shutdown.is_finished());
    second.fail_stop("stuck");
    first.stopping().await;
    first.finish_stop();
    let error = shutdown.await?.unwrap_err();
    assert_eq!(error.report().failures().len(), 1);
    assert_eq!(error.report().failures()[0].node().name(), "db");
    Ok(())
}

// === faults ===

async fn start_with(fault: Fault) -> (Result<(), GraphError>, EventLog, u32) {
    let log = EventLog::new();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.timeout(Duration::from_secs(60));
    graph
        .add(async |cx: Context| {
            cx.on_stop(async || Ok(()));
            tokio::time::sleep(ms(10)).await;
            tokio::time::sleep(ms(10)).await;
            Ok::<_, BoxError>(Database("made"))
        })
        .named("db")
        .retry(Retry::fixed(2, ms(100)));
    let injected = graph.inject(fault).unwrap();
    let result = match graph.start().await {
        Ok(running) => {
            running.shutdown().await.unwrap();
            Ok(())
        }
        Err(error) => Err(error),
    };
    log.verify().unwrap();
    (result, log, injected.count())
}

#[tokio::test(start_paused = true)]
async fn a_fault_happens_at_its_attempt_only() {
    let (result, log, count) = start_with(Fault::fail("db").at_attempt(1)).await;
    assert!(result.is_ok());
    assert_eq!((count, log.count(What::Starting, "db")), (1, 2));
    let (result, log, count) = start_with(Fault::fail("db").at_attempt(2)).await;
    assert!(result.is_ok(), "there is no second attempt");
    assert_eq!((count, log.count(What::Starting, "db")), (0, 1));
    let (result, _, count) = start_with(Fault::fail("db")).await;
    let error = result.unwrap_err();
    assert_eq!(error.failures()[0].attempts(), 2);
    assert_eq!(count, 2);
    let Cause::Failed(cause) = error.failures()[0].cause() else {
        panic!("{error}");
    };
    assert!(cause.is::<testing::InjectedError>());
}

#[tokio::test(start_paused = true)]
async fn a_fault_happens_before_after_and_at_each_await() {
    let fails = |fault: Fault| async move {
        let begun = Instant::now();
        let (result, log, _) = start_with(fault.at_attempt(1)).await;
        assert!(result.is_ok(), "the second attempt is well");
        let first = log
            .entries()
            .into_iter()
            .find(|entry| entry.event.what == What::Retrying);
        let _ = begun;
        first.map(|entry| entry.at)
    };
    assert_eq!(fails(Fault::fail("db").before()).await, Some(ms(0)));
    assert_eq!(fails(Fault::fail("db").at_await(1)).await, Some(ms(0)));
    assert_eq!(fails(Fault::fail("db").at_await(2)).await, Some(ms(10)));
    assert_eq!(
        fails(Fault::fail("db").at_await(3)).await,
        None,
        "it waits twice"
    );
    assert_eq!(fails(Fault::fail("db").after()).await, Some(ms(20)));
}

#[tokio::test(start_paused = true)]
async fn panics_hangs_delays_and_cancels_can_be_injected() {
    let (result, _, _) = start_with(Fault::panic("db").at_await(2)).await;
    let error = result.unwrap_err();
    assert!(matches!(error.failures()[0].cause(), Cause::Panicked(_)));
    let (result, _, _) = start_with(Fault::hang("db").after()).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error.failures()[0].cause(), Cause::Deadline(_)),
        "{error}"
    );
    let begun = Instant::now();
    let (result, _, _) = start_with(Fault::delay("db", ms(500)).at_await(1)).await;
    assert!(result.is_ok());
    assert_eq!(begun.elapsed(), ms(510), "its own timer runs meanwhile");
    let (result, _, _) = start_with(Fault::cancel("db").at_await(1)).await;
    assert!(result.unwrap_err().is_cancelled());
}

#[test]
fn a_fault_needs_somebody_to_happen_to() {
    let mut graph = Graph::new();
    graph.value(Config).named("config");
    graph.node("point");
    let missing = graph.inject(Fault::fail("db")).unwrap_err();
    assert_eq!(missing.kind(), EditErrorKind::Missing);
    for name in ["config", "point"] {
        let error = graph.inject(Fault::fail(name)).unwrap_err();
        assert_eq!(error.kind(), EditErrorKind::NoInitialiser);
    }
}

#[test]
fn a_blocking_component_bears_every_fault() {
    let tried = [
        Fault::fail("model"),
        Fault::panic("model").after(),
        Fault::hang("model"),
        Fault::cancel("model"),
        Fault::delay("model", ms(100)).after(),
    ];
    for fault in tried {
        let name = fault.to_string();
        let delayed = name.contains("waits");
        let result = testing::run(async {
            let mut graph = Graph::new();
            graph.timeout(Duration::from_secs(60));
            graph
                .add_blocking(|| Ok::<_, BoxError>(1_u32))
                .named("model");
            let injected = graph.inject(fault).unwrap();
            let result = graph.start().await;
            assert_eq!(injected.count(), 1, "{name}");
            match result {
                Ok(running) => running.shutdown().await.map(drop).is_ok(),
                Err(_) => false,
            }
        });
        assert_eq!(result, delayed, "{name}");
    }
}

// === time and log ===

#[test]
fn an_hour_of_virtual_time_is_over_at_once_and_exact() {
    let took = testing::run(async {
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        begun.elapsed()
    });
    assert_eq!(took, Duration::from_secs(3_600));
}

#[tokio::test(start_paused = true)]
async fn the_log_knows_orders_and_counts() -> Result<()> {
    let log = EventLog::new();
    let mut graph = Graph::new();
    graph.policy(Policy::KeepGoing);
    graph.observe(log.clone());
    graph.node("a").run(async || Ok::<_, BoxError>(()));
    graph
        .node("b")
        .after("a")
        .run(async || Err::<(), BoxError>("no".into()))
        .optional();
    graph.node("c").after("b");
    graph.start().await?.shutdown().await?;
    log.verify()?;
    log.assert_started_before("a", "c");
    log.assert_stopped_in_reverse();
    assert_eq!(log.order_of(What::Starting), ["a", "b", "c"]);
    assert_eq!(log.order_of(What::Stopping), ["c", "a"]);
    assert_eq!(log.count(What::Failed, "b"), 1);
    assert_eq!(log.count_all(What::Ready), 2);
    Ok(())
}

/// The log is an observer like any other, so a run that breaks the rules can be told to it.
#[test]
fn the_log_finds_what_breaks_the_rules() {
    let log = EventLog::new();
    let mut graph = Graph::new();
    let seen = Arc::new(AtomicU32::new(0));
    let (told, counter) = (log.clone(), Arc::clone(&seen));
    // Everything but the first `Ready`.
    graph.observe(move |event: &init_graph::Event<'_>| {
        use init_graph::Observer as _;
        let ready = matches!(event, init_graph::Event::Ready { .. });
        if !ready || counter.fetch_add(1, Ordering::Relaxed) > 0 {
            told.on_event(event);
        }
    });
    graph.node("a");
    graph.node("b").after("a");
    testing::run(async { graph.start().await.unwrap().shutdown().await.unwrap() });
    let violations = log.verify().unwrap_err();
    expect![[r#"
        event 2: `b` begins before `a` is settled
        event 8: `stopping a` while it is Running(1)"#]]
    .assert_eq(&violations.list().join("\n"));
}
