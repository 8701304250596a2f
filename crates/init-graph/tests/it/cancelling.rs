//! What happens when a start is given up from outside, at any moment.

use std::time::Duration;

use init_graph::{BoxError, Context, Dep, Graph, GraphError, Result};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{Log, ms};

struct N<const I: usize>;

async fn step<const I: usize>(cx: Context, log: Dep<Log>) -> Result<N<I>> {
    for part in ["outer", "inner"] {
        let (name, log) = (cx.name().to_owned(), (*log).clone());
        cx.on_stop(move || async move {
            sleep(ms(1)).await;
            log.say(format!("hook {name} {part}"));
            Ok(())
        });
        sleep(ms(5)).await;
    }
    Ok(N)
}

/// Three steps in a row, each of 10 ms.
fn chain(log: &Log) -> Graph {
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(log.clone());
    graph
        .add(|cx, log: Dep<Log>| step::<0>(cx, log))
        .named("n0");
    graph
        .add(|cx, log: Dep<Log>, _: Dep<N<0>>| step::<1>(cx, log))
        .named("n1");
    graph
        .add(|cx, log: Dep<Log>, _: Dep<N<1>>| step::<2>(cx, log))
        .named("n2");
    graph
}

/// Hooks that were registered by `elapsed` and what ran of them has to be the same.
fn assert_undone(log: &Log, elapsed: u64) {
    for node in 0..3 {
        for (part, begin) in [("outer", node * 10), ("inner", node * 10 + 5)] {
            let registered = usize::from(begin < elapsed);
            let line = format!("hook n{node} {part}");
            assert_eq!(
                log.count(&line),
                registered,
                "{line}, given up after {elapsed} ms:\n{}",
                log.text()
            );
        }
    }
    let hooks: Vec<_> = log
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("hook"))
        .collect();
    let mut reversed = hooks.clone();
    // "outer" comes before "inner" in time, and after it in the alphabet.
    reversed.sort_by_key(|line| {
        (
            line[6..7].to_owned(),
            std::cmp::Reverse(line[8..].to_owned()),
        )
    });
    reversed.reverse();
    assert_eq!(hooks, reversed, "last registered first");
}

