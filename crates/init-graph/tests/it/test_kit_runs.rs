//! The test kit that lets a graph run: scripts, injected faults, virtual time and the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expect_test::expect;
use init_graph::testing::{self, EditErrorKind, EventLog, Fault, Script, What};
use init_graph::{BoxError, Cause, Context, Graph, GraphError, Policy, Result, Retry};
use tokio::time::Instant;

use crate::support::ms;
use crate::test_kit::{Config, Database};

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
