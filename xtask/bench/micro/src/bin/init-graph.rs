//! What the graph itself costs in a start and a stop, beside what one would write by hand for the same parts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use harness::{Exit, Suite};
use init_graph::{BoxError, Context, Graph};
use petgraph::Direction;
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use tokio::task::JoinSet;

fn main() -> Exit {
    let chain = Shape::of(100, 1, 1);
    let wide = Shape::of(1, 100, 0);
    harness::main("init-graph", |suite: &mut Suite| {
        start(suite, "chain-100", chain, "100, each after the one before");
        start(suite, "wide-100", wide, "100 that need nothing");
        let about = "10 layers of 100, each after 3 of the layer before";
        start(suite, "layered-1000", LAYERED, about);
        check(suite);
    })
}

/// Which parts there are and what they need: layers of equal width.
#[derive(Clone, Copy)]
struct Shape {
    layers: usize,
    width: usize,
    /// So many of the layer before.
    needs: usize,
}

const LAYERED: Shape = Shape::of(10, 100, 3);

impl Shape {
    const fn of(layers: usize, width: usize, needs: usize) -> Self {
        Self {
            layers,
            width,
            needs,
        }
    }

    fn parts(self) -> usize {
        self.layers * self.width
    }

    fn needs(self, part: usize) -> impl Iterator<Item = usize> {
        let (layer, place) = (part / self.width, part % self.width);
        let needs = if layer == 0 { 0 } else { self.needs };
        (0..needs).map(move |other| (layer - 1) * self.width + (place + other) % self.width)
    }
}

fn start(suite: &mut Suite, name: &str, shape: Shape, about: &str) {
    suite
        .bench(name)
        .about(&format!(
            "wire, start and stop parts that do nothing: {about}"
        ))
        .ours_async("Graph", async move || {
            let names = names(shape);
            let op = async move |count: &Count| {
                let running = graph(shape, names, count).start().await.expect("a start");
                running.shutdown().await.expect("a stop");
            };
            verified(shape, op).await
        })
        .peer_async("floor:by hand in order", async move || {
            let op = async move |count: &Count| {
                for _ in 0..shape.parts() {
                    count.clone().start().await.expect("a start");
                }
                for _ in 0..shape.parts() {
                    count.clone().stop().await.expect("a stop");
                }
            };
            verified(shape, op).await
        })
        .peer_async("JoinSet by layer", async move || {
            let op = async move |count: &Count| {
                for _ in 0..shape.layers {
                    let layer = (0..shape.width).map(|_| count.clone().start());
                    layer.collect::<JoinSet<_>>().join_all().await;
                }
                for _ in 0..shape.layers {
                    let layer = (0..shape.width).map(|_| count.clone().stop());
                    layer.collect::<JoinSet<_>>().join_all().await;
                }
            };
            verified(shape, op).await
        })
        .peer_async("petgraph FuturesUnordered", async move || {
            let names = names(shape);
            let op = async move |count: &Count| {
                let graph = petgraph(shape, names);
                toposort(&graph, None).expect("no cycle");
                walk(&graph, Direction::Outgoing, || count.clone().start()).await;
                walk(&graph, Direction::Incoming, || count.clone().stop()).await;
            };
            verified(shape, op).await
        });
}

fn check(suite: &mut Suite) {
    suite
        .bench("build-check-1000")
        .about("wire the 10 layers of 100 parts by their names and see that they fit, without starting them")
        .ours("Graph::check", || {
            let (names, count) = (names(LAYERED), Count::default());
            move || graph(LAYERED, names, &count).check().expect("it fits")
        })
        .peer("petgraph toposort", || {
            let names = names(LAYERED);
            move || toposort(&petgraph(LAYERED, names), None).expect("no cycle")
        });
}

// === parts that do nothing ===

/// What a part does: it counts, so that what is measured is everything around it.
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
async fn verified(shape: Shape, op: impl AsyncFn(&Count) + 'static) -> impl AsyncFn() {
    let count = Count::default();
    op(&count).await;
    let seen = [&count.started, &count.stopped].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(seen, [shape.parts(); 2]);
    async move || op(&count).await
}

/// For ever, as the names of functions are.
fn names(shape: Shape) -> &'static [String] {
    (0..shape.parts())
        .map(|part| format!("part-{part}"))
        .collect::<Vec<_>>()
        .leak()
}

// === two ways to wire them ===

fn graph(shape: Shape, names: &'static [String], count: &Count) -> Graph {
    let mut graph = Graph::new();
    for (part, name) in names.iter().enumerate() {
        let count = count.clone();
        let component = graph.add(move |cx: Context| {
            let stopping = count.clone();
            cx.on_stop(|| stopping.stop());
            count.clone().start()
        });
        component.named(name.as_str());
        for need in shape.needs(part) {
            component.after(names[need].as_str());
        }
    }
    graph
}

fn petgraph(shape: Shape, names: &[String]) -> DiGraph<&str, ()> {
    let mut graph = DiGraph::new();
    let nodes: HashMap<&str, NodeIndex> = names
        .iter()
        .map(|name| (name.as_str(), graph.add_node(name.as_str())))
        .collect();
    for (part, name) in names.iter().enumerate() {
        for need in shape.needs(part) {
            graph.add_edge(nodes[names[need].as_str()], nodes[name.as_str()], ());
        }
    }
    graph
}

/// Visits every node as soon as those before it are done.
async fn walk<F>(graph: &DiGraph<&str, ()>, direction: Direction, visit: impl Fn() -> F)
where
    F: Future<Output = Result<(), BoxError>>,
{
    let before = |node| graph.neighbors_directed(node, direction.opposite()).count();
    let mut missing: Vec<usize> = graph.node_indices().map(before).collect();
    let visit = |node: NodeIndex| {
        let visited = visit();
        async move { visited.await.map(|()| node) }
    };
    let free = graph
        .node_indices()
        .filter(|node| missing[node.index()] == 0);
    let mut running: FuturesUnordered<_> = free.map(visit).collect();
    while let Some(visited) = running.next().await {
        for next in graph.neighbors_directed(visited.expect("no failure"), direction) {
            missing[next.index()] -= 1;
            if missing[next.index()] == 0 {
                running.push(visit(next));
            }
        }
    }
}
