//! The same promises on several threads, where the paused clock cannot put events in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use init_graph::{BoxError, Context, Dep, Event, Graph, Result};

use crate::telemetry::Logged;

/// 0 before, 1 while, 2 after the initialiser; 3 while, 4 after the hook.
#[derive(Default)]
struct States(Vec<AtomicU32>);

impl States {
    fn advance(&self, node: usize, to: u32) {
        let before = self.0[node].swap(to, Ordering::SeqCst);
        assert_eq!(before + 1, to, "n{node}");
    }

    fn is(&self, node: usize, state: u32) -> bool {
        self.0[node].load(Ordering::SeqCst) == state
    }
}

async fn initialise(
    cx: Context,
    states: Arc<States>,
    own: usize,
    layout: Arc<Layout>,
) -> Result<()> {
    assert!(
        layout.before[own].iter().all(|other| states.is(*other, 2)),
        "n{own} began too early"
    );
    states.advance(own, 1);
    if own.is_multiple_of(3) {
        tokio::task::yield_now().await;
    }
    let (hook_states, hook_layout) = (Arc::clone(&states), Arc::clone(&layout));
    cx.on_stop(move || async move {
        let behind_stopped = hook_layout.behind[own].iter().all(|other| {
            [0, 1, 4]
                .into_iter()
                .any(|state| hook_states.is(*other, state))
        });
        assert!(behind_stopped, "n{own} stops too early");
        hook_states.advance(own, 3);
        tokio::task::yield_now().await;
        hook_states.advance(own, 4);
        Ok(())
    });
    states.advance(own, 2);
    if layout.fails == Some(own) {
        Err("as told".into())
    } else {
        Ok(())
    }
}

struct Layout {
    before: Vec<Vec<usize>>,
    behind: Vec<Vec<usize>>,
    fails: Option<usize>,
}

impl Layout {
    /// A lattice: each node needs up to three of those shortly before it.
    fn new(nodes: usize, fails: Option<usize>) -> Arc<Self> {
        let before: Vec<Vec<usize>> = (0..nodes)
            .map(|own| {
                [1, 7, 31]
                    .into_iter()
                    .filter_map(|step| own.checked_sub(step + own % 5))
                    .collect()
            })
            .collect();
        let mut behind = vec![Vec::new(); nodes];
        for (own, others) in before.iter().enumerate() {
            for other in others {
                behind[*other].push(own);
            }
        }
        Arc::new(Self {
            before,
            behind,
            fails,
        })
    }
}

fn graph(layout: &Arc<Layout>, states: &Arc<States>) -> Graph {
    let mut graph = Graph::new();
    for (own, before) in layout.before.iter().enumerate() {
        let (layout, states) = (Arc::clone(layout), Arc::clone(states));
        let component = graph
            .add(move |cx: Context| initialise(cx, Arc::clone(&states), own, Arc::clone(&layout)));
        component.named(format!("n{own}"));
        for other in before {
            component.after(format!("n{other}"));
        }
    }
    graph
}