#[tokio::test(start_paused = true)]
async fn a_start_cancelled_at_any_stage_undoes_what_was_registered() {
    for elapsed in (1..30).filter(|elapsed| elapsed % 5 != 0) {
        let log = Log::default();
        let token = CancellationToken::new();
        let mut graph = chain(&log);
        graph.cancel_on(token.clone());
        let cancel = async {
            sleep(ms(elapsed)).await;
            token.cancel();
        };
        let (error, ()) = tokio::join!(graph.start(), cancel);
        let error = error.unwrap_err();
        assert!(
            error.is_cancelled() && matches!(error, GraphError::Cancelled { .. }),
            "{error}"
        );
        assert!(error.rollback().unwrap().is_clean());
        assert_eq!(log.at("finished"), log.lines().len() - 1);
        assert_undone(&log, elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_start_undoes_what_was_registered_on_a_task_of_its_own() {
    for elapsed in (1..30).filter(|elapsed| elapsed % 5 != 0) {
        let log = Log::default();
        let start = chain(&log).start();
        assert!(timeout(ms(elapsed), start).await.is_err());
        assert_eq!(log.count("finished"), 0);
        // The clock moves only when nothing else is to be done, so this is enough for all hooks.
        sleep(ms(100)).await;
        assert_eq!(log.at("finished"), log.lines().len() - 1);
        assert_undone(&log, elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rollback_of_a_dropped_start_is_bounded() {
    struct Stuck;
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.stop_timeout(ms(200));
    graph.add(|cx: Context| async move {
        cx.on_stop(std::future::pending);
        std::future::pending::<()>().await;
        Ok::<_, BoxError>(Stuck)
    });
    assert!(timeout(ms(10), graph.start()).await.is_err());
    sleep(ms(190)).await;
    assert_eq!(log.count("finished"), 0);
    sleep(ms(20)).await;
    assert_eq!(
        log.at("stop failed Stuck: did not end within 200ms") + 1,
        log.at("finished")
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_before_its_first_poll_does_nothing() {
    let log = Log::default();
    drop(chain(&log).start());
    sleep(ms(100)).await;
    assert_eq!(log.lines(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_succeeded_unseen_is_stopped_again() {
    // The caller is gone at the very moment at which the last component becomes ready.
    let log = Log::default();
    let mut start = Box::pin(chain(&log).start());
    assert!(timeout(ms(29), &mut start).await.is_err());
    sleep(ms(10)).await;
    assert_eq!(log.count("started in 30ms"), 1);
    drop(start);
    sleep(ms(100)).await;
    assert_undone(&log, 30);
    assert_eq!(log.at("finished"), log.lines().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_cancelled_already_lets_nothing_begin() {
    let log = Log::default();
    let mut graph = chain(&log);
    let token = CancellationToken::new();
    token.cancel();
    graph.cancel_on(CancellationToken::new());
    graph.cancel_on(token);
    assert!(graph.start().await.unwrap_err().is_cancelled());
    assert!(
        !log.lines().iter().any(|line| line.starts_with("starting")),
        "{}",
        log.text()
    );
    assert_eq!(
        log.at("skipped n0 because the start was given up") + 3,
        log.at("start failed: the start was cancelled")
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_cancelled_after_the_start_has_no_effect() {
    let log = Log::default();
    let token = CancellationToken::new();
    let mut graph = chain(&log);
    graph.cancel_on(token.clone());
    let running = graph.start().await.unwrap();
    token.cancel();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.count("stopping n2"), 0);
    running.shutdown().await.unwrap();
    assert_undone(&log, 30);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_component_hear_that_the_start_was_given_up() {
    struct Worker;
    struct Bad;
    let log = Log::default();
    let worker_log = log.clone();
    let mut graph = Graph::new();
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
    graph.add(|_: Dep<Worker>| async {
        sleep(ms(10)).await;
        Err::<Bad, _>("no")
    });
    let begun = Instant::now();
    graph.start().await.unwrap_err();
    sleep(ms(1)).await;
    assert_eq!(log.count("worker ended"), 1);
    assert_eq!(begun.elapsed(), ms(11));
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_initialisers_end_by_themselves_and_then_they_are_dropped() {
    for (needs, ended) in [(30, true), (80, false)] {
        let log = Log::default();
        let hook_log = log.clone();
        let mut graph = Graph::new();
        graph.observe(log.clone());
        graph.cancel_grace(ms(50));
        graph
            .add(move |cx: Context| {
                let log = hook_log.clone();
                async move {
                    cx.on_stop(|| async { Ok(()) });
                    cx.cancelled().cancelled().await;
                    log.say("told");
                    sleep(ms(needs)).await;
                    log.say("ended");
                    Ok::<_, BoxError>(())
                }
            })
            .named("careful");
        graph
            .add(|| async {
                sleep(ms(10)).await;
                Err::<(), _>("no luck")
            })
            .named("bad");
        let begun = Instant::now();
        let error = graph.start().await.unwrap_err();
        assert_eq!(begun.elapsed(), ms(10 + needs.min(50)));
        assert_eq!(log.count("told"), 1);
        assert_eq!(log.count("ended"), usize::from(ended));
        assert_eq!(log.count("ready careful"), usize::from(ended));
        assert_eq!(error.failures().len(), 1);
        assert_eq!(error.rollback().unwrap().stopped(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_initialiser_that_is_dropped_at_any_await_is_undone() {
    /// Awaits `awaits` times without any time passing.
    async fn step(cx: Context, log: Log, awaits: u32) -> Result<()> {
        for number in 0..awaits {
            let undo = log.clone();
            log.say(format!("done {number}"));
            cx.on_stop(move || async move {
                undo.say(format!("undone {number}"));
                Ok(())
            });
            tokio::task::yield_now().await;
        }
        Ok(())
    }
    for rounds in 0..30 {
        let (log, token) = (Log::default(), CancellationToken::new());
        let step_log = log.clone();
        let mut graph = Graph::new();
        graph.cancel_on(token.clone());
        graph.add(move |cx: Context| step(cx, step_log.clone(), 10));
        let cancel = async {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
            token.cancel();
        };
        let (started, ()) = tokio::join!(graph.start(), cancel);
        if let Ok(running) = started {
            running.shutdown().await.unwrap();
        }
        for number in 0..10 {
            let done = log.count(&format!("done {number}"));
            assert_eq!(
                log.count(&format!("undone {number}")),
                done,
                "{}",
                log.text()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drops_what_still_starts_in_the_background() {
    let log = Log::default();
    let hook_log = log.clone();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(move |cx: Context| {
            let log = hook_log.clone();
            async move {
                cx.on_stop(move || async move {
                    log.say("undone");
                    Ok(())
                });
                std::future::pending::<Result<()>>().await
            }
        })
        .named("slow")
        .background();
    graph
        .add(|| async { Ok::<_, BoxError>(()) })
        .named("behind")
        .after("slow");
    let running = graph.start().await.unwrap();
    sleep(ms(10)).await;
    running.shutdown().await.unwrap();
    assert!(log.at("cancelled slow after 10ms") < log.at("undone"));
    log.at("skipped behind because the start was given up");
    assert_eq!(
        log.lines()
            .iter()
            .filter(|line| line.starts_with("settled"))
            .count(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_initialiser_in_the_background_says_when_a_shutdown_ends_it_is_no_failure() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.cancel_grace(ms(50));
    graph
        .add(|cx: Context| async move {
            cx.cancelled().cancelled().await;
            Err::<(), _>("interrupted")
        })
        .named("careful")
        .background();
    let running = graph.start().await.unwrap();
    let handle = running.handle();
    sleep(ms(10)).await;
    running.shutdown().await.unwrap();
    log.at("cancelled careful after 10ms");
    assert_eq!(handle.failures().len(), 0);
    assert!(!log.text().contains("failed careful"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_in_the_background_while_a_shutdown_waits_for_a_restart() {
    struct Base;
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|cx: Context| async move {
        cx.on_stop(|| async {
            sleep(ms(100)).await;
            Ok(())
        });
        Ok::<_, BoxError>(Base)
    });
    graph
        .add(|| async {
            sleep(ms(50)).await;
            Ok::<_, BoxError>(())
        })
        .named("first")
        .background();
    graph
        .add(|| async { Ok::<_, BoxError>(()) })
        .named("second")
        .after("first");
    let running = graph.start().await.unwrap();
    let handle = running.handle();
    let restart = tokio::spawn(async move { handle.restart::<Base>().await });
    sleep(ms(10)).await;
    running.shutdown().await.unwrap();
    assert!(restart.await.unwrap().unwrap_err().is_stopping());
    assert_eq!(log.count("starting second 1"), 0, "{}", log.text());
}
