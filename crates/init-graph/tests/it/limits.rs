//! Limits on how many components initialise at once, and who begins first where they make some wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;
use init_graph::{BoxError, Class, Context, Dep, Graph, Result, Retry};
use tokio::time::{Instant, sleep};

use crate::support::{Log, ms};

/// Counts who is at work.
#[derive(Clone, Default)]
struct AtWork {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl AtWork {
    fn enter(&self) -> Leave {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Leave(Arc::clone(&self.now))
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Leaves on drop, so that an initialiser that is dropped leaves as well.
struct Leave(Arc<AtomicUsize>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn add<'a>(
    graph: &'a mut Graph,
    name: &'static str,
    took: u64,
    at_work: &AtWork,
) -> &'a mut init_graph::Component {
    let at_work = at_work.clone();
    graph
        .add(move || {
            let at_work = at_work.clone();
            async move {
                let _leave = at_work.enter();
                sleep(ms(took)).await;
                Ok::<_, BoxError>(())
            }
        })
        .named(name)
}

fn begun(log: &Log) -> Vec<String> {
    let lines = log.lines();
    let names = lines
        .iter()
        .filter_map(|line| line.strip_prefix("starting "));
    names
        .filter_map(|line| line.strip_suffix(" 1"))
        .map(ToOwned::to_owned)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn never_more_of_a_class_are_at_work_than_its_limit() {
    let (log, at_work, others) = (Log::default(), AtWork::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    let class = Class::new("db");
    graph.limit(class.clone(), 2);
    for name in ["a", "b", "c", "d", "e"] {
        add(&mut graph, name, 10, &at_work).class(class.clone());
    }
    for name in ["x", "y", "z"] {
        add(&mut graph, name, 10, &others);
    }
    let begun = Instant::now();
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(30));
    assert_eq!((at_work.most(), others.most()), (2, 3));
    expect![[r#"
        queued c in db
        queued d in db
        queued e in db"#]]
    .assert_eq(
        &log.lines()
            .iter()
            .filter(|line| line.starts_with("queued"))
            .cloned()
            .collect::<Vec<_>>()
            .join("\n"),
    );
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_the_graph_holds_for_all_classes_together_but_not_for_values_and_points() {
    let at_work = AtWork::default();
    let mut graph = Graph::new();
    graph.concurrency(3);
    graph.value(0_u8);
    graph.node("point");
    for (name, class) in [
        ("a", Class::IO),
        ("b", Class::CPU),
        ("c", Class::new("own")),
        ("d", Class::IO),
        ("e", Class::CPU),
        ("f", Class::IO),
    ] {
        add(&mut graph, name, 10, &at_work).class(class);
    }
    let begun = Instant::now();
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(at_work.most(), 3);
    assert_eq!(begun.elapsed(), ms(20));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_begin_in_the_order_in_which_they_became_free() {
    let (log, at_work) = (Log::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.concurrency(1);
    for name in ["a", "b", "c", "d"] {
        add(&mut graph, name, 1, &at_work);
    }
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(begun(&log), ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_higher_priority_begins_first() {
    let (log, at_work) = (Log::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.concurrency(1);
    for (name, priority) in [("a", 0), ("b", 10), ("c", -5), ("d", 10)] {
        add(&mut graph, name, 1, &at_work).priority(priority);
    }
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(begun(&log), ["b", "d", "a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn of_equal_priority_the_longest_expected_path_begins_first() {
    let (log, at_work) = (Log::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.concurrency(2);
    // Three short ones in the order of adding would keep the head of the long path waiting: 10 + 10 + 10 + 40.
    for name in ["short 1", "short 2", "short 3"] {
        add(&mut graph, name, 10, &at_work).expected(ms(10));
    }
    add(&mut graph, "head", 10, &at_work).expected(ms(10));
    add(&mut graph, "tail", 20, &at_work)
        .expected(ms(20))
        .after("head");
    let begin = Instant::now();
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(begun(&log)[0], "head");
    assert_eq!(begin.elapsed(), ms(30));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_next_attempt_holds_no_permit() {
    let (log, at_work) = (Log::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.concurrency(1);
    let counted = at_work.clone();
    graph
        .add(move |cx: Context| {
            let at_work = counted.clone();
            async move {
                let _leave = at_work.enter();
                sleep(ms(10)).await;
                if cx.attempt() == 1 {
                    return Err(BoxError::from("not yet"));
                }
                Ok(())
            }
        })
        .named("flaky")
        .retry(Retry::fixed(2, ms(100)));
    add(&mut graph, "other", 60, &at_work);
    add(&mut graph, "last", 60, &at_work);
    let begun = Instant::now();
    let running = graph.start().await.unwrap();
    // 10, then 60 and 60 while it waits for 100 and in the queue for 20, then 10.
    assert_eq!(begun.elapsed(), ms(140));
    assert_eq!(at_work.most(), 1);
    expect![[r#"
        planned 3
        queued other in io
        queued last in io
        starting flaky 1
        retrying flaky after 1/2 in 100ms: not yet
        starting other 1
        ready other
        starting last 1
        queued flaky in io
        ready last
        starting flaky 2
        ready flaky
        started in 140ms
        settled in 140ms"#]]
    .assert_eq(&log.text());
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_however_an_attempt_ends() {
    let at_work = AtWork::default();
    let mut graph = Graph::new();
    graph.concurrency(1);
    graph
        .add(|| async { panic!("at once") as Result<()> })
        .named("panics")
        .optional();
    graph
        .add(|| async { Err::<(), _>("refused") })
        .named("fails")
        .optional();
    graph
        .add(|| async { std::future::pending::<Result<()>>().await })
        .named("hangs")
        .timeout(ms(10))
        .optional();
    graph.add_blocking(|| Ok::<_, BoxError>(())).named("blocks");
    graph
        .add(|| async { Ok::<_, BoxError>(()) })
        .named("skipped")
        .when(|| false);
    add(&mut graph, "last", 10, &at_work);
    let begun = Instant::now();
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!((at_work.most(), begun.elapsed()), (1, ms(20)));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_for_a_permit_are_skipped_when_the_start_is_given_up() {
    let (log, at_work) = (Log::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph.concurrency(1);
    graph
        .add(|| async { Err::<(), _>("refused") })
        .named("first");
    for name in ["second", "third"] {
        add(&mut graph, name, 10, &at_work);
    }
    graph.start().await.unwrap_err();
    assert_eq!(at_work.most(), 0);
    for name in ["second", "third"] {
        log.at(&format!("queued {name} in io"));
        log.at(&format!("skipped {name} because the start was given up"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limits_hold_on_several_threads() {
    struct Root;
    let (at_work, blocking) = (AtWork::default(), AtWork::default());
    let mut graph = Graph::new();
    graph.limit(Class::BLOCKING, 3);
    graph.limit(Class::new("own"), 5);
    graph.value(Root);
    for number in 0..400 {
        let (at_work, blocking) = (at_work.clone(), blocking.clone());
        if number % 2 == 0 {
            graph
                .add_blocking(move |_: Dep<Root>| {
                    let _leave = blocking.enter();
                    std::thread::yield_now();
                    Ok::<_, BoxError>(())
                })
                .named(format!("n{number}"));
        } else {
            graph
                .add(move |_: Dep<Root>| {
                    let at_work = at_work.clone();
                    async move {
                        let _leave = at_work.enter();
                        tokio::task::yield_now().await;
                        Ok::<_, BoxError>(())
                    }
                })
                .named(format!("n{number}"))
                .class(Class::new("own"));
        }
    }
    let report = graph.start().await.unwrap().shutdown().await.unwrap();
    assert!(report.is_clean());
    assert!((1..=5).contains(&at_work.most()) && (1..=3).contains(&blocking.most()));
}
