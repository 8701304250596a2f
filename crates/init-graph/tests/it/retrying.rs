//! Attempts: how many there are, what lies between them, and which limits of time hold for one or for all.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expect_test::expect;
use init_graph::{BoxError, Cause, Context, Dep, Graph, GraphError, Policy, Result, Retry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{Log, ms};

struct Database(u32);

/// Fails in its first `fails` attempts, each after 10 ms.
fn flaky(
    fails: u32,
) -> impl Fn(Context) -> Pin<Box<dyn Future<Output = Result<Database>> + Send>> + Send + Sync {
    move |cx: Context| {
        Box::pin(async move {
            sleep(ms(10)).await;
            if cx.attempt() <= fails {
                return Err(BoxError::from(format!("refused {}", cx.attempt())));
            }
            Ok(Database(cx.attempt()))
        })
    }
}

fn cause(error: &GraphError) -> &Cause {
    let [failure] = error.failures() else {
        panic!("one failure: {error}")
    };
    failure.cause()
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_followed_by_another_after_a_growing_wait() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(flaky(2))
        .retry(Retry::exponential(3).initial(ms(100)).jitter(0.0));
    let running = graph.start().await.unwrap();
    assert_eq!(running.get::<Database>().unwrap().0, 3);
    expect![[r#"
        planned 1
        starting Database 1
        retrying Database after 1/3 in 100ms: refused 1
        starting Database 2
        retrying Database after 2/3 in 200ms: refused 2
        starting Database 3
        ready Database
        started in 330ms
        settled in 330ms"#]]
    .assert_eq(&log.text());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_its_error_is_the_cause() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(flaky(9))
        .named("database")
        .retry(Retry::fixed(3, ms(5)));
    let error = graph.start().await.unwrap_err();
    assert_eq!(error.failures()[0].attempts(), 3);
    assert_eq!(
        error.failures()[0].took(),
        ms(30),
        "the attempts, not the waits"
    );
    let Cause::Failed(own) = cause(&error) else {
        panic!("{error}")
    };
    assert_eq!(own.to_string(), "refused 3");
    assert!(
        error.to_string().contains("`database` failed at attempt 3"),
        "{error}"
    );
    assert_eq!(log.count("starting database 3"), 1);
    assert_eq!(log.count("starting database 4"), 0);
}

#[tokio::test(start_paused = true)]
async fn chance_shortens_a_wait_by_no_more_than_the_jitter() {
    for _ in 0..20 {
        let mut graph = Graph::new();
        graph
            .add(flaky(1))
            .retry(Retry::exponential(2).initial(ms(1_000)).jitter(0.25));
        let begun = Instant::now();
        graph.start().await.unwrap().shutdown().await.unwrap();
        let waited = begun.elapsed() - ms(20);
        // Timers round up to a millisecond.
        assert!((ms(750)..=ms(1_001)).contains(&waited), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_not_worth_it_is_not_tried_again() {
    let mut graph = Graph::new();
    graph
        .add(flaky(9))
        .retry(Retry::fixed(5, ms(1)).when(|cause| cause.to_string().contains("within")));
    assert_eq!(graph.start().await.unwrap_err().failures()[0].attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_not_tried_again_unless_asked_for() {
    let attempts = |retry: Retry| async move {
        let mut graph = Graph::new();
        graph
            .add(|| async { panic!("lost my head") as Result<Database> })
            .retry(retry);
        graph.start().await.unwrap_err().failures()[0].attempts()
    };
    assert_eq!(attempts(Retry::fixed(3, ms(1))).await, 1);
    assert_eq!(attempts(Retry::fixed(3, ms(1)).when(|_| true)).await, 3);
    assert_eq!(
        attempts(Retry::fixed(3, ms(1)).when(|_| panic!("so do I"))).await,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_holds_for_each_attempt_by_itself() {
    let mut graph = Graph::new();
    graph
        .add(|cx: Context| async move {
            assert_eq!(cx.deadline().unwrap(), Instant::now() + ms(50));
            if cx.attempt() < 3 {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Database(cx.attempt()))
        })
        .timeout(ms(50))
        .retry(Retry::fixed(3, ms(10)));
    let begun = Instant::now();
    let running = graph.start().await.unwrap();
    assert_eq!(begun.elapsed(), ms(120));
    assert_eq!(running.get::<Database>().unwrap().0, 3);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_total_time_limit_holds_for_all_attempts_with_the_waits_between_them() {
    let mut graph = Graph::new();
    graph
        .add(|| async { std::future::pending::<Result<Database>>().await })
        .timeout(ms(50))
        .total_timeout(ms(100))
        .retry(Retry::fixed(9, ms(10)));
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(100), "50 + 10 + 40");
    assert_eq!(error.failures()[0].attempts(), 2);
    assert!(matches!(cause(&error), Cause::TimedOut(limit) if *limit == ms(100)));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_waited_for_that_would_begin_after_the_total_time() {
    let mut graph = Graph::new();
    graph
        .add(flaky(9))
        .total_timeout(ms(100))
        .retry(Retry::fixed(9, ms(90)));
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(10));
    assert!(matches!(cause(&error), Cause::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn words_put_off_the_stall_timeout_and_silence_does_not() {
    let mut graph = Graph::new();
    graph
        .add(|cx: Context| async move {
            for step in 0..10 {
                sleep(ms(40)).await;
                match step % 3 {
                    0 => cx.progress(step, 10),
                    1 => cx.message("still here"),
                    _ => cx.keep_alive(),
                }
            }
            std::future::pending::<Result<Database>>().await
        })
        .stall_timeout(ms(50));
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(450), "50 ms after the last word");
    assert!(matches!(cause(&error), Cause::Stalled(limit) if *limit == ms(50)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_speaks_for_ever_still_has_a_time_limit() {
    let mut graph = Graph::new();
    graph
        .add(|cx: Context| async move {
            loop {
                sleep(ms(10)).await;
                cx.keep_alive();
            }
            #[expect(unreachable_code, reason = "says what the component would make")]
            Ok::<_, BoxError>(Database(0))
        })
        .stall_timeout(ms(20))
        .timeout(ms(95));
    let begun = Instant::now();
    let error = graph.start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(95));
    assert!(matches!(cause(&error), Cause::TimedOut(_)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_next_attempt_ends_when_the_start_is_given_up() {
    for policy in [Policy::FailFast, Policy::Drain] {
        let log = Log::default();
        let mut graph = Graph::new();
        graph.policy(policy);
        graph.observe(log.clone());
        graph
            .add(flaky(9))
            .named("flaky")
            .retry(Retry::fixed(9, Duration::from_secs(60)));
        graph
            .add(|| async {
                sleep(ms(100)).await;
                Err::<(), _>("other")
            })
            .named("other");
        let begun = Instant::now();
        let error = graph.start().await.unwrap_err();
        assert_eq!(begun.elapsed(), ms(100));
        assert_eq!(error.failures().len(), 1, "{error}");
        assert_eq!(log.count("cancelled flaky after 10ms"), 1, "{}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_next_attempt_ends_when_the_start_is_cancelled() {
    let token = CancellationToken::new();
    let mut graph = Graph::new();
    graph.cancel_on(token.clone());
    graph
        .add(flaky(9))
        .retry(Retry::fixed(9, Duration::from_secs(60)));
    let cancel = async {
        sleep(ms(30)).await;
        token.cancel();
    };
    let begun = Instant::now();
    let (error, ()) = tokio::join!(graph.start(), cancel);
    assert!(error.unwrap_err().is_cancelled());
    assert_eq!(begun.elapsed(), ms(30));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_gets_the_values_anew_and_hooks_of_all_attempts_run() {
    struct Config;
    let log = Log::default();
    let hook_log = log.clone();
    let mut graph = Graph::new();
    graph.value(Config);
    graph
        .add(move |_: Dep<Config>, cx: Context| {
            let log = hook_log.clone();
            async move {
                let attempt = cx.attempt();
                cx.on_stop(move || async move {
                    log.say(format!("undone {attempt}"));
                    Ok(())
                });
                if attempt < 3 {
                    return Err(BoxError::from("no"));
                }
                Ok(Database(attempt))
            }
        })
        .retry(Retry::fixed(3, ms(1)));
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(log.lines(), ["undone 1", "undone 2", "undone 3"]);
}

#[tokio::test(start_paused = true)]
async fn dependents_wait_for_the_last_attempt_and_an_optional_one_may_use_them_up() {
    struct Api(bool);
    for (fails, there) in [(1, true), (9, false)] {
        let mut graph = Graph::new();
        graph
            .add(flaky(fails))
            .optional()
            .retry(Retry::fixed(3, ms(10)));
        graph.add(|database: Option<Dep<Database>>| async move {
            Ok::<_, BoxError>(Api(database.is_some()))
        });
        let running = graph.start().await.unwrap();
        assert_eq!(running.get::<Api>().unwrap().0, there);
        running.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_component_is_tried_again_as_well() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let mut graph = Graph::new();
    graph
        .add_blocking(move || {
            if counted.fetch_add(1, Ordering::SeqCst) < 2 {
                return Err(BoxError::from("not yet"));
            }
            Ok(Database(3))
        })
        .retry(Retry::fixed(3, ms(10)));
    let running = graph.start().await.unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    assert_eq!(running.get::<Database>().unwrap().0, 3);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_attempt_registered_is_undone_before_the_next() {
    let log = Log::default();
    let mut graph = Graph::new();
    let said = log.clone();
    graph
        .add(move |cx: Context| {
            let log = said.clone();
            async move {
                let (attempt, token) = (cx.attempt(), cx.cancelled());
                log.say(format!("binds {attempt}"));
                cx.on_stop({
                    let log = log.clone();
                    async move || {
                        sleep(ms(30)).await;
                        log.say(format!(
                            "frees {attempt}, cancelled {}",
                            token.is_cancelled()
                        ));
                        Ok(())
                    }
                });
                if attempt < 3 {
                    Err("in use")
                } else {
                    Ok(Database(attempt))
                }
            }
        })
        .retry(Retry::fixed(3, ms(100)));
    let begun = Instant::now();
    let running = graph.start().await.unwrap();
    // The undoing is part of the wait.
    assert_eq!(begun.elapsed(), ms(200));
    running.shutdown().await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "binds 1",
            "frees 1, cancelled true",
            "binds 2",
            "frees 2, cancelled true",
            "binds 3",
            "frees 3, cancelled true",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_given_up_while_an_attempt_is_undone_runs_each_hook_once() {
    let log = Log::default();
    let mut graph = Graph::new();
    let token = CancellationToken::new();
    graph.cancel_on(token.clone());
    let said = log.clone();
    graph
        .add(move |cx: Context| {
            let log = said.clone();
            async move {
                for number in 1..=2 {
                    let log = log.clone();
                    cx.on_stop(async move || {
                        log.say(format!("begins {number}"));
                        sleep(ms(30)).await;
                        log.say(format!("ends {number}"));
                        Ok(())
                    });
                }
                Err::<Database, _>("refused")
            }
        })
        .retry(Retry::fixed(2, ms(100)));
    let start = tokio::spawn(graph.start());
    sleep(ms(40)).await;
    token.cancel();
    assert!(start.await.unwrap().unwrap_err().is_cancelled());
    assert_eq!(log.lines(), ["begins 2", "ends 2", "begins 1", "ends 1"]);
}

#[tokio::test(start_paused = true)]
async fn waits_and_times_without_bounds_are_no_panic() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Err::<u8, BoxError>("no".into()) })
        .retry(Retry::fixed(3, Duration::MAX))
        .total_timeout(Duration::MAX)
        .timeout(Duration::MAX)
        .stall_timeout(Duration::MAX);
    graph
        .add(|| async {
            sleep(ms(10)).await;
            Err::<u16, BoxError>("the one that counts".into())
        })
        .named("other");
    graph.timeout(Duration::MAX);
    graph.stop_timeout(Duration::MAX);
    graph.cancel_grace(Duration::MAX);
    graph.waiting_every(Duration::MAX);
    let error = graph.start().await.unwrap_err();
    assert_eq!(error.failures()[0].node().name(), "other");
    assert!(error.rollback().unwrap().is_clean());
}
