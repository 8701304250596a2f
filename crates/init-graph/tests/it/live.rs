//! Values that are followed through restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use init_graph::{BoxError, Dep, Graph, Live, Result, Running};
use tokio::time::timeout;

use crate::support::{Log, ms};

#[derive(Debug)]
struct Limits(u32);
struct Api {
    limits: Live<Limits>,
}
struct Page;

async fn api(limits: Live<Limits>) -> Result<Api> {
    Ok(Api { limits })
}

/// `Limits` with the number of its start, an `Api` that follows it, and a `Page` on the `Api`.
fn graph(log: &Log) -> Graph {
    let starts = Arc::new(AtomicU32::new(0));
    let mut graph = Graph::new();
    graph.observe(log.clone());
    graph
        .add(move || {
            let number = starts.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                if number == 3 {
                    return Err("no third".into());
                }
                Ok::<_, BoxError>(Limits(number))
            }
        })
        .provide(|limits: Arc<Limits>| limits as Arc<dyn std::fmt::Debug + Send + Sync>);
    graph.add(api);
    graph.add(|_: Dep<Api>| async { Ok::<_, BoxError>(Page) });
    graph
}

fn live(running: &Running) -> Live<Limits> {
    running.get::<Api>().unwrap().limits.clone()
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_the_value_and_leaves_those_who_follow_it_running() {
    let log = Log::default();
    let running = graph(&log).start().await.unwrap();
    let mut limits = live(&running);
    assert_eq!(limits.load().0, 1);
    assert!(timeout(ms(5), limits.changed()).await.is_err());
    let report = running.restart::<Limits>().await.unwrap();
    assert_eq!(report.nodes(), ["Limits"]);
    assert_eq!(limits.load().0, 2);
    // A wait that was dropped missed nothing.
    assert_eq!(limits.changed().await.unwrap().0, 2);
    assert!(timeout(ms(5), limits.changed()).await.is_err());
    assert_eq!(log.count("starting api 1"), 1);
    assert_eq!(log.count("stopping Page"), 0);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_that_failed_the_old_value_stays_and_the_next_one_is_followed() {
    let log = Log::default();
    let running = graph(&log).start().await.unwrap();
    let mut limits = live(&running);
    running.restart::<Limits>().await.unwrap();
    let error = running.restart::<Limits>().await.unwrap_err();
    assert_eq!(error.gone(), ["Limits"]);
    assert!(running.get::<Limits>().is_none());
    assert_eq!(limits.load().0, 2);
    assert_eq!(limits.changed().await.unwrap().0, 2);
    running.restart::<Limits>().await.unwrap();
    assert_eq!(limits.changed().await.unwrap().0, 4);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_view_of_the_value_is_followed_as_well() {
    struct Watcher(Live<dyn std::fmt::Debug + Send + Sync>);
    let mut graph = graph(&Log::default());
    graph.add(
        |value: Live<dyn std::fmt::Debug + Send + Sync>| async move {
            Ok::<_, BoxError>(Watcher(value))
        },
    );
    let running = graph.start().await.unwrap();
    let watcher = running.get::<Watcher>().unwrap();
    assert_eq!(format!("{:?}", &*watcher.0.load()), "Limits(1)");
    running.restart::<Limits>().await.unwrap();
    assert_eq!(format!("{:?}", &*watcher.0.load()), "Limits(2)");
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_change_is_told_that_the_graph_stops() {
    for drop_only in [false, true] {
        let running = graph(&Log::default()).start().await.unwrap();
        let mut limits = live(&running);
        let waiting = tokio::spawn(async move {
            let mut changes = 0;
            while limits.changed().await.is_some() {
                changes += 1;
            }
            (changes, limits.load().0)
        });
        tokio::task::yield_now().await;
        if drop_only {
            drop(running);
        } else {
            running.shutdown().await.unwrap();
        }
        assert_eq!(waiting.await.unwrap(), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_initialiser_can_be_called_by_hand_with_a_value() {
    let made = api(Live::from(Limits(5))).await.unwrap();
    let mut limits = made.limits.clone();
    assert_eq!(limits.load().0, 5);
    assert!(limits.changed().await.is_none());
}

/// One that takes the value and follows it too starts again with it, and has to see the new one by both ways.
#[tokio::test(start_paused = true)]
async fn one_that_starts_again_itself_sees_the_new_value_from_the_begin() {
    struct Both(u32, u32);
    let mut graph = graph(&Log::default());
    graph.add(|now: Dep<Limits>, limits: Live<Limits>| async move {
        Ok::<_, BoxError>(Both(now.0, limits.load().0))
    });
    let running = graph.start().await.unwrap();
    running.restart::<Limits>().await.unwrap();
    let both = running.get::<Both>().unwrap();
    assert_eq!((both.0, both.1), (2, 2));
    assert_eq!(live(&running).load().0, 2);
    running.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_came_back_of_a_restart_that_failed_is_followed() {
    struct Feature;
    struct Service(u32);
    struct Watcher(Live<Service>);
    let starts = Arc::new(AtomicU32::new(0));
    let services = Arc::new(AtomicU32::new(0));
    let mut graph = Graph::new();
    graph
        .add(move || {
            let number = starts.fetch_add(1, Ordering::SeqCst);
            async move {
                match number {
                    0 => Ok::<_, BoxError>(Feature),
                    _ => Err("no".into()),
                }
            }
        })
        .optional();
    graph.add(move |_: Option<Dep<Feature>>| {
        let number = services.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok::<_, BoxError>(Service(number)) }
    });
    graph.add(|service: Live<Service>| async { Ok::<_, BoxError>(Watcher(service)) });
    let running = graph.start().await.unwrap();
    let mut service = running.get::<Watcher>().unwrap().0.clone();
    let error = running.restart::<Feature>().await.unwrap_err();
    assert_eq!(error.gone(), ["Feature"]);
    assert_eq!(running.get::<Service>().unwrap().0, 2);
    assert_eq!(service.load().0, 2);
    assert_eq!(service.changed().await.unwrap().0, 2);
    running.shutdown().await.unwrap();
}

/// A value that owns the graph it is part of, and lets go of it when it is dropped.
struct Owner(Arc<std::sync::Mutex<Option<Running>>>);

impl Drop for Owner {
    fn drop(&mut self) {
        let running = self.0.lock().unwrap().take();
        drop(running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_followed_value_that_lets_go_of_its_graph_when_it_is_replaced_blocks_nobody() {
    struct Follower(
        #[expect(dead_code, reason = "held, so that the value is followed")] Live<Owner>,
    );
    let slot = Arc::new(std::sync::Mutex::new(None));
    let own = Arc::clone(&slot);
    let mut graph = Graph::new();
    graph.add(move || {
        let owner = Owner(Arc::clone(&own));
        async { Ok::<_, BoxError>(owner) }
    });
    graph.add(async |owner: Live<Owner>| Ok::<_, BoxError>(Follower(owner)));
    let running = graph.start().await.unwrap();
    let handle = running.handle();
    *slot.lock().unwrap() = Some(running);
    drop(handle.restart::<Owner>().await);
    assert!(slot.lock().unwrap().is_none());
}

/// Counts itself out and panics when it is dropped.
struct Bomb<const N: u8>(Arc<AtomicU32>);

impl<const N: u8> Drop for Bomb<N> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("as told"));
    }
}

fn bomb<const N: u8>(graph: &mut Graph, alive: &Arc<AtomicU32>) {
    let alive = Arc::clone(alive);
    let make = move || {
        alive.fetch_add(1, Ordering::SeqCst);
        let bomb = Bomb::<N>(Arc::clone(&alive));
        async { Ok::<_, BoxError>(bomb) }
    };
    graph.add(make).after("root");
}

#[tokio::test(start_paused = true)]
async fn of_followed_values_that_panic_when_they_are_dropped_none_outlives_the_graph() {
    let (starts, alive) = (AtomicU32::new(0), Arc::default());
    let mut graph = Graph::new();
    graph
        .add(move || {
            let number = starts.fetch_add(1, Ordering::SeqCst);
            async move { (number == 0).then_some(()).ok_or("only once") }
        })
        .named("root");
    bomb::<1>(&mut graph, &alive);
    bomb::<2>(&mut graph, &alive);
    graph.add(async |_: Live<Bomb<1>>, _: Live<Bomb<2>>| Ok::<_, BoxError>(Page));
    let running = graph.start().await.unwrap();
    // What fails leaves the old values to those who would follow them.
    running.restart_named("root").await.unwrap_err();
    assert!(alive.load(Ordering::SeqCst) >= 2);
    running.shutdown().await.unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}
