//! What a failed component does to the others.

use std::error::Error as _;
use std::time::Duration;

use expect_test::expect;
use init_graph::{After, BoxError, Cause, Context, Dep, Event, Graph, GraphError, Result};
use tokio::time::{Instant, sleep};

use crate::support::{Log, ms, without_lines};

/// Which component is to fail, and how.
#[derive(Clone)]
struct Script {
    fail: &'static str,
    way: Way,
    log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Error,
    Panic,
    Hang,
}

struct N<const I: usize>;

async fn step<const I: usize>(cx: Context, script: Dep<Script>) -> Result<N<I>> {
    let (name, log) = (cx.name().to_owned(), script.log.clone());
    cx.on_stop(move || async move {
        log.say(format!("hook {name}"));
        Ok(())
    });
    sleep(ms(10)).await;
    if cx.name() == script.fail {
        match script.way {
            Way::Error => return Err("no luck".into()),
            Way::Panic => panic!("lost my head"),
            Way::Hang => std::future::pending().await,
        }
    }
    Ok(N)
}

/// n0 and n1 are roots, n2 needs both, n3 needs n1, n4 needs n2 and n3.
fn graph(script: Script) -> Graph {
    type S = Dep<Script>;
    let mut graph = Graph::new();
    graph.stop_timeout(Duration::from_secs(5));
    graph.observe(script.log.clone());
    graph.value(script);
    graph
        .add(|cx, script: S, _: Dep<N<2>>, _: Dep<N<3>>| step::<4>(cx, script))
        .named("n4")
        .timeout(ms(50));
    graph
        .add(|cx, script: S, _: Dep<N<1>>| step::<3>(cx, script))
        .named("n3")
        .timeout(ms(50));
    graph
        .add(|cx, script: S, _: Dep<N<0>>, _: Dep<N<1>>| step::<2>(cx, script))
        .named("n2")
        .timeout(ms(50));
    graph
        .add(|cx, script: S| step::<1>(cx, script))
        .named("n1")
        .timeout(ms(50));
    graph
        .add(|cx, script: S| step::<0>(cx, script))
        .named("n0")
        .timeout(ms(50));
    graph
}

