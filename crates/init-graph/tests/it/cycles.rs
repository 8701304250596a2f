//! Cycles are found before anything runs, are real, are the shortest there are, and say how to break them.

use expect_test::{Expect, expect};
use init_graph::{
    All, BoxError, Component, Dep, Graph, GraphError, Lazy, WiringError, WiringErrorKind,
};
use proptest::prelude::*;

use crate::support::{Log, without_lines};

struct A;
struct B;
struct C;

#[track_caller]
fn errors(graph: &Graph) -> Vec<WiringError> {
    let GraphError::Wiring(errors) = graph.check().unwrap_err() else {
        panic!("only the wiring can be wrong")
    };
    errors.iter().cloned().collect()
}

#[track_caller]
fn check(graph: &Graph, expected: &Expect) {
    let errors = errors(graph);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].kind(), WiringErrorKind::Cycle);
    expected.assert_eq(&without_lines(&errors[0].to_string()));
}

fn node(graph: &mut Graph, name: String) -> &mut Component {
    graph.add(|| async { Ok::<_, BoxError>(()) }).named(name)
}

/// Nodes `n0`, `n1` and so on, each after those of its row.
fn by_name(rows: &[Vec<usize>]) -> Graph {
    let mut graph = Graph::new();
    for (at, row) in rows.iter().enumerate() {
        let node = node(&mut graph, format!("n{at}"));
        for other in row {
            node.after(format!("n{other}"));
        }
    }
    graph
}

