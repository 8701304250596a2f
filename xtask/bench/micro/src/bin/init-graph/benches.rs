//! What can be compared between versions: whole starts, starts with their stops and checks of small graphs, on one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::Suite;
use init_graph::{BoxError, Context, Graph};
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use tokio::task::JoinSet;

use crate::ours;
use crate::parts::Body;
use crate::shapes::{Family, Shape, number};
use crate::ways::{OURS_ONLY_START, PEERS, Way};

pub(crate) fn add(suite: &mut Suite) {
    for (family, parts) in [
        (Family::Chain, 100),
        (Family::FanOut, 100),
        (Family::Random, 1_000),
    ] {
        start(suite, family, parts);
    }
    start_and_stop(suite);
    check(suite);
}

fn start(suite: &mut Suite, family: Family, parts: usize) {
    let about = format!(
        "build and start {parts} parts that do nothing, {}",
        family.about()
    );
    let op = |way: Way| {
        async move || {
            let shape = Arc::new(family.of(parts));
            async move || (way.start)(Arc::clone(&shape), Body::Nothing).await
        }
    };
    let bench = suite.bench(&format!("start-{}-{parts}", family.name()));
    bench.about(&about).ours_async("Graph", op(OURS_ONLY_START));
    let shape = family.of(parts);
    for way in PEERS.into_iter().filter(|way| (way.can)(&shape)) {
        bench.peer_async(way.label, op(way));
    }
}

/// The other crates know no stop.
fn start_and_stop(suite: &mut Suite) {
    suite
        .bench("start-stop-random-1000")
        .about("build, start and stop 1000 parts that count, each after three others; each stops after those that need it")
        .ours_async("Graph", async || {
            verified(async |shape, count| {
                let running = counting(shape, count).start().await.expect("a start");
                running.shutdown().await.expect("a stop");
            })
            .await
        })
        .peer_async("floor:one after another", async || {
            verified(async |shape, count| {
                for _ in 0..shape.parts() {
                    count.clone().start().await.expect("a start");
                }
                for _ in 0..shape.parts() {
                    count.clone().stop().await.expect("a stop");
                }
            })
            .await
        })
        .peer_async("JoinSet by hand", async || {
            verified(async |shape, count| {
                let followers = shape.followers();
                let needs: Vec<_> = (0..shape.parts())
                    .map(|part| shape.needs(part).to_vec())
                    .collect();
                walk(&followers, &needs, |_| count.clone().start()).await;
                walk(&needs, &followers, |_| count.clone().stop()).await;
            })
            .await
        });
}

fn check(suite: &mut Suite) {
    suite
        .bench("build-check-1000")
        .about("wire 1000 parts, each after three others, and see that they fit, without starting them")
        .ours("Graph::check", || {
            let shape = Family::Random.of(1_000);
            move || ours::graph(&shape, &Body::Nothing).check().expect("it fits")
        })
        .peer("petgraph toposort", || {
            let shape = Family::Random.of(1_000);
            move || {
                let mut graph = DiGraph::<(), ()>::with_capacity(shape.parts(), shape.parts());
                for part in 0..shape.parts() {
                    let node = graph.add_node(());
                    for need in shape.needs(part) {
                        graph.add_edge(NodeIndex::new(*need as usize), node, ());
                    }
                }
                toposort(&graph, None).expect("no cycle")
            }
        });
}

/// What a part does that is stopped too: it counts, so that what is measured is everything around it.
#[derive(Clone, Default)]
struct Count {
    started: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
}

impl Count {
    async fn start(self) -> Result<(), BoxError> {
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn stop(self) -> Result<(), BoxError> {
        self.stopped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs `op` once to see that it starts and stops every part.
async fn verified(op: impl AsyncFn(&Shape, &Count) + 'static) -> impl AsyncFn() {
    let (shape, count) = (Family::Random.of(1_000), Count::default());
    op(&shape, &count).await;
    let seen = [&count.started, &count.stopped].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(seen, [shape.parts(); 2]);
    async move || op(&shape, &count).await
}

fn counting(shape: &Shape, count: &Count) -> Graph {
    ours::graph_of(shape, |graph, _| {
        let count = count.clone();
        graph.add(move |cx: Context| {
            let stopping = count.clone();
            cx.on_stop(|| stopping.stop());
            count.clone().start()
        })
    })
}

/// Visits every part as soon as those before it are done.
async fn walk<F>(after: &[Vec<u32>], before: &[Vec<u32>], visit: impl Fn(u32) -> F)
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let mut missing: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut tasks = JoinSet::new();
    let spawn = |tasks: &mut JoinSet<u32>, part: u32| {
        let visited = visit(part);
        tasks.spawn(async move {
            visited.await.expect("no failure");
            part
        });
    };
    for part in (0..missing.len()).filter(|part| missing[*part] == 0) {
        spawn(&mut tasks, number(part));
    }
    while let Some(done) = tasks.join_next().await {
        for next in &after[done.expect("no panic") as usize] {
            let missing = &mut missing[*next as usize];
            *missing -= 1;
            if *missing == 0 {
                spawn(&mut tasks, *next);
            }
        }
    }
}
