//! A valid order of starting; among the components that may start, the one added first comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Csr;

/// Kahn's algorithm. Components in or behind a cycle are left out.
pub(super) fn start_order(dependencies: &Csr) -> Vec<u32> {
    let count = dependencies.len() as u32;
    // Most graphs are written down in an order that is valid already.
    if (0..count).all(|node| dependencies.of(node).iter().all(|other| *other < node)) {
        return (0..count).collect();
    }
    let dependents = dependencies.reversed();
    let nodes = 0..count;
    let mut remaining: Vec<_> = nodes
        .clone()
        .map(|node| dependencies.of(node).len())
        .collect();
    let mut free: BinaryHeap<_> = nodes
        .filter(|node| remaining[*node as usize] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(remaining.len());
    while let Some(Reverse(node)) = free.pop() {
        order.push(node);
        for dependent in dependents.of(node) {
            let left = &mut remaining[*dependent as usize];
            *left -= 1;
            if *left == 0 {
                free.push(Reverse(*dependent));
            }
        }
    }
    order
}
