//! What observers hear, and that they cannot hurt the graph.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use expect_test::expect;
use init_graph::{BoxError, Class, Context, Dep, Event, Graph, Node, Observer, Retry};
use tokio::time::sleep;

use crate::support::{Log, ms};

struct Config;
struct Database;
struct Kept(Context);

#[tokio::test(start_paused = true)]
async fn events_tell_the_whole_story_in_order() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.value(Config);
    graph.add(|cx: Context, _: Dep<Config>| async move {
        cx.message("connecting");
        sleep(ms(5)).await;
        cx.progress(3, 10);
        cx.progress(4, None);
        Ok::<_, BoxError>(Database)
    });
    graph.start().await.unwrap().shutdown().await.unwrap();
    expect![[r#"
        planned 2
        starting Config 1
        ready Config
        starting Database 1
        advanced Database 0/None Some("connecting")
        advanced Database 3/Some(10) Some("connecting")
        advanced Database 4/None Some("connecting")
        ready Database
        started in 5ms
        settled in 5ms
        stopping Database
        stopped Database
        stopping Config
        stopped Config
        finished"#]]
    .assert_eq(&log.text());
}

#[tokio::test(start_paused = true)]
async fn progress_after_the_end_of_an_initialiser_is_ignored() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|cx: Context| async move { Ok::<_, BoxError>(Kept(cx)) });
    let running = graph.start().await.unwrap();
    running.get::<Kept>().unwrap().0.progress(1, 2);
    running.get::<Kept>().unwrap().0.message("too late");
    running.shutdown().await.unwrap();
    assert!(!log.text().contains("advanced"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_is_not_called_again_and_the_others_are() {
    let calls = Arc::new(AtomicUsize::new(0));
    let log = Log::default();
    let mut graph = Graph::new();
    let counted = Arc::clone(&calls);
    graph.observe(move |event: &Event<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert!(
            !matches!(event, Event::Ready { .. }),
            "an observer's own fault"
        );
    });
    graph.observe(log.clone());
    graph.value(Config);
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3, "planned, starting, ready");
    assert_eq!(log.at("finished"), log.lines().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_observer_is_an_observer() {
    let log = Arc::new(Log::default());
    let mut graph = Graph::new();
    graph.observe(Arc::clone(&log));
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(
        log.lines(),
        ["planned 0", "started in 0ns", "settled in 0ns", "finished"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wiring_error_is_heard_as_a_failed_start() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.add(|_: Dep<Config>| async { Ok::<_, BoxError>(Database) });
    graph.start().await.unwrap_err();
    assert!(
        log.text().starts_with("start failed: nothing provides `"),
        "{}",
        log.text()
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_in_events_are_those_of_the_plan() {
    let log = Log::default();
    let seen = log.clone();
    let mut graph = Graph::new();
    graph.observe(move |event: &Event<'_>| match event {
        Event::Planned { plan } => {
            let by_id: HashMap<_, _> = plan
                .nodes()
                .iter()
                .map(|node| (node.id(), node.name()))
                .collect();
            for node in plan.nodes() {
                let ids = plan.dependencies(node.id()).iter();
                let dependencies: Vec<_> = ids.map(|id| by_id[id]).collect();
                assert_eq!(plan.node(node.id()).name(), node.name());
                seen.say(format!(
                    "{} {} {:?}",
                    node.id().index(),
                    node.name(),
                    dependencies
                ));
            }
        }
        Event::Ready { node, .. } => seen.say(format!(
            "{} {:?} {}",
            node.id().index(),
            node.stage(),
            node.is_optional()
        )),
        _ => {}
    });
    graph
        .add(|_: Dep<Config>| async { Ok::<_, BoxError>(Database) })
        .stage("storage")
        .optional();
    graph.value(Config);
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "0 Config []",
            "1 Database [\"Config\"]",
            "0 None false",
            "1 Some(\"storage\") true"
        ]
    );
}

/// Hears whether two events of one node are ever told at the same time.
#[derive(Default)]
struct OneAtATime {
    inside: AtomicUsize,
    overlaps: AtomicUsize,
}

impl Observer for OneAtATime {
    fn on_event(&self, event: &Event<'_>) {
        if event.node().is_none_or(|node| node.name() != "speaker") {
            return;
        }
        let before = self.inside.fetch_add(1, Ordering::SeqCst);
        self.overlaps.fetch_add(before, Ordering::SeqCst);
        std::thread::yield_now();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_from_several_threads_are_heard_in_order_and_never_after_the_end() {
    for _ in 0..100 {
        let log = Log::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let alone = Arc::new(OneAtATime::default());
        let mut graph = Graph::new();
        graph.observe(log.clone());
        graph.observe(Arc::clone(&alone));
        let numbers = Arc::clone(&heard);
        graph.observe(move |event: &Event<'_>| {
            if let Event::Advanced { current, .. } = event {
                numbers.lock().unwrap().push(*current);
            }
        });
        let threads = Arc::new(Mutex::new(Vec::new()));
        let spawned = Arc::clone(&threads);
        let said = Arc::new(Mutex::new(0_u64));
        graph
            .add(move |cx: Context| {
                for _ in 0..3 {
                    let (cx, said) = (cx.clone(), Arc::clone(&said));
                    let talk = move || {
                        for _ in 0..50 {
                            // Under a lock of their own, so that there is an order to keep.
                            let mut said = said.lock().unwrap();
                            *said += 1;
                            cx.progress(*said, None);
                        }
                    };
                    spawned.lock().unwrap().push(std::thread::spawn(talk));
                }
                async { Ok::<_, BoxError>(Config) }
            })
            .named("speaker");
        let running = graph.start().await.unwrap();
        let threads = std::mem::take(&mut *threads.lock().unwrap());
        for thread in threads {
            thread.join().unwrap();
        }
        running.shutdown().await.unwrap();
        assert!(heard.lock().unwrap().is_sorted());
        assert_eq!(alone.overlaps.load(Ordering::SeqCst), 0);
        assert_eq!(log.at("finished"), log.lines().len() - 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_waits_until_the_words_before_it_are_heard() {
    let (told, listens) = mpsc::sync_channel(1);
    let told = Mutex::new(told);
    let (go, went) = mpsc::sync_channel::<()>(1);
    let went = Mutex::new(went);
    let log = Log::default();
    let heard = log.clone();
    let mut graph = Graph::new();
    graph.observe(move |event: &Event<'_>| match event {
        Event::Advanced { .. } => {
            told.lock().unwrap().send(()).unwrap();
            // Held up until the initialiser is about to end.
            went.lock().unwrap().recv().unwrap();
            heard.say("advanced");
        }
        Event::Ready { .. } => heard.say("ready"),
        _ => {}
    });
    let listens = Mutex::new(listens);
    graph.add(move |cx: Context| {
        std::thread::spawn(move || cx.progress(1, None));
        listens.lock().unwrap().recv().unwrap();
        go.send(()).unwrap();
        async { Ok::<_, BoxError>(Config) }
    });
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(log.lines(), ["advanced", "ready"]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_speak_for_a_component_without_end_and_without_harm() {
    let log = Log::default();
    let kept: Arc<Mutex<Vec<Context>>> = Arc::default();
    let answers = Arc::clone(&kept);
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.observe(move |event: &Event<'_>| {
        // Holds its own lock all the while, as a careless one would.
        for cx in answers.lock().unwrap().iter() {
            cx.message(format!("{:?} was heard", event.node().map(Node::name)));
        }
    });
    for name in ["one", "two"] {
        let kept = Arc::clone(&kept);
        graph
            .add(move |cx: Context| {
                kept.lock().unwrap().push(cx.clone());
                async move {
                    tokio::task::yield_now().await;
                    cx.progress(1, 2);
                    Ok::<_, BoxError>(())
                }
            })
            .named(name);
    }
    graph.start().await.unwrap().shutdown().await.unwrap();
    let lines = log.lines();
    let advanced = lines.iter().filter(|line| line.starts_with("advanced"));
    assert!(advanced.count() < 100, "{}", log.text());
    assert!(log.text().contains("was heard"), "{}", log.text());
}

/// Panics as it is dropped.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_carries_another_one_is_contained() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(|_: &Event<'_>| std::panic::panic_any(Grudge));
    graph.observe(log.clone());
    graph
        .add(|| async {
            if true {
                std::panic::panic_any(Grudge);
            }
            Ok::<_, BoxError>(Config)
        })
        .optional();
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(log.at("finished"), log.lines().len() - 1);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_while_it_is_dropped_is_contained() {
    let grudge = Grudge;
    let mut graph = Graph::new();
    graph.observe(move |_: &Event<'_>| {
        let _ = &grudge;
    });
    graph.value(Config);
    let running = graph.start().await.unwrap();
    assert_eq!(running.shutdown().await.unwrap().stopped(), 1);
}
#[tokio::test(start_paused = true)]
async fn words_of_an_attempt_that_is_over_are_not_those_of_the_next() {
    let log = Log::default();
    let first: Arc<Mutex<Option<Context>>> = Arc::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(move |cx: Context| {
            let earlier = first.lock().unwrap().replace(cx.clone());
            async move {
                cx.message(format!("attempt {}", cx.attempt()));
                match earlier {
                    None => Err::<Config, BoxError>("not yet".into()),
                    Some(earlier) => {
                        earlier.message("from the grave");
                        Ok(Config)
                    }
                }
            }
        })
        .named("config")
        .retry(Retry::fixed(3, ms(7)));
    graph.start().await.unwrap().shutdown().await.unwrap();
    expect![[r#"
        planned 1
        starting config 1
        advanced config 0/None Some("attempt 1")
        retrying config after 1/3 in 7ms: not yet
        starting config 2
        advanced config 0/None Some("attempt 2")
        ready config
        started in 7ms
        settled in 7ms
        stopping config
        stopped config
        finished"#]]
    .assert_eq(&log.text());
}

#[tokio::test(start_paused = true)]
async fn waits_for_permits_and_for_further_attempts_are_events() {
    let log = Log::default();
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.limit(Class::new("db"), 1);
    let mut calls = 0;
    let calls = Arc::new(Mutex::new(move || {
        calls += 1;
        calls
    }));
    graph
        .add(move || {
            let call = calls.lock().unwrap()();
            async move {
                sleep(ms(10)).await;
                match call {
                    1 => Err("not yet".into()),
                    _ => Ok::<_, BoxError>(Config),
                }
            }
        })
        .named("first")
        .priority(1)
        .class(Class::new("db"))
        .retry(Retry::fixed(2, ms(3)));
    graph
        .add(|| async {
            sleep(ms(20)).await;
            Ok::<_, BoxError>(Database)
        })
        .named("second")
        .class(Class::new("db"));
    graph.start().await.unwrap().shutdown().await.unwrap();
    expect![[r#"
        planned 2
        queued second in db
        starting first 1
        retrying first after 1/2 in 3ms: not yet
        starting second 1
        queued first in db
        ready second
        starting first 2
        ready first
        started in 40ms
        settled in 40ms
        stopping first
        stopped first
        stopping second
        stopped second
        finished"#]]
    .assert_eq(&log.text());
}
