//! What a shutdown does, and what it never waits for.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use expect_test::expect;
use init_graph::{BoxError, Context, Dep, Graph, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Log, ms, without_lines};

struct Base;
struct Left;
struct Right;
struct Top;

async fn hook(cx: &Context, log: Log, milliseconds: u64) {
    let name = cx.name().to_owned();
    cx.on_stop(move || async move {
        log.say(format!("begin {name}"));
        sleep(ms(milliseconds)).await;
        log.say(format!("end {name}"));
        Ok(())
    });
}

/// `Base`, on it `Left` and `Right`, on these `Top`; each takes 10 ms to stop.
fn diamond(log: &Log) -> Graph {
    let mut graph = Graph::new();
    graph.value(log.clone());
    graph.add(|cx: Context, log: Dep<Log>| async move {
        hook(&cx, (*log).clone(), 10).await;
        Ok::<_, BoxError>(Base)
    });
    graph.add(|cx: Context, log: Dep<Log>, _: Dep<Base>| async move {
        hook(&cx, (*log).clone(), 10).await;
        Ok::<_, BoxError>(Left)
    });
    graph.add(|cx: Context, log: Dep<Log>, _: Dep<Base>| async move {
        hook(&cx, (*log).clone(), 10).await;
        Ok::<_, BoxError>(Right)
    });
    graph.add(
        |cx: Context, log: Dep<Log>, _: Dep<Left>, _: Dep<Right>| async move {
            hook(&cx, (*log).clone(), 10).await;
            Ok::<_, BoxError>(Top)
        },
    );
    graph
}

#[tokio::test(start_paused = true)]
async fn components_stop_in_reverse_order_and_in_parallel() {
    let log = Log::default();
    let running = diamond(&log).start().await.unwrap();
    let begun = Instant::now();
    let report = running.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(30));
    assert_eq!(
        (report.stopped(), report.took(), report.is_clean()),
        (5, ms(30), true)
    );
    assert!(log.at("end Top") < log.at("begin Left").min(log.at("begin Right")));
    assert!(log.at("end Left").max(log.at("end Right")) < log.at("begin Base"));
}

