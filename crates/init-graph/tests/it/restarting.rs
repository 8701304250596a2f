//! Parts of a running graph that are stopped and started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use expect_test::expect;
use init_graph::{BoxError, Context, Dep, Graph, Lazy, RestartError, Result, Retry, Running};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Log, ms};

pub(crate) struct Config;
pub(crate) struct Database(pub(crate) u32);
pub(crate) struct Cache;
#[derive(Debug)]
pub(crate) struct Model(pub(crate) u32);
pub(crate) struct Api {
    pub(crate) model: Lazy<Model>,
}

/// What the test decides about the next start of `Database`, and how often it has begun.
#[derive(Clone, Default)]
pub(crate) struct Switch {
    pub(crate) fails: Arc<AtomicBool>,
    pub(crate) starts: Arc<AtomicU32>,
}

/// `Config` below `Database` below `Cache` and `Api`, and beside them `Other`; each takes 10 ms to start and to stop.
/// A `Model` on the `Database` starts when the `Api` is asked for it.
pub(crate) fn graph(log: &Log, switch: &Switch) -> Graph {
    async fn part<T>(cx: Context, value: T) -> Result<T> {
        cx.on_stop(|| async {
            sleep(ms(10)).await;
            Ok(())
        });
        sleep(ms(10)).await;
        Ok(value)
    }
    struct Other;
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|cx: Context| part(cx, Config));
    let own = switch.clone();
    graph.add(move |cx: Context, _: Dep<Config>| {
        let number = own.starts.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = own.fails.load(Ordering::SeqCst);
        async move {
            let database = part(cx, Database(number)).await?;
            if fails {
                return Err("connection refused".into());
            }
            Ok::<_, BoxError>(database)
        }
    });
    graph.add(|cx: Context, _: Dep<Database>| part(cx, Cache));
    graph.add(
        |cx: Context, _: Dep<Cache>, _: Dep<Config>, model: Lazy<Model>| part(cx, Api { model }),
    );
    graph.add(|cx: Context, database: Dep<Database>| part(cx, Model(database.0)));
    graph.add(|cx: Context, _: Dep<Config>| part(cx, Other));
    graph
}

