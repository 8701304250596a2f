//! What a failed component does to the others.

use std::error::Error as _;
use std::time::Duration;

use expect_test::expect;
use init_graph::{After, BoxError, Cause, Context, Dep, Event, Graph, GraphError, Policy, Result};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

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
async fn a_failed_optional_component_runs_its_hooks_at_once_and_only_once() {
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
    tokio::task::yield_now().await;
    assert_eq!(log.count("undone"), 1);
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

// === policies ===

/// `slow` takes 50 ms, `bad` fails after 10, `behind` needs `bad`, `later` needs `slow`.
fn with_policy(policy: Policy, log: &Log) -> Graph {
    struct Slow;
    struct Bad;
    let mut graph = Graph::new();
    graph.policy(policy);
    graph.observe(log.clone());
    graph
        .add(|cx: Context| async move {
            cx.on_stop(|| async { Ok(()) });
            sleep(ms(50)).await;
            Ok::<_, BoxError>(Slow)
        })
        .named("slow");
    graph
        .add(|| async {
            sleep(ms(10)).await;
            Err::<Bad, _>("no luck")
        })
        .named("bad");
    graph
        .add(|_: Dep<Bad>| async { Ok::<_, BoxError>(()) })
        .named("behind");
    graph
        .add(|_: Dep<Slow>| async { Ok::<_, BoxError>(()) })
        .named("later");
    graph
}

#[tokio::test(start_paused = true)]
async fn drain_lets_what_runs_end_and_begins_nothing_new() {
    let log = Log::default();
    let begun = Instant::now();
    let error = with_policy(Policy::Drain, &log).start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(50));
    assert_eq!(error.failures().len(), 1);
    assert_eq!(error.rollback().unwrap().stopped(), 1);
    expect![[r#"
        planned 4
        starting slow 1
        starting bad 1
        failed bad: no luck
        ready slow
        skipped behind because the start was given up
        skipped later because the start was given up
        start failed: start failed: `bad` failed (added at crates/init-graph/tests/it/failing.rs:N)
        stopping slow
        stopped slow
        finished"#]]
    .assert_eq(&without_lines(&log.text()));
}

#[tokio::test(start_paused = true)]
async fn a_second_failure_while_draining_is_a_cause_as_well() {
    let mut graph = with_policy(Policy::Drain, &Log::default());
    graph
        .add(|| async {
            sleep(ms(30)).await;
            Err::<(), _>("bad luck too")
        })
        .named("worse");
    let error = graph.start().await.unwrap_err();
    let names: Vec<_> = error
        .failures()
        .iter()
        .map(|failure| failure.node().name())
        .collect();
    assert_eq!(names, ["bad", "worse"]);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_when_the_start_is_cancelled() {
    let token = CancellationToken::new();
    let mut graph = with_policy(Policy::Drain, &Log::default());
    graph.cancel_on(token.clone());
    let cancel = async {
        sleep(ms(20)).await;
        token.cancel();
    };
    let begun = Instant::now();
    let (error, ()) = tokio::join!(graph.start(), cancel);
    assert_eq!(begun.elapsed(), ms(20));
    assert_eq!(
        error.unwrap_err().failures().len(),
        1,
        "it had failed before"
    );
}

#[tokio::test(start_paused = true)]
async fn keep_going_starts_all_that_is_not_behind_a_failure() {
    let log = Log::default();
    let running = with_policy(Policy::KeepGoing, &log).start().await.unwrap();
    expect![[r#"
        planned 4
        starting slow 1
        starting bad 1
        failed bad: no luck
        skipped behind because `bad` failed
        ready slow
        starting later 1
        ready later
        started in 50ms
        settled in 50ms"#]]
    .assert_eq(&log.text());
    assert!(running.shutdown().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_optional_failure_triggers_no_policy() {
    for policy in [Policy::FailFast, Policy::Drain, Policy::KeepGoing] {
        let mut graph = Graph::new();
        graph.policy(policy);
        graph
            .add(|| async { Err::<Cache, _>("no luck") })
            .optional();
        graph.add(|| async {
            sleep(ms(10)).await;
            Ok::<_, BoxError>(Warm)
        });
        let running = graph.start().await.unwrap();
        assert!(running.get::<Warm>().is_some());
        running.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_whole_start_is_limited_and_what_it_waited_for_is_named() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.timeout(ms(100));
    graph
        .add(|cx: Context| async move {
            cx.on_stop(|| async { Ok(()) });
            assert_eq!(cx.deadline().unwrap(), Instant::now() + ms(100));
            std::future::pending::<Result<Cache>>().await
        })
        .named("cache");
    graph.add(|_: Dep<Cache>| async { Ok::<_, BoxError>(Warm) });
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(100));
    let [failure] = error.failures() else {
        panic!("{error}")
    };
    assert_eq!(failure.node().name(), "cache");
    assert!(matches!(failure.cause(), Cause::Deadline(limit) if *limit == ms(100)));
    assert_eq!(error.rollback().unwrap().stopped(), 1);
    assert_eq!(log.count("cancelled cache after 100ms"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_in_the_background_may_fail_without_ending_the_rest() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(|| async {
            sleep(ms(50)).await;
            Err::<Cache, _>("no luck")
        })
        .named("cache")
        .background();
    graph
        .add(|_: Dep<Cache>| async { Ok::<_, BoxError>(Warm) })
        .named("warm");
    graph.add(|| async { Ok::<_, BoxError>(Api(true)) });
    let begun = Instant::now();
    let running = graph.start().await.unwrap();
    assert_eq!(begun.elapsed(), ms(0));
    sleep(ms(100)).await;
    log.at("failed cache: no luck");
    log.at("skipped warm because `cache` failed");
    assert!(running.get::<Api>().is_some());
    assert!(log.at("settled in 50ms") > log.at("started in 0ns"));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_main_prints_of_an_error_has_the_causes() {
    #[derive(Debug)]
    struct Refused(std::io::Error);
    impl std::fmt::Display for Refused {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no connection")
        }
    }
    impl std::error::Error for Refused {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let refused = || async { Err::<(), _>(Refused(std::io::Error::other("port 5432 is closed"))) };
    let mut graph = Graph::new();
    graph.node("database").run(refused);
    let error = graph.start().await.unwrap_err();
    expect![[r#"
        start failed: `database` failed (added at crates/init-graph/tests/it/failing.rs:N)
          `database`: no connection: port 5432 is closed"#]]
    .assert_eq(&without_lines(&format!("{error:?}")));

    let mut graph = Graph::new();
    graph.node("server").run(|cx: Context| async move {
        cx.on_stop(|| async { Err("port in use".into()) });
        Ok::<_, BoxError>(())
    });
    let running = graph.start().await.unwrap();
    let error = running.shutdown().await.unwrap_err();
    expect![[r#"
        stop was not clean: `server` failed (added at crates/init-graph/tests/it/failing.rs:N)
          `server`: port in use"#]]
    .assert_eq(&without_lines(&format!("{error:?}")));
}