fn states(nodes: usize) -> Arc<States> {
    Arc::new(States((0..nodes).map(|_| AtomicU32::new(0)).collect()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_holds_on_several_threads_at_start_and_stop() {
    for _ in 0..20 {
        let (layout, states) = (Layout::new(500, None), states(500));
        let running = graph(&layout, &states).start().await.unwrap();
        assert!((0..500).all(|node| states.is(node, 2)));
        let report = running.shutdown().await.unwrap();
        assert_eq!(report.stopped(), 500);
        assert!((0..500).all(|node| states.is(node, 4)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_began_is_undone_on_several_threads() {
    for fails in (0..300).step_by(13) {
        let (layout, states) = (Layout::new(300, Some(fails)), states(300));
        let ends = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ends);
        let mut graph = graph(&layout, &states);
        graph.observe(move |event: &Event<'_>| match event {
            Event::Starting { .. } => drop(counted.fetch_add(1, Ordering::SeqCst)),
            Event::Ready { .. } | Event::Failed { .. } | Event::Cancelled { .. } => {
                counted.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        });
        let error = graph.start().await.unwrap_err();
        assert_eq!(error.failures()[0].node().name(), format!("n{fails}"));
        assert!(
            error.rollback().unwrap().is_clean(),
            "{}",
            error.rollback().unwrap()
        );
        assert_eq!(ends.load(Ordering::SeqCst), 0, "every begin has an end");
        // A node that was cancelled before it registered its hook stays at 1.
        assert!(
            (0..300).all(|node| states.is(node, 0) || states.is(node, 1) || states.is(node, 4))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_dropped_at_any_moment_leaves_nothing_running() {
    for moment in 0..30 {
        let (layout, states) = (Layout::new(300, None), states(300));
        let (finished, mut all_finished) = tokio::sync::watch::channel(false);
        let mut graph = graph(&layout, &states);
        graph.observe(move |event: &Event<'_>| {
            if matches!(event, Event::Finished { .. }) {
                finished.send_replace(true);
            }
        });
        let start = tokio::time::timeout(Duration::from_micros(moment * 100), graph.start()).await;
        match start {
            Ok(running) => assert_eq!(running.unwrap().shutdown().await.unwrap().stopped(), 300),
            Err(_) => drop(all_finished.wait_for(|finished| *finished).await),
        }
        assert!(
            (0..300).all(|node| states.is(node, 0) || states.is(node, 1) || states.is(node, 4)),
            "moment {moment}"
        );
    }
}

/// A component or hook that blocks its thread until the returned sender is dropped.
fn blocker() -> (
    std::sync::mpsc::SyncSender<()>,
    impl Fn() + Clone + Send + Sync,
) {
    let (release, blocked) = std::sync::mpsc::sync_channel(0);
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let wait = move || {
        let released = blocked.lock().unwrap().recv();
        assert!(released.is_err(), "nothing is ever sent");
    };
    (release, wait)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hook_that_blocks_its_thread_is_abandoned() {
    let (release, block) = blocker();
    let mut graph = Graph::new();
    graph.stop_timeout(Duration::from_millis(50));
    graph
        .add(move |cx: Context| {
            let block = block.clone();
            async move {
                cx.on_stop(move || async move {
                    block();
                    Ok(())
                });
                Ok::<_, BoxError>(())
            }
        })
        .named("stubborn");
    let error = graph.start().await.unwrap().shutdown().await.unwrap_err();
    assert_eq!(error.report().abandoned(), ["stubborn"]);
    assert_eq!(
        error.to_string(),
        "stop was not clean: `stubborn` was abandoned"
    );
    drop(release);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_initialiser_that_blocks_its_thread_does_not_hold_up_the_rollback_for_ever() {
    let (release, block) = blocker();
    let (entered, mut has_entered) = tokio::sync::watch::channel(false);
    let token = tokio_util::sync::CancellationToken::new();
    let mut graph = Graph::new();
    graph.stop_timeout(Duration::from_millis(100));
    graph.cancel_on(token.clone());
    graph.add(move |cx: Context| {
        let (block, entered) = (block.clone(), entered.clone());
        async move {
            cx.on_stop(|| async { Ok(()) });
            entered.send_replace(true);
            block();
            Ok::<_, BoxError>(())
        }
    });
    let start = tokio::spawn(graph.start());
    has_entered.wait_for(|entered| *entered).await.unwrap();
    token.cancel();
    let error = start.await.unwrap().unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.rollback().unwrap().stopped(), 1);
    drop(release);
}

/// Lets as many threads through as it was made for, and only together.
struct Together {
    count: std::sync::Mutex<usize>,
    all: std::sync::Condvar,
}

impl Together {
    fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            count: std::sync::Mutex::new(threads),
            all: std::sync::Condvar::new(),
        })
    }

    /// Whether all came in time; the time is only for a test that fails.
    fn wait(&self) -> bool {
        let mut count = self.count.lock().unwrap();
        *count -= 1;
        self.all.notify_all();
        let waited = self
            .all
            .wait_timeout_while(count, Duration::from_secs(20), |count| *count > 0);
        !waited.unwrap().1.timed_out()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_initialiser_that_blocks_its_thread_at_once_delays_no_other() {
    struct Root;
    for behind_a_root in [false, true] {
        let together = Together::new(3);
        let mut graph = Graph::new();
        if behind_a_root {
            graph
                .add(|| async { Ok::<_, BoxError>(Root) })
                .named("root");
        } else {
            graph.value(Root);
        }
        for name in ["a", "b", "c"] {
            let together = Arc::clone(&together);
            graph
                .add(move |_: Dep<Root>| {
                    let together = Arc::clone(&together);
                    async move { together.wait().then_some(()).ok_or("alone") }
                })
                .named(name);
        }
        let running = graph.start().await.unwrap();
        running.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialisers_that_block_in_place_run_side_by_side_beyond_the_number_of_threads() {
    let together = Together::new(8);
    let mut graph = Graph::new();
    for number in 0..8 {
        let together = Arc::clone(&together);
        graph
            .add(move || {
                let together = Arc::clone(&together);
                async move {
                    let came = tokio::task::block_in_place(|| together.wait());
                    came.then_some(()).ok_or("alone")
                }
            })
            .named(format!("n{number}"));
    }
    graph.start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_components_run_side_by_side_and_get_what_they_need() {
    struct Config(u32);
    let together = Together::new(8);
    let sum = Arc::new(AtomicU32::new(0));
    let mut graph = Graph::new();
    graph.value(Config(3));
    for number in 0..8 {
        let (together, sum) = (Arc::clone(&together), Arc::clone(&sum));
        graph
            .add_blocking(move |config: Dep<Config>, cx: Context| {
                assert_eq!(cx.attempt(), 1);
                sum.fetch_add(config.0, Ordering::SeqCst);
                together.wait().then_some(()).ok_or("alone")
            })
            .named(format!("n{number}"));
    }
    graph.start().await.unwrap().shutdown().await.unwrap();
    assert_eq!(sum.load(Ordering::SeqCst), 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_component_that_panics_fails_by_its_name() {
    let mut graph = Graph::new();
    graph
        .add_blocking(|| -> Result<()> { panic!("lost my head") })
        .named("model");
    let error = graph.start().await.unwrap_err();
    assert_eq!(error.failures()[0].node().name(), "model");
    assert_eq!(
        error.failures()[0].cause().to_string(),
        "panicked: lost my head"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_component_that_does_not_end_is_left_behind_and_named() {
    let (release, block) = blocker();
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&ends);
    let (finished, mut has_finished) = tokio::sync::watch::channel(false);
    let (entered, mut has_entered) = tokio::sync::watch::channel(false);
    let token = tokio_util::sync::CancellationToken::new();
    let mut graph = Graph::new();
    graph.stop_timeout(Duration::from_millis(100));
    graph.cancel_on(token.clone());
    graph.observe(move |event: &Event<'_>| {
        if event.node().is_some() {
            heard.lock().unwrap().push(format!("{event:?}"));
        }
    });
    graph
        .add_blocking(move || {
            entered.send_replace(true);
            block();
            finished.send_replace(true);
            Ok::<_, BoxError>(())
        })
        .named("model");
    let start = tokio::spawn(graph.start());
    has_entered.wait_for(|entered| *entered).await.unwrap();
    token.cancel();
    let error = start.await.unwrap().unwrap_err();
    assert_eq!(error.rollback().unwrap().abandoned(), ["model"]);
    drop(release);
    has_finished.wait_for(|finished| *finished).await.unwrap();
    let ends = ends.lock().unwrap();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(ends[0].starts_with("Starting") && ends[1].starts_with("Abandoned"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_component_out_of_time_fails_while_its_thread_goes_on() {
    let (release, block) = blocker();
    let mut graph = Graph::new();
    graph
        .add_blocking(move || {
            block();
            Ok::<_, BoxError>(())
        })
        .timeout(Duration::from_millis(20));
    let error = graph.start().await.unwrap_err();
    assert!(matches!(
        error.failures()[0].cause(),
        init_graph::Cause::TimedOut(_)
    ));
    drop(release);
}

#[tokio::test]
async fn an_initialiser_that_holds_its_thread_is_named_once_with_the_way_out() {
    let logged = Logged::default();
    let _guard = logged.install();
    let hold = || {
        let (never, waits) = std::sync::mpsc::sync_channel::<()>(0);
        assert!(waits.recv_timeout(Duration::from_millis(60)).is_err());
        drop(never);
    };
    let mut graph = Graph::new();
    graph
        .add(move || async move {
            hold();
            tokio::task::yield_now().await;
            hold();
            Ok::<_, BoxError>(())
        })
        .named("greedy");
    graph
        .add(|| async { Ok::<_, BoxError>(()) })
        .named("modest");
    graph.start().await.unwrap().shutdown().await.unwrap();
    let text = logged.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(
        warnings[0].contains("greedy") && warnings[0].contains("add_blocking"),
        "{text}"
    );
}

/// A graph on a runtime that ends while one waits on another: `Model` starts on demand and never ends.
#[test]
fn whoever_waits_elsewhere_is_told_when_the_runtime_of_the_graph_ends() {
    struct Model;
    struct Owner(init_graph::Lazy<Model>);
    for asked_before in [true, false] {
        let own = tokio::runtime::Runtime::new().unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let begun = std::sync::Mutex::new(Some(begun));
        let mut graph = Graph::new();
        graph.add(move || {
            let _ = begun.lock().unwrap().take().unwrap().send(());
            std::future::pending::<Result<Model>>()
        });
        graph.add(|model: init_graph::Lazy<Model>| async move { Ok::<_, BoxError>(Owner(model)) });
        let running = own.block_on(graph.start()).unwrap();
        let owner = running.get::<Owner>().unwrap();
        let elsewhere = tokio::runtime::Runtime::new().unwrap();
        let model = owner.0.clone();
        let asked = asked_before.then(|| {
            let model = model.clone();
            let asked = elsewhere.spawn(async move { model.get().await.map(drop) });
            elsewhere.block_on(has_begun).unwrap();
            asked
        });
        drop(own);
        let told = elsewhere.block_on(async move {
            tokio::time::timeout(Duration::from_secs(30), async move {
                match asked {
                    Some(asked) => asked.await.unwrap(),
                    None => model.get().await.map(drop),
                }
            })
            .await
        });
        assert!(told.expect("a wait that ends").unwrap_err().is_stopped());
        let error = elsewhere.block_on(running.restart::<Owner>()).unwrap_err();
        assert!(error.is_stopping());
        let error = elsewhere.block_on(running.shutdown()).unwrap_err();
        assert_eq!(error.report().abandoned().len(), 1);
    }
}

/// A value that tells when it is dropped.
struct Tells(Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for Tells {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            let _ = told.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_after_the_running_graph_was_dropped_leaves_nothing_behind() {
    let (release, block) = blocker();
    let (told, dropped) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let (entered, mut has_entered) = tokio::sync::watch::channel(false);
    let (hook_told, hook_dropped) = tokio::sync::oneshot::channel();
    let hook = std::sync::Mutex::new(Some(Tells(Some(hook_told))));
    let mut graph = Graph::new();
    graph
        .add_blocking(move |cx: Context| {
            entered.send_replace(true);
            block();
            let hook = hook.lock().unwrap().take();
            cx.on_stop(move || async move {
                drop(hook);
                panic!("nobody runs it");
            });
            Ok::<_, BoxError>(Tells(told.lock().unwrap().take()))
        })
        .background();
    let running = graph.start().await.unwrap();
    has_entered.wait_for(|entered| *entered).await.unwrap();
    let handle = running.handle();
    drop(running);
    drop(release);
    let both = async { (dropped.await, hook_dropped.await) };
    let both = tokio::time::timeout(Duration::from_secs(30), both).await;
    assert_eq!(both.expect("both are dropped"), (Ok(()), Ok(())));
    assert!(handle.get::<Tells>().is_none());
}