pub(crate) async fn started(log: &Log, switch: &Switch) -> Running {
    graph(log, switch).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_it_stops_in_reverse_and_starts_again_in_order() {
    let (log, switch) = (Log::default(), Switch::default());
    let running = started(&log, &switch).await;
    let before = running.report().took();
    let old = log.lines().len();
    let begun = Instant::now();
    let report = running.restart::<Database>().await.unwrap();
    assert_eq!(begun.elapsed(), ms(60));
    expect![[r#"
        restarting Database, Cache, Api
        stopping Api
        stopped Api
        stopping Cache
        stopped Cache
        stopping Database
        stopped Database
        starting Database 1
        ready Database
        starting Cache 1
        ready Cache
        starting Api 1
        ready Api
        restarted in 60ms"#]]
    .assert_eq(&log.lines()[old..].join("\n"));
    expect![[r#"
        restarted 3 nodes in 60ms
          Database
          Cache
          Api"#]]
    .assert_eq(&report.to_string());
    assert_eq!(report.took(), ms(60));
    assert_eq!(running.get::<Database>().unwrap().0, 2);
    assert_eq!(
        running.report().took(),
        before,
        "the report is that of the start"
    );
    let stop = running.shutdown().await.unwrap();
    assert!(stop.is_clean());
    assert_eq!(log.count("stopping Database"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_component_on_demand_is_restarted_only_when_it_had_started() {
    let (log, switch) = (Log::default(), Switch::default());
    let running = started(&log, &switch).await;
    running.restart::<Database>().await.unwrap();
    assert_eq!(log.count("starting Model 1"), 0);
    let error = running.restart::<Model>().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`Model` has not started: nobody has asked for it"
    );
    let model = running.get::<Api>().unwrap().model.clone();
    assert_eq!(model.get().await.unwrap().0, 2);
    running.restart::<Database>().await.unwrap();
    assert_eq!(log.count("starting Model 1"), 2);
    assert_eq!(model.get().await.unwrap().0, 3);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_component_on_demand_during_a_restart_waits_for_what_it_needs() {
    let (log, switch) = (Log::default(), Switch::default());
    let running = started(&log, &switch).await;
    let model = running.get::<Api>().unwrap().model.clone();
    let handle = running.handle();
    let restart = tokio::spawn(async move { handle.restart::<Database>().await });
    sleep(ms(5)).await;
    assert_eq!(model.get().await.unwrap().0, 2);
    // And one that is itself restarted is waited for.
    restart.await.unwrap().unwrap();
    let handle = running.handle();
    let restart = tokio::spawn(async move { handle.restart::<Database>().await });
    sleep(ms(5)).await;
    assert_eq!(model.get().await.unwrap().0, 3);
    restart.await.unwrap().unwrap();
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn retries_and_timeouts_are_those_of_a_start() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let mut graph = Graph::new();
    graph
        .add(move || {
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                match number {
                    2 => Err("not yet".into()),
                    3 => std::future::pending().await,
                    _ => Ok::<_, BoxError>(Cache),
                }
            }
        })
        .timeout(ms(50))
        .retry(Retry::exponential(3).initial(ms(100)).jitter(0.0));
    let running = graph.start().await.unwrap();
    let begun = Instant::now();
    running.restart::<Cache>().await.unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
    assert_eq!(begun.elapsed(), ms(100 + 50 + 200));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_touches_nothing_and_says_when_to_try_again() {
    let (log, switch) = (Log::default(), Switch::default());
    let mut graph = graph(&log, &switch);
    graph.restart_budget(2, ms(1_000));
    let running = graph.start().await.unwrap();
    running.restart::<Database>().await.unwrap();
    running.restart::<Database>().await.unwrap();
    let error = running.restart::<Database>().await.unwrap_err();
    assert!(error.is_budget_spent());
    expect![
        "2 restarts within 1s are allowed; try again in 880ms, or raise `Graph::restart_budget`"
    ]
    .assert_eq(&error.to_string());
    assert_eq!(switch.starts.load(Ordering::SeqCst), 3);
    sleep(ms(880)).await;
    running.restart::<Database>().await.unwrap();
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn restarts_at_the_same_time_happen_one_after_another() {
    let (log, switch) = (Log::default(), Switch::default());
    let running = started(&log, &switch).await;
    let begun = Instant::now();
    let (one, two, three) = tokio::join!(
        running.restart::<Database>(),
        running.restart::<Database>(),
        running.restart_named("Cache"),
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(three.unwrap().nodes(), ["Cache", "Api"]);
    assert_eq!(begun.elapsed(), ms(60 + 60 + 40));
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_of_a_restart_does_not_interrupt_it() {
    for wait in 0..13 {
        let (log, switch) = (Log::default(), Switch::default());
        let running = started(&log, &switch).await;
        let dropped = timeout(ms(wait * 5), running.restart::<Database>()).await;
        assert!(dropped.is_err() || wait >= 12);
        sleep(ms(100)).await;
        assert_eq!(running.get::<Database>().unwrap().0, 2, "{wait}");
        running.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_restart_wherever_it_is_and_stops_everything_once() {
    for wait in 0..14 {
        let (log, switch) = (Log::default(), Switch::default());
        let running = started(&log, &switch).await;
        let handle = running.handle();
        let restart = tokio::spawn(async move { handle.restart::<Database>().await });
        sleep(ms(wait * 5)).await;
        let begun = Instant::now();
        let report = running.shutdown().await.unwrap();
        assert!(report.is_clean(), "{wait}: {report}");
        assert!(begun.elapsed() <= ms(70), "{wait}: {:?}", begun.elapsed());
        let stopped = restart
            .await
            .unwrap()
            .is_err_and(|error| error.is_stopping());
        // At 60 ms both end at the same time.
        assert!(wait == 12 || stopped == (wait < 12), "{wait}");
        for name in ["Config", "Database", "Cache", "Api"] {
            let stops = log.count(&format!("stopped {name}"));
            let starts = log.count(&format!("starting {name} 1"));
            assert_eq!(stops, starts, "{name} at {wait}\n{}", log.text());
        }
        log.at("finished");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_restarted_is_told_and_costs_no_budget() {
    struct Slow;
    let (log, switch) = (Log::default(), Switch::default());
    let mut graph = graph(&log, &switch);
    graph.restart_budget(1, ms(1_000));
    graph.value(7_u32);
    graph
        .add(|_: Dep<Database>| async {
            sleep(ms(100)).await;
            Ok::<_, BoxError>(Slow)
        })
        .named("slow")
        .background();
    let running = graph.start().await.unwrap();
    let texts = [
        running.restart::<String>().await.unwrap_err().to_string(),
        running
            .restart_named("databse")
            .await
            .unwrap_err()
            .to_string(),
        running.restart::<u32>().await.unwrap_err().to_string(),
        running.restart::<Database>().await.unwrap_err().to_string(),
    ];
    expect![[r#"
        no component is or provides `alloc::string::String` unambiguously; restart it by its name as in the plan
        no component is or provides `databse` unambiguously; restart it by its name as in the plan
        `u32` is a value, which cannot be made again; add a function that makes it
        slow still starting; wait for `Running::settled`"#]]
    .assert_eq(&texts.join("\n"));
    assert_eq!(log.count("restarting"), 0);
    running.settled().await;
    running.restart::<Database>().await.unwrap();
    let handle = running.handle();
    running.shutdown().await.unwrap();
    let error = handle.restart::<Database>().await.unwrap_err();
    assert!(matches!(error, RestartError::Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_waits_inside_a_restart_is_found() {
    struct Left(bool);
    struct Right;
    let mut graph = Graph::new();
    graph.add(|| async { Ok::<_, BoxError>(Config) });
    graph.add(|_: Dep<Config>, other: Lazy<Right>| async move {
        Ok::<_, BoxError>(Left(
            other.get().await.is_err_and(|error| error.is_circle()),
        ))
    });
    graph.add(|_: Dep<Left>| async { Ok::<_, BoxError>(Right) });
    graph.add(|_: Dep<Right>| async { Ok::<_, BoxError>(Cache) });
    let running = graph.start().await.unwrap();
    assert!(running.get::<Left>().unwrap().0);
    timeout(ms(1_000), running.restart::<Config>())
        .await
        .unwrap()
        .unwrap();
    assert!(running.get::<Left>().unwrap().0);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restarted_component_has_a_fresh_token_and_takes_hooks_again() {
    struct Worker(Context);
    let mut graph = Graph::new();
    graph.add(|cx: Context| async move { Ok::<_, BoxError>(Worker(cx)) });
    let running = graph.start().await.unwrap();
    let old = running.get::<Worker>().unwrap().0.cancelled();
    running.restart::<Worker>().await.unwrap();
    let new = running.get::<Worker>().unwrap().0.cancelled();
    assert!(old.is_cancelled() && !new.is_cancelled());
    running.shutdown().await.unwrap();
    assert!(new.is_cancelled());
}

/// Restarts, lazy uses and shutdowns from many threads at once.

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn restarts_and_lazy_uses_from_many_threads_never_hang_or_leak() {
    for round in 0..60_u64 {
        let log = Log::default();
        let mut graph = Graph::new();
        graph.observe(log.clone());
        graph.restart_budget(1_000, ms(1_000));
        graph.add(|| async { Ok::<_, BoxError>(Config) });
        graph.add(|_: Dep<Config>, cx: Context| async move {
            cx.on_stop(|| async { Ok(()) });
            tokio::task::yield_now().await;
            Ok::<_, BoxError>(Database(0))
        });
        graph.add(|_: Dep<Database>, model: Lazy<Model>| async move {
            Ok::<_, BoxError>(Api { model })
        });
        graph.add(|_: Dep<Database>| async { Ok::<_, BoxError>(Model(1)) });
        let running = graph.start().await.unwrap();
        let model = running.get::<Api>().unwrap().model.clone();
        let tasks: Vec<_> = (0..6)
            .map(|task| {
                let (handle, model) = (running.handle(), model.clone());
                tokio::spawn(async move {
                    for turn in 0..5 {
                        if (task + turn) % 3 == 0 {
                            drop(handle.restart::<Database>().await);
                        } else if let Err(error) = model.get().await {
                            assert!(error.is_stopped() && round % 2 == 0, "{error}");
                        }
                    }
                })
            })
            .collect();
        if round % 2 == 0 {
            sleep(std::time::Duration::from_micros(round * 20)).await;
            assert!(running.shutdown().await.unwrap().is_clean());
        }
        for task in tasks {
            task.await.unwrap();
        }
        for name in ["Config", "Database", "Api", "Model"] {
            if round % 2 == 0 {
                let ready = log.count(&format!("ready {name}"));
                let stopped = log.count(&format!("stopped {name}"));
                let cancelled = format!("cancelled {name} ");
                let lines = log.lines();
                let cancelled = lines.iter().filter(|line| line.starts_with(&cancelled));
                // One that was cancelled may have a hook.
                let most = ready + cancelled.count();
                assert!((ready..=most).contains(&stopped), "{name}\n{}", log.text());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_behind_what_restarts_is_there_again() {
    struct Setting;
    struct Seen;
    let mut graph = Graph::new();
    graph.node("schema").run(|| async { Ok::<_, BoxError>(()) });
    graph
        .value(Setting)
        .after("schema")
        .provide(|setting: Arc<Setting>| setting as Arc<dyn Send + Sync>);
    graph.add(|_: Dep<Setting>, _: Dep<dyn Send + Sync>| async { Ok::<_, BoxError>(Seen) });
    let running = graph.start().await.unwrap();
    running.restart_named("schema").await.unwrap();
    assert!(running.get::<Seen>().is_some() && running.get::<Setting>().is_some());
    running.shutdown().await.unwrap();
}

/// Two in the part of `Config`: one that fails the second time, one that would then take for ever.

#[tokio::test(start_paused = true)]
async fn a_context_of_an_earlier_start_has_nothing_to_say_in_the_next() {
    struct Worker(Context);
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|cx: Context| async move {
        sleep(ms(10)).await;
        Ok::<_, BoxError>(Worker(cx))
    });
    let running = graph.start().await.unwrap();
    let old = running.get::<Worker>().unwrap().0.clone();
    let restart = running.restart::<Worker>();
    let during = async {
        sleep(ms(5)).await;
        old.message("still here");
        assert!(old.cancelled().is_cancelled());
        let log = log.clone();
        old.on_stop(move || async move {
            log.say("too late");
            Ok(())
        });
    };
    let (restarted, ()) = tokio::join!(restart, during);
    restarted.unwrap();
    assert!(old.cancelled().is_cancelled());
    running.shutdown().await.unwrap();
    assert_eq!(log.count("too late"), 0);
    assert!(!log.text().contains("still here"), "{}", log.text());
}

/// What a stop hook that blocks its thread does when it comes back, after the restart has gone on without it.

#[test]
fn a_stop_that_was_left_behind_does_no_harm_to_what_started_after_it() {
    struct Base;
    struct Stubborn;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (log, starts) = (Log::default(), Arc::new(AtomicU32::new(0)));
    let (release, blocked) = std::sync::mpsc::sync_channel::<()>(0);
    let blocked = Arc::new(std::sync::Mutex::new(Some(blocked)));
    let mut graph = Graph::new();
    graph.stop_timeout(ms(50));
    let base_log = log.clone();
    graph.add(move |cx: Context| {
        let log = base_log.clone();
        async move {
            cx.on_stop(move || async move {
                log.say("base stopped");
                Ok(())
            });
            Ok::<_, BoxError>(Base)
        }
    });
    let hook_log = log.clone();
    graph.add(move |cx: Context, _: Dep<Base>| {
        let (log, blocked) = (hook_log.clone(), Arc::clone(&blocked));
        let number = starts.fetch_add(1, Ordering::SeqCst);
        async move {
            cx.on_stop(move || async move {
                log.say(format!("last of {number}"));
                Ok(())
            });
            cx.on_stop(move || async move {
                let blocked = blocked.lock().unwrap().take();
                if let Some(blocked) = blocked {
                    let _ = blocked.recv();
                }
                Ok(())
            });
            Ok::<_, BoxError>(Stubborn)
        }
    });
    let running = runtime.block_on(graph.start()).unwrap();
    let report = runtime.block_on(running.restart::<Base>()).unwrap();
    assert_eq!(report.stop().abandoned(), ["Base", "Stubborn"]);
    // Its thread comes back, and the runtime waits for that.
    drop(release);
    drop(runtime);
    assert!(running.get::<Base>().is_some() && running.get::<Stubborn>().is_some());
    assert_eq!(log.lines(), Vec::<String>::new());
}