#[test]
fn an_order_is_what_is_cheapest_to_leave_out() {
    let mut graph = Graph::new();
    graph.add(|_: Dep<C>| async { Ok::<_, BoxError>(A) });
    graph.add(|_: Dep<A>| async { Ok::<_, BoxError>(B) });
    graph.add(|| async { Ok::<_, BoxError>(C) }).after("B");
    check(
        &graph,
        &expect![[r#"
        dependency cycle of 3 nodes
          `A` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<C>` as parameter 1, made by `C`
          `C` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `B`
          `B` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<A>` as parameter 1, made by `A`
          help: `C` takes no value of `B`, only the order: leave out `after` there to break the cycle"#]],
    );
}

#[test]
fn values_alone_are_broken_by_lazy() {
    let mut graph = Graph::new();
    graph.add(|_: Dep<B>| async { Ok::<_, BoxError>(A) });
    graph.add(|_: Dep<A>| async { Ok::<_, BoxError>(B) });
    check(
        &graph,
        &expect![[r#"
        dependency cycle of 2 nodes
          `A` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<B>` as parameter 1, made by `B`
          `B` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<A>` as parameter 1, made by `A`
          help: move what both sides need into a component of its own; or take `Lazy<B>` in `A`, and ask for it after the start"#]],
    );
}

#[test]
fn who_collects_can_do_without_one_of_many() {
    let mut graph = Graph::new();
    graph.add(|_: All<B>| async { Ok::<_, BoxError>(A) });
    graph.add(|_: Dep<A>| async { Ok::<_, BoxError>(B) });
    check(
        &graph,
        &expect![[r#"
        dependency cycle of 2 nodes
          `A` (added at crates/init-graph/tests/it/cycles.rs:N) takes `All<B>` as parameter 1, made by `B`
          `B` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<A>` as parameter 1, made by `A`
          help: `A` can do without `B`: take `Lazy<B>` there to break the cycle, and ask for it after the start"#]],
    );
}

#[test]
fn a_condition_is_named_as_what_closes_the_circle() {
    let mut graph = Graph::new();
    graph
        .add(|| async { Ok::<_, BoxError>(A) })
        .when(|_: Dep<B>| true);
    graph.add(|_: Dep<A>| async { Ok::<_, BoxError>(B) });
    check(
        &graph,
        &expect![[r#"
        dependency cycle of 2 nodes
          the condition of `A` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<B>` as parameter 1, made by `B`
          `B` (added at crates/init-graph/tests/it/cycles.rs:N) takes `Dep<A>` as parameter 1, made by `A`
          help: the condition of `A` is all that needs `B`: decide it by something that is there earlier"#]],
    );
}

#[test]
fn a_node_after_itself_is_told_to_leave_that_out() {
    let mut graph = Graph::new();
    graph.node("own").after("own");
    check(
        &graph,
        &expect![[r#"
        `own` depends on itself
          `own` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `own`
          help: leave that out"#]],
    );
    let mut graph = Graph::new();
    let node = graph.node("own");
    let id = node.id();
    node.after(id);
    assert_eq!(errors(&graph)[0].nodes(), ["own"]);
}

#[test]
fn a_lazy_closes_no_circle() {
    let mut graph = Graph::new();
    graph.add(|_: Lazy<B>| async { Ok::<_, BoxError>(A) });
    graph.add(|_: Dep<A>| async { Ok::<_, BoxError>(B) });
    graph.check().unwrap();
}

#[test]
fn a_long_cycle_is_shown_with_its_begin_and_end() {
    let rows: Vec<_> = (0..100).map(|at| vec![(at + 1) % 100]).collect();
    check(
        &by_name(&rows),
        &expect![[r#"
        dependency cycle of 100 nodes
          `n0` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n1`
          `n1` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n2`
          `n2` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n3`
          `n3` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n4`
          `n4` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n5`
          `n5` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n6`
          ... 88 more ...
          `n94` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n95`
          `n95` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n96`
          `n96` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n97`
          `n97` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n98`
          `n98` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n99`
          `n99` (added at crates/init-graph/tests/it/cycles.rs:N) is to begin after `n0`
          help: `n0` takes no value of `n1`, only the order: leave out `after` there to break the cycle"#]],
    );
}

#[test]
fn every_knot_has_an_error_of_its_own() {
    let errors = errors(&by_name(&[vec![1], vec![0], vec![3, 0], vec![4], vec![2]]));
    let nodes: Vec<_> = errors.iter().map(|error| error.nodes().to_vec()).collect();
    assert_eq!(nodes, [vec!["n0", "n1"], vec!["n2", "n3", "n4"]]);
}

#[test]
fn a_ring_of_ten_thousand_nodes_is_one_error() {
    let rows: Vec<_> = (0..10_000).map(|at| vec![(at + 1) % 10_000]).collect();
    let errors = errors(&by_name(&rows));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].nodes().len(), 10_000);
    assert!(errors[0].to_string().lines().count() < 20);
}

#[test]
fn sixty_nodes_that_all_need_each_other_are_a_cycle_of_two() {
    let others = |at| (0..60).filter(|other| *other != at).collect();
    let rows: Vec<Vec<_>> = (0..60).map(others).collect();
    assert_eq!(errors(&by_name(&rows))[0].nodes().len(), 2);
}

// === any graph ===

/// Numbers of nodes from 1 to 12, each after some of all; names beyond the last are those of nobody.
fn rows() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1..12_usize).prop_flat_map(|count| {
        let row = prop::collection::vec(0..count + count / 8, 0..3);
        prop::collection::vec(row, count)
    })
}

/// The length of the shortest way from `from` to `to` over at least one edge.
fn way(rows: &[Vec<usize>], from: usize, to: usize) -> Option<usize> {
    let mut near = vec![from];
    for length in 1..=rows.len() {
        near = near.iter().flat_map(|at| rows[*at].clone()).collect();
        near.sort_unstable();
        near.dedup();
        near.retain(|at| *at < rows.len());
        if near.contains(&to) {
            return Some(length);
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_graph_is_refused_for_true_reasons_or_starts_in_a_valid_order(rows in rows()) {
        let count = rows.len();
        let log = Log::default();
        let mut graph = by_name(&rows);
        graph.observe(log.clone());
        let missing = rows.iter().map(|row| {
            row.iter().filter(|other| **other >= count).count()
        });
        let missing: usize = missing.sum();
        let in_cycle: Vec<_> = (0..count).filter(|at| way(&rows, *at, *at).is_some()).collect();
        if missing == 0 && in_cycle.is_empty() {
            let plan = graph.plan().unwrap();
            for node in plan.nodes() {
                let before = |other: &init_graph::NodeId| other.index() < node.id().index();
                prop_assert!(plan.dependencies(node.id()).iter().all(before));
            }
            start(graph);
            for (at, row) in rows.iter().enumerate() {
                for other in row {
                    let begins = log.at(&format!("starting n{at} 1"));
                    let ready = log.at(&format!("ready n{other}"));
                    prop_assert!(ready < begins);
                }
            }
            return Ok(());
        }
        let errors = errors(&graph);
        let (cycles, others): (Vec<_>, Vec<_>) = errors
            .iter()
            .partition(|error| error.kind() == WiringErrorKind::Cycle);
        prop_assert_eq!(others.len(), missing);
        prop_assert!(others.iter().all(|error| error.kind() == WiringErrorKind::Missing));
        let mut told = Vec::new();
        for cycle in cycles {
            let name = |name: &String| name[1..].parse::<usize>().unwrap();
            let nodes: Vec<_> = cycle.nodes().iter().map(name).collect();
            for (position, at) in nodes.iter().enumerate() {
                let next = nodes[(position + 1) % nodes.len()];
                prop_assert!(rows[*at].contains(&next), "{}", cycle);
            }
            let knot = in_cycle.iter().filter(|at| {
                let (there, back) = (way(&rows, nodes[0], **at), way(&rows, **at, nodes[0]));
                there.is_some() && back.is_some()
            });
            let knot: Vec<_> = knot.copied().collect();
            let shortest = knot.iter().filter_map(|at| way(&rows, *at, *at)).min();
            prop_assert_eq!(shortest, Some(nodes.len()));
            told.extend(knot);
        }
        told.sort_unstable();
        prop_assert_eq!(told, in_cycle);
    }
}

fn start(graph: Graph) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let running = graph.start().await.unwrap();
        running.shutdown().await.unwrap();
    });
}
