//! Finds cycles that a person can read: the shortest of each knot, never all of them.

use std::collections::VecDeque;

use super::Csr;

/// A set of nodes that all reach each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Knot {
    /// Each node depends on the next, the last on the first; begins with the lowest number.
    pub(crate) cycle: Vec<u32>,
    /// How many nodes the knot has in all.
    pub(crate) size: usize,
}

/// One shortest cycle for each knot, as far as [`WORK_MAX`] goes. Enumerating all cycles would take exponential time.
pub(crate) fn knots(dependencies: &Csr) -> Vec<Knot> {
    let (component_of, members) = strongly_connected(dependencies);
    let mut search = Search {
        seen: vec![0; dependencies.len()],
        stamp: 0,
        work: 0,
    };
    let mut knots: Vec<_> = members
        .iter()
        .filter(|members| members.len() > 1 || dependencies.of(members[0]).contains(&members[0]))
        .filter_map(|members| {
            let inside =
                |node: u32| component_of[node as usize] == component_of[members[0] as usize];
            let cycle = search.shortest(dependencies, members, inside)?;
            Some(Knot {
                cycle: lowest_first(cycle),
                size: members.len(),
            })
        })
        .collect();
    knots.sort_by_key(|knot| knot.cycle[0]);
    knots
}

struct Search {
    /// The stamp of the search that saw a node last, so that nothing is cleared in between.
    seen: Vec<u32>,
    stamp: u32,
    work: usize,
}

impl Search {
    fn shortest(
        &mut self,
        edges: &Csr,
        members: &[u32],
        inside: impl Fn(u32) -> bool,
    ) -> Option<Vec<u32>> {
        let mut best: Option<Vec<u32>> = None;
        self.work = 0;
        for start in members {
            if let Some(cycle) = self.through(*start, edges, &inside)
                && best.as_ref().is_none_or(|best| cycle.len() < best.len())
            {
                best = Some(cycle);
            }
            let shortest_possible = best.as_ref().is_some_and(|best| best.len() <= 1);
            if shortest_possible || self.work > WORK_MAX {
                break;
            }
        }
        best
    }

    /// The shortest cycle through `start`, breadth first.
    fn through(
        &mut self,
        start: u32,
        edges: &Csr,
        inside: impl Fn(u32) -> bool,
    ) -> Option<Vec<u32>> {
        self.stamp += 1;
        // Each entry is a node and the position of the entry it was reached from.
        let mut reached = vec![(start, 0_usize)];
        let mut queue = VecDeque::from([0_usize]);
        while let Some(at) = queue.pop_front() {
            for next in edges.of(reached[at].0) {
                self.work += 1;
                if *next == start {
                    return Some(path_to(&reached, at));
                }
                if inside(*next) && self.seen[*next as usize] != self.stamp {
                    self.seen[*next as usize] = self.stamp;
                    reached.push((*next, at));
                    queue.push_back(reached.len() - 1);
                }
            }
        }
        None
    }
}

fn path_to(reached: &[(u32, usize)], mut at: usize) -> Vec<u32> {
    let mut path = vec![reached[at].0];
    while at != 0 {
        at = reached[at].1;
        path.push(reached[at].0);
    }
    path.reverse();
    path
}

fn lowest_first(mut cycle: Vec<u32>) -> Vec<u32> {
    let lowest = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
    cycle.rotate_left(lowest);
    cycle
}

/// Tarjan's algorithm with a stack of its own, so that a ring of any length fits. Returns the component of each node
/// and the members of each component.
fn strongly_connected(edges: &Csr) -> (Vec<u32>, Vec<Vec<u32>>) {
    let nodes = edges.len();
    let (mut index, mut low, mut component) =
        (vec![UNSEEN; nodes], vec![0; nodes], vec![UNSEEN; nodes]);
    let (mut stack, mut calls, mut members, mut counter) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for root in 0..nodes as u32 {
        if index[root as usize] == UNSEEN {
            calls.push((root, 0_usize));
        }
        while let Some((node, edge)) = calls.pop() {
            let at = node as usize;
            if edge == 0 {
                (index[at], low[at]) = (counter, counter);
                counter += 1;
                stack.push(node);
            } else {
                low[at] = low[at].min(low[edges.of(node)[edge - 1] as usize]);
            }
            match next_step(node, edge, edges, &index, &component, &mut low) {
                Some((resume, child)) => calls.extend([(node, resume), (child, 0)]),
                None if low[at] == index[at] => {
                    let from = stack
                        .iter()
                        .rposition(|on_stack| *on_stack == node)
                        .unwrap_or(0);
                    let group = stack.split_off(from);
                    for member in &group {
                        component[*member as usize] = members.len() as u32;
                    }
                    members.push(group);
                }
                None => {}
            }
        }
    }
    (component, members)
}

/// The next unseen neighbour of `node` from `edge` on, with the position to resume at; notes those on the stack.
fn next_step(
    node: u32,
    edge: usize,
    edges: &Csr,
    index: &[u32],
    component: &[u32],
    low: &mut [u32],
) -> Option<(usize, u32)> {
    for (offset, child) in edges.of(node)[edge..].iter().enumerate() {
        let child = *child as usize;
        if index[child] == UNSEEN {
            return Some((edge + offset + 1, child as u32));
        }
        if component[child] == UNSEEN {
            low[node as usize] = low[node as usize].min(index[child]);
        }
    }
    None
}

const UNSEEN: u32 = u32::MAX;

/// Edges looked at per knot before the best cycle so far is taken: some hundredths of a second.
const WORK_MAX: usize = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_cycle_of_each_knot_is_found() {
        // 0 -> 1 -> 2 -> 0 with the shortcut 1 -> 0, apart from it 4 -> 4, and 3 in no cycle.
        let csr = Csr::new(5, &[(0, 1), (1, 2), (2, 0), (1, 0), (3, 0), (4, 4)]);
        let expected = [
            Knot {
                cycle: vec![0, 1],
                size: 3,
            },
            Knot {
                cycle: vec![4],
                size: 1,
            },
        ];
        assert_eq!(knots(&csr), expected);
    }

    #[test]
    fn a_graph_without_cycle_has_no_knot() {
        assert_eq!(knots(&Csr::new(4, &[(1, 0), (2, 0), (3, 1), (3, 2)])), []);
    }

    #[test]
    fn a_dense_knot_of_many_nodes_is_found_within_the_work_limit() {
        let nodes = 2_000_u32;
        let edges: Vec<_> = (0..nodes)
            .flat_map(|node| (1..50).map(move |step| (node, (node + step) % nodes)))
            .collect();
        let knots = knots(&Csr::new(nodes as usize, &edges));
        assert_eq!(knots.len(), 1);
        assert_eq!(knots[0].size, 2_000);
        assert_eq!(knots[0].cycle.len(), 2_000_usize.div_ceil(49));
    }
}