#[tokio::test(start_paused = true)]
async fn the_hooks_of_a_component_run_last_registered_first_even_if_some_fail() {
    struct Server;
    let log = Log::default();
    let hook_log = log.clone();
    let mut graph = Graph::new();
    graph.add(move |cx: Context| {
        let log = hook_log.clone();
        async move {
            for number in 1..=4 {
                let log = log.clone();
                cx.on_stop(move || async move {
                    log.say(number);
                    match number {
                        2 => Err("two".into()),
                        3 => panic!("three"),
                        _ => Ok(()),
                    }
                });
            }
            Ok::<_, BoxError>(Server)
        }
    });
    graph.observe(log.clone());
    let running = graph.start().await.unwrap();
    let error = running.shutdown().await.unwrap_err();
    assert_eq!(
        log.lines()[5..],
        [
            "stopping Server",
            "4",
            "3",
            "2",
            "1",
            "stop failed Server: panicked: three",
            "finished"
        ]
    );
    expect![[r#"
        stop was not clean: `Server` panicked: three (added at crates/init-graph/tests/it/stopping.rs:N); `Server` failed (added at crates/init-graph/tests/it/stopping.rs:N)"#]]
    .assert_eq(&without_lines(&error.to_string()));
    assert_eq!(
        error.report().failures()[1].source().unwrap().to_string(),
        "two"
    );
    expect![[r#"
        stopped 1 node in 0ms
          `Server` panicked: three (added at crates/init-graph/tests/it/stopping.rs:N)
          `Server` failed (added at crates/init-graph/tests/it/stopping.rs:N): two"#]]
    .assert_eq(&without_lines(&error.report().to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_component_that_outlives_its_stop_timeout_holds_up_nobody_else() {
    let log = Log::default();
    let mut graph = Graph::new();
    let (base_log, top_log) = (log.clone(), log.clone());
    graph.add(move |cx: Context| {
        let log = base_log.clone();
        async move {
            hook(&cx, log, 10).await;
            Ok::<_, BoxError>(Base)
        }
    });
    graph
        .add(move |cx: Context, _: Dep<Base>| {
            let log = top_log.clone();
            async move {
                cx.on_stop(move || async move {
                    log.say("the hook behind the stuck one");
                    Ok(())
                });
                cx.on_stop(std::future::pending);
                Ok::<_, BoxError>(Top)
            }
        })
        .stop_timeout(ms(100));
    let running = graph.start().await.unwrap();
    let begun = Instant::now();
    let error = running.shutdown().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(110));
    assert_eq!(
        log.lines(),
        ["the hook behind the stuck one", "begin Base", "end Base"]
    );
    assert_eq!(error.report().failures().len(), 1);
    assert_eq!(
        error.report().failures()[0].cause().to_string(),
        "did not end within 100ms"
    );
}

#[tokio::test(start_paused = true)]
async fn the_whole_stop_ends_in_time_and_every_hook_is_begun() {
    let log = Log::default();
    let mut graph = diamond(&log);
    graph.stop_timeout(ms(15));
    let running = graph.start().await.unwrap();
    let begun = Instant::now();
    let error = running.shutdown().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(15));
    assert_eq!(log.count("end Top"), 1);
    for name in ["Left", "Right", "Base"] {
        assert_eq!(
            (
                log.count(&format!("begin {name}")),
                log.count(&format!("end {name}"))
            ),
            (1, 0)
        );
    }
    assert_eq!(error.report().failures().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_rollback_of_a_start_that_ran_out_of_time_has_its_full_time() {
    struct Bad;
    let log = Log::default();
    let mut graph = diamond(&log);
    graph.stop_timeout(ms(50));
    graph
        .add(|_: Dep<Top>| async {
            std::future::pending::<()>().await;
            Ok::<_, BoxError>(Bad)
        })
        .timeout(ms(1_000));
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(1_030));
    assert!(error.rollback().unwrap().is_clean());
    assert_eq!(log.count("end Base"), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_of_a_shutdown_does_not_interrupt_it() {
    let log = Log::default();
    let running = diamond(&log).start().await.unwrap();
    assert!(timeout(ms(5), running.shutdown()).await.is_err());
    assert_eq!(log.count("end Base"), 0);
    sleep(ms(30)).await;
    assert_eq!(log.count("end Base"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_running_graph_dropped_without_shutdown_runs_no_hooks_and_ends_its_tasks() {
    struct Worker;
    let log = Log::default();
    let mut graph = diamond(&log);
    let worker_log = log.clone();
    graph.add(move |cx: Context| {
        let log = worker_log.clone();
        async move {
            let token = cx.cancelled();
            tokio::spawn(async move {
                token.cancelled().await;
                log.say("worker ended");
            });
            Ok::<_, BoxError>(Worker)
        }
    });
    drop(graph.start().await.unwrap());
    sleep(ms(100)).await;
    assert_eq!(log.lines(), ["worker ended"]);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_dropped_right_after_the_hooks_of_its_component() {
    struct Pool(Log);
    impl Drop for Pool {
        fn drop(&mut self) {
            self.0.say("pool dropped");
        }
    }
    struct Server;
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Pool(log.clone()));
    graph.add(|_: Dep<Pool>| async { Ok::<_, BoxError>(Server) });
    let running = graph.start().await.unwrap();
    running.shutdown().await.unwrap();
    assert!(log.at("stopped Server") < log.at("pool dropped"));
    assert!(log.at("pool dropped") < log.at("finished"));
}

#[tokio::test(start_paused = true)]
async fn a_hook_registered_later_by_a_kept_context_runs_and_one_after_the_stop_does_not() {
    struct Late(Context);
    let log = Log::default();
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move { Ok::<_, BoxError>(Late(cx)) });
    let running = graph.start().await.unwrap();
    let cx = running.get::<Late>().unwrap().0.clone();
    hook(&cx, log.clone(), 0).await;
    running.shutdown().await.unwrap();
    hook(&cx, log.clone(), 0).await;
    sleep(ms(10)).await;
    assert_eq!(log.lines(), ["begin Late", "end Late"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_value_is_dropped_does_not_stop_the_stop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("even the destructor");
        }
    }
    async fn server(_: Dep<Bomb>) -> Result<Top> {
        Ok(Top)
    }
    let mut graph = Graph::new();
    graph.value(Bomb);
    graph.add(server);
    let report = graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(report.stopped(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_registers_itself_for_ever_ends_all_the_same() {
    struct Hydra;
    fn register(cx: Context, count: Arc<AtomicU32>, wait: u64) {
        cx.clone().on_stop(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            if wait > 0 {
                sleep(ms(wait)).await;
            }
            register(cx, count, wait);
            Ok(())
        });
    }
    // Without a wait the number ends it, with one the time.
    for (wait, runs) in [(0, 1_001), (10, 10)] {
        let (count, log) = (Arc::new(AtomicU32::new(0)), Log::default());
        let (own, own_log) = (Arc::clone(&count), log.clone());
        let mut graph = Graph::new();
        graph.stop_timeout(ms(100));
        graph.add(move |cx: Context| {
            let (own, log) = (Arc::clone(&own), own_log.clone());
            async move {
                hook(&cx, log, 0).await;
                register(cx, own, wait);
                Ok::<_, BoxError>(Hydra)
            }
        });
        let running = graph.start().await.unwrap();
        let begun = Instant::now();
        let error = running.shutdown().await.unwrap_err();
        assert_eq!(begun.elapsed(), ms(wait * 10));
        assert_eq!(count.load(Ordering::SeqCst), runs);
        assert_eq!(
            log.lines(),
            ["begin Hydra", "end Hydra"],
            "what was there before has its turn"
        );
        let failures = error.report().failures();
        assert_eq!(
            failures[0].source().unwrap().to_string(),
            "registered more stop hooks while it stopped than could run; the rest was dropped"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_ran_out_of_time_names_the_time_it_had() {
    struct Slow;
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move {
        cx.on_stop(std::future::pending);
        cx.on_stop(|| async {
            sleep(ms(30)).await;
            Ok(())
        });
        Ok::<_, BoxError>(Slow)
    });
    graph.stop_timeout(ms(100));
    let running = graph.start().await.unwrap();
    let error = running.shutdown().await.unwrap_err();
    assert_eq!(
        error.report().failures()[0].cause().to_string(),
        "did not end within 70ms"
    );
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_cleaned_up_at_once_and_a_shutdown_waits_for_it() {
    struct Half;
    let log = Log::default();
    let own = log.clone();
    let mut graph = Graph::new();
    graph
        .add(move |cx: Context| {
            let log = own.clone();
            async move {
                let token = cx.cancelled();
                hook(&cx, log.clone(), 50).await;
                cx.on_stop(move || async move {
                    log.say(token.is_cancelled());
                    Err("and the hook too".into())
                });
                Err::<Half, BoxError>("no".into())
            }
        })
        .optional();
    let begun = Instant::now();
    let running = graph.start().await.unwrap();
    assert_eq!(begun.elapsed(), ms(0), "nobody waits for it");
    sleep(ms(10)).await;
    assert_eq!(log.lines(), ["true", "begin Half"]);
    let error = running.shutdown().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(50));
    assert_eq!(log.count("end Half"), 1);
    let report = error.report();
    assert_eq!((report.stopped(), report.failures().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_stop_tells_what_took_how_long() {
    let log = Log::default();
    let report = diamond(&log)
        .start()
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
    let times: Vec<_> = report.times().collect();
    assert_eq!(
        times,
        [
            ("Base", ms(10)),
            ("Left", ms(10)),
            ("Right", ms(10)),
            ("Top", ms(10))
        ]
    );
    expect!["stopped 5 nodes in 30ms; longest: Base 10ms, Left 10ms, Right 10ms"]
        .assert_eq(&report.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_graph_lets_go_of_its_values_in_reverse() {
    struct First(Log);
    struct Second(Log);
    impl Drop for First {
        fn drop(&mut self) {
            self.0.say("first");
        }
    }
    impl Drop for Second {
        fn drop(&mut self) {
            self.0.say("second");
        }
    }
    let log = Log::default();
    let own = log.clone();
    let mut graph = Graph::new();
    graph.value(First(log.clone()));
    graph.add(move |_: Dep<First>| {
        let log = own.clone();
        async move { Ok::<_, BoxError>(Second(log)) }
    });
    let running = graph.start().await.unwrap();
    let handle = running.handle();
    drop(running);
    assert_eq!(log.lines(), ["second", "first"]);
    assert!(handle.get::<First>().is_none());
}
