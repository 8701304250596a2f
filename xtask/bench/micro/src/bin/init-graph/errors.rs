//! How long a cycle takes until it is told: in a ring, in a graph in which everything reaches everything, in a dense one.

use std::time::Instant;

use harness::{Effort, Figures, Suite};
use init_graph::{BoxError, Graph};
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::shapes::{SEED, Shape};

/// Which parts need which; cycles are allowed, unlike in a [`Shape`].
struct Knot {
    needs: Vec<Vec<usize>>,
    names: &'static [&'static str],
}

impl Knot {
    fn of(parts: usize, needs: impl FnMut(usize) -> Vec<usize>) -> Self {
        Self {
            needs: (0..parts).map(needs).collect(),
            names: Shape::of(parts, |_, _| ()).names,
        }
    }

    fn graph(&self) -> Graph {
        async fn nothing() -> Result<(), BoxError> {
            Ok(())
        }
        let mut graph = Graph::new();
        for (part, needs) in self.needs.iter().enumerate() {
            let component = graph.add(nothing).named(self.names[part]);
            for need in needs {
                component.after(self.names[*need]);
            }
        }
        graph
    }

    fn petgraph(&self) -> DiGraph<(), ()> {
        let mut graph = DiGraph::new();
        self.needs.iter().for_each(|_| _ = graph.add_node(()));
        for (part, needs) in self.needs.iter().enumerate() {
            for need in needs {
                graph.add_edge(NodeIndex::new(*need), NodeIndex::new(part), ());
            }
        }
        graph
    }
}

pub(crate) fn add(suite: &mut Suite) {
    let parts = 100_000;
    let about = "the error of a ring of 100,000 nodes, as text, without building the graph; petgraph only sees that \
                 there is a cycle, and which nodes are part of it";
    suite
        .figures("cycle-ring-100000", about, move |figures| {
            let knot = Knot::of(parts, |part| vec![(part + 1) % parts]);
            figures_of(figures, &knot);
        })
        .from(Effort::Quick);
    let about = "the error of 100,000 nodes that all reach each other: a ring and two random edges from each";
    suite
        .figures("cycle-random-100000", about, move |figures| {
            let mut random = fastrand::Rng::with_seed(SEED);
            let knot = Knot::of(parts, |part| {
                let (a, b) = (random.usize(..parts), random.usize(..parts));
                // A part that needs itself would be the shortest cycle of all.
                let others = [(part + 1) % parts, a, b].into_iter();
                others.filter(|other| *other != part).collect()
            });
            figures_of(figures, &knot);
        })
        .from(Effort::Quick);
    let about = "the error of 60 nodes that all need all others";
    suite.figures("cycle-dense-60", about, |figures| {
        let others = |part: usize| (0..60).filter(|other| *other != part).collect();
        figures_of(figures, &Knot::of(60, others));
    });
}

fn figures_of(figures: &mut Figures<'_>, knot: &Knot) {
    let (graph, petgraph) = (knot.graph(), knot.petgraph());
    let rounds = match figures.effort() {
        Effort::Smoke => 1,
        Effort::Quick => 5,
        Effort::Normal | Effort::Full => 15,
    };
    let mut times: [Vec<f64>; 3] = Default::default();
    let mut text = String::new();
    for _ in 0..rounds {
        times[0].push(timed(|| {
            text = graph.check().expect_err("a cycle").to_string();
        }));
        times[1].push(timed(|| toposort(&petgraph, None).expect_err("a cycle")));
        // Its `tarjan_scc` recurses and overflows the stack here.
        times[2].push(timed(|| kosaraju_scc(&petgraph)));
    }
    figures.ours("error", "ns", &times[0]);
    figures.peer("petgraph toposort", "error", "ns", &times[1]);
    figures.peer("petgraph kosaraju_scc", "error", "ns", &times[2]);
    figures.goal("error", "ns", 200e6);
    let lines = text.lines().count();
    assert!(
        lines < LINES_MAX,
        "an error that nobody reads: {lines} lines"
    );
    figures.remark(
        text.lines()
            .take(LINES_SHOWN)
            .collect::<Vec<_>>()
            .join("\n"),
    );
}

const LINES_SHOWN: usize = 8;
const LINES_MAX: usize = 60;

fn timed<T>(action: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    std::hint::black_box(action());
    began.elapsed().as_secs_f64() * 1e9
}
