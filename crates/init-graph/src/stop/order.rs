//! What stops before what: the reverse of how things really started.

use std::collections::HashMap;

use crate::plan::NodeId;
use crate::wiring::Csr;

/// The nodes of a stop and the edges from each to those that stop after it, both by position in `nodes`.
pub(crate) struct Order {
    pub(crate) nodes: Box<[NodeId]>,
    pub(crate) edges: Csr<NodeId>,
}

/// The order for `nodes`, or for all.
///
/// `dependencies` always counts. `used` says for pairs that a `Lazy` connects who stops first; they follow the order in
/// which things became ready, as dependencies do, so together they close no circle. Only a restart under a `Live` makes
/// a dependency younger than its dependent; then those of `used` that contradict are left out.
pub(crate) fn order(
    dependencies: &Csr<NodeId>,
    nodes: Option<&[NodeId]>,
    used: impl Iterator<Item = (NodeId, NodeId)>,
) -> Order {
    let mut used: Vec<_> = used.collect();
    if nodes.is_none() && used.is_empty() {
        return Order {
            nodes: (0..dependencies.len() as u32).map(NodeId).collect(),
            edges: dependencies.clone(),
        };
    }
    let nodes: Box<[NodeId]> = match nodes {
        Some(nodes) => nodes.into(),
        None => (0..dependencies.len() as u32).map(NodeId).collect(),
    };
    let at: HashMap<_, _> = nodes.iter().copied().zip((0..).map(NodeId)).collect();
    let local = |(first, second): (NodeId, NodeId)| Some((*at.get(&first)?, *at.get(&second)?));
    let mut edges = Vec::new();
    for node in &nodes {
        let own = dependencies.of(*node).iter();
        edges.extend(own.filter_map(|other| local((*node, *other))));
    }
    used = used.into_iter().filter_map(local).collect();
    // So that the order does not depend on how a set was walked through.
    used.sort_unstable();
    let fixed = edges.len();
    edges.extend(&used);
    let all = Csr::new(nodes.len(), &edges);
    let knotted = knotted(&all);
    if !knotted.contains(&true) {
        return Order { nodes, edges: all };
    }
    let mut at = 0;
    edges.retain(|(first, second)| {
        at += 1;
        at <= fixed || !(knotted[first.index()] && knotted[second.index()])
    });
    let edges = Csr::new(nodes.len(), &edges);
    Order { nodes, edges }
}

/// Which nodes are in or behind a circle.
fn knotted(edges: &Csr<NodeId>) -> Vec<bool> {
    let mut left = vec![0_u32; edges.len()];
    for (_, other) in edges.pairs() {
        left[other.index()] += 1;
    }
    let mut free: Vec<_> = (0..edges.len() as u32)
        .map(NodeId)
        .filter(|node| left[node.index()] == 0)
        .collect();
    let mut knotted = vec![true; edges.len()];
    while let Some(node) = free.pop() {
        knotted[node.index()] = false;
        for other in edges.of(node) {
            left[other.index()] -= 1;
            if left[other.index()] == 0 {
                free.push(*other);
            }
        }
    }
    knotted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(list: &[(u32, u32)]) -> Vec<(NodeId, NodeId)> {
        list.iter().map(|(a, b)| (NodeId(*a), NodeId(*b))).collect()
    }

    #[test]
    fn a_part_keeps_the_edges_inside_of_it() {
        let all = Csr::new(4, &pairs(&[(1, 0), (2, 1), (3, 2), (3, 1)]));
        let part = [NodeId(1), NodeId(3)];
        let order = order(&all, Some(&part), pairs(&[(3, 1), (2, 0)]).into_iter());
        assert_eq!(*order.nodes, part);
        assert!(
            order
                .edges
                .pairs()
                .all(|edge| edge == (NodeId(1), NodeId(0)))
        );
    }

    #[test]
    fn a_use_that_contradicts_a_dependency_gives_way() {
        let all = Csr::new(2, &pairs(&[(1, 0)]));
        let order = order(&all, None, pairs(&[(0, 1)]).into_iter());
        assert_eq!(order.edges.pairs().collect::<Vec<_>>(), pairs(&[(1, 0)]));
    }

    proptest! {
        /// Edges that follow one order of becoming ready are all kept; any others never make a circle, and the
        /// dependencies are kept in any case.
        #[test]
        fn the_order_has_no_circle_and_keeps_every_dependency(
            nodes in 1_u32..30,
            dependencies in prop::collection::vec((0_u32..30, 0_u32..30), 0..60),
            used in prop::collection::vec((0_u32..30, 0_u32..30), 0..30),
            follow in any::<bool>(),
        ) {
            let inside = |(a, b): &(u32, u32)| *a < nodes && *b < nodes && a != b;
            // The later in the order depends on the earlier.
            let down = |(a, b): (u32, u32)| (a.max(b), a.min(b));
            let dependencies: Vec<_> = dependencies.into_iter().filter(inside).map(down).collect();
            let used: Vec<_> = used.into_iter().filter(inside)
                .map(|pair| if follow { down(pair) } else { pair }).collect();
            let all = Csr::new(nodes as usize, &pairs(&dependencies));
            let order = order(&all, None, pairs(&used).into_iter());
            prop_assert!(!knotted(&order.edges).contains(&true));
            let kept: Vec<_> = order.edges.pairs().collect();
            for edge in pairs(&dependencies) {
                prop_assert!(kept.contains(&edge));
            }
            if follow {
                prop_assert_eq!(kept.len(), dependencies.len() + used.len());
            }
        }
    }
}