#[tokio::test(start_paused = true)]
async fn whichever_component_fails_everything_that_began_is_undone_once() {
    for fail in ["n0", "n1", "n2", "n3", "n4"] {
        for way in [Way::Error, Way::Panic, Way::Hang] {
            let log = Log::default();
            let error = graph(Script {
                fail,
                way,
                log: log.clone(),
            })
            .start()
            .await
            .unwrap_err();
            let [failure] = error.failures() else {
                panic!("{fail} alone is the cause: {error}")
            };
            assert_eq!(failure.node().name(), fail);
            match failure.cause() {
                Cause::Failed(error) => {
                    assert_eq!((way, error.to_string().as_str()), (Way::Error, "no luck"));
                }
                Cause::Panicked(message) => {
                    assert_eq!((way, message.as_str()), (Way::Panic, "lost my head"));
                }
                Cause::TimedOut(limit) => assert_eq!((way, *limit), (Way::Hang, ms(50))),
                other => panic!("{other:?}"),
            }
            assert!(error.rollback().unwrap().is_clean());
            for name in ["n0", "n1", "n2", "n3", "n4"] {
                let began = log.count(&format!("starting {name} 1"));
                assert_eq!(
                    log.count(&format!("hook {name}")),
                    began,
                    "{name} when {fail} fails:\n{}",
                    log.text()
                );
            }
            for (later, earlier) in [
                ("n4", "n3"),
                ("n4", "n2"),
                ("n3", "n1"),
                ("n2", "n1"),
                ("n2", "n0"),
            ] {
                if log.count(&format!("hook {later}")) == 1 {
                    assert!(
                        log.at(&format!("hook {later}")) < log.at(&format!("hook {earlier}")),
                        "{}",
                        log.text()
                    );
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_cancels_what_runs_and_skips_the_rest() {
    struct Slow;
    struct Bad;
    struct Last;
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|_: Dep<Slow>, _: Dep<Bad>| async { Ok::<_, BoxError>(Last) });
    graph.add(|| async {
        sleep(ms(500)).await;
        Ok::<_, BoxError>(Slow)
    });
    graph.add(|| async {
        sleep(ms(20)).await;
        Err::<Bad, _>("the disk is full")
    });
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(20));
    assert_eq!(
        without_lines(&error.to_string()),
        "start failed: `Bad` failed (added at crates/init-graph/tests/it/failing.rs:N)"
    );
    assert_eq!(error.source().unwrap().to_string(), "the disk is full");
    expect![[r#"
        planned 3
        starting Slow 1
        starting Bad 1
        failed Bad: the disk is full
        cancelled Slow after 20ms
        skipped Last because the start was given up
        start failed: start failed: `Bad` failed (added at crates/init-graph/tests/it/failing.rs:N)
        finished"#]]
    .assert_eq(&without_lines(&log.text()));
}

#[tokio::test(start_paused = true)]
async fn a_component_that_fails_because_others_were_cancelled_is_no_cause() {
    struct Bad;
    struct Watcher;
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(5)).await;
        Err::<Bad, _>("root cause")
    });
    graph.add(|cx: Context| async move {
        cx.cancelled().cancelled().await;
        Err::<Watcher, _>("only a consequence")
    });
    let error = graph.start().await.unwrap_err();
    let names: Vec<_> = error
        .failures()
        .iter()
        .map(|failure| failure.node().name())
        .collect();
    assert_eq!(names, ["Bad"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_counts_the_initialiser_and_not_its_waiting() {
    struct Slow;
    struct Quick;
    let mut graph = Graph::new();
    graph.add(|| async {
        sleep(ms(500)).await;
        Ok::<_, BoxError>(Slow)
    });
    graph
        .add(|_: Dep<Slow>| async {
            sleep(ms(20)).await;
            Ok::<_, BoxError>(Quick)
        })
        .timeout(ms(30));
    let running = graph.start().await.unwrap();
    assert_eq!(running.report().took(), ms(520));
    running.shutdown().await.unwrap();
}

struct Cache;
struct Warm;
struct Api(bool);

async fn cache() -> Result<Cache> {
    Err("connection refused".into())
}

async fn warm_up(_: Dep<Cache>) -> Result<Warm> {
    Ok(Warm)
}

async fn api(cache: Option<Dep<Cache>>, warm: Option<Dep<Warm>>, _: After<Warm>) -> Result<Api> {
    Ok(Api(cache.is_none() && warm.is_none()))
}

#[tokio::test(start_paused = true)]
async fn a_failed_optional_component_takes_its_optional_dependents_with_it_and_nobody_else() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(cache).optional();
    graph.add(warm_up).optional();
    graph.add(api);
    let running = graph.start().await.unwrap();
    assert!(running.get::<Api>().unwrap().0);
    assert!(running.get::<Cache>().is_none());
    expect![[r#"
        planned 3
        starting cache 1
        failed cache: connection refused
        skipped warm_up because `cache` failed
        starting api 1
        ready api
        started in 0ns
        settled in 0ns"#]]
    .assert_eq(&log.text());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_optional_component_runs_its_hooks_at_the_shutdown() {
    let log = Log::default();
    let mut graph = Graph::new();
    let hook_log = log.clone();
    graph
        .add(move |cx: Context| {
            let log = hook_log.clone();
            async move {
                cx.on_stop(move || async move {
                    log.say("undone");
                    Ok(())
                });
                Err::<Cache, _>("half done")
            }
        })
        .optional();
    let running = graph.start().await.unwrap();
    assert_eq!(log.count("undone"), 0);
    running.shutdown().await.unwrap();
    assert_eq!(log.count("undone"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_or_while_being_dropped_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("even the destructor");
        }
    }
    struct A;
    struct B;
    fn explode() -> std::future::Ready<Result<A>> {
        panic!("at once")
    }
    let mut graph = Graph::new();
    graph.add(explode);
    graph.add(|| async {
        let _bomb = Bomb;
        std::future::pending::<()>().await;
        Ok::<_, BoxError>(B)
    });
    let error = graph.start().await.unwrap_err();
    let [failure] = error.failures() else {
        panic!("{error}")
    };
    assert_eq!(failure.cause().to_string(), "panicked: at once");
    assert_eq!(error.rollback().unwrap().stopped(), 0);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_rollback_are_reported_beside_the_cause() {
    struct Good;
    struct Bad;
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move {
        cx.on_stop(|| async { Err("cannot close".into()) });
        Ok::<_, BoxError>(Good)
    });
    graph.add(|_: Dep<Good>| async { Err::<Bad, _>("cause") });
    let error = graph.start().await.unwrap_err();
    assert!(matches!(error, GraphError::Failed(_)) && !error.is_cancelled() && !error.is_wiring());
    let rollback = error.rollback().unwrap();
    assert_eq!(rollback.failures().len(), 1);
    assert_eq!(
        rollback.failures()[0].source().unwrap().to_string(),
        "cannot close"
    );
    assert!(
        error
            .to_string()
            .ends_with("(and 1 error while stopping what had started)"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_event_of_a_failure_carries_the_components_own_error() {
    #[derive(Debug)]
    struct Own;
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("own")
        }
    }
    impl std::error::Error for Own {}
    let log = Log::default();
    let seen = log.clone();
    let mut graph = Graph::new();
    graph.observe(move |event: &Event<'_>| {
        if let Event::Failed { error, .. } = event {
            seen.say(error.downcast_ref::<Own>().is_some());
        }
    });
    graph.add(|| async { Err::<Cache, _>(Own) });
    let error = graph.start().await.unwrap_err();
    assert_eq!(log.lines(), ["true"]);
    assert!(error.source().unwrap().downcast_ref::<Own>().is_some());
}
