//! Finds cycles that a person can read: the shortest of each knot, never all of them.

use super::Csr;

/// A set of nodes that all reach each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Knot {
    /// Each node depends on the next, the last on the first; begins with the lowest number.
    pub(crate) cycle: Vec<u32>,
    /// How many nodes the knot has in all.
    pub(crate) size: usize,
}

/// One shortest cycle for each knot among the nodes that `order`, a start order, leaves out: exact in knots of up to
/// [`EXACT_MAX`] nodes, beyond as far as [`WORK_MAX`] goes. Enumerating all cycles would take exponential time.
pub(super) fn knots(dependencies: &Csr, order: &[u32]) -> Vec<Knot> {
    let (component_of, members) = strongly_connected(dependencies, order);
    let mut search = Search {
        edges: dependencies,
        component_of: &component_of,
        seen: vec![0; dependencies.len()],
        stamp: 0,
        work: 0,
        reached: Vec::new(),
    };
    let mut knots: Vec<_> = members
        .iter()
        .filter(|members| members.len() > 1 || dependencies.of(members[0]).contains(&members[0]))
        .filter_map(|members| {
            Some(Knot {
                cycle: lowest_first(search.shortest(members)?),
                size: members.len(),
            })
        })
        .collect();
    knots.sort_by_key(|knot| knot.cycle[0]);
    knots
}

struct Search<'a> {
    edges: &'a Csr,
    component_of: &'a [u32],
    /// The stamp of the search that saw a node last, so that nothing is cleared in between.
    seen: Vec<u32>,
    stamp: u32,
    /// Edges looked at for large knots.
    work: usize,
    /// Nodes in the order of reaching them, each with the position of the one it was reached from.
    reached: Vec<(u32, u32)>,
}

impl Search<'_> {
    fn shortest(&mut self, members: &[u32]) -> Option<Vec<u32>> {
        let starts = self.starts(members);
        let mut best = self.through(starts[0], usize::MAX)?;
        if members.len() <= EXACT_MAX {
            for start in &starts {
                if best.len() == 1 {
                    break;
                }
                // All that is still of interest is shorter than the best.
                best = self.through(*start, best.len() - 1).unwrap_or(best);
            }
            return Some(best);
        }
        let limit = self.work + WORK_MAX;
        for longest in 1.. {
            for start in &starts {
                if longest >= best.len() || self.work > limit {
                    return Some(best);
                }
                if let Some(cycle) = self.through(*start, longest) {
                    return Some(cycle);
                }
            }
        }
        Some(best)
    }

    /// Nodes of which every cycle of a knot has one: where several edges of the knot meet. A cycle without such a node
    /// cannot be entered, so that it is the whole knot.
    fn starts(&mut self, members: &[u32]) -> Vec<u32> {
        let component = self.component_of[members[0] as usize];
        let (once, twice) = (self.stamp + 1, self.stamp + 2);
        self.stamp = twice;
        for node in members {
            for next in self.edges.of(*node) {
                if self.component_of[*next as usize] == component {
                    let seen = &mut self.seen[*next as usize];
                    *seen = if *seen < once { once } else { twice };
                }
            }
        }
        let met = members.iter().copied();
        let mut starts: Vec<_> = met
            .filter(|node| self.seen[*node as usize] == twice)
            .collect();
        starts.sort_unstable();
        if starts.is_empty() {
            starts.extend(members.iter().min());
        }
        starts
    }

    /// The shortest cycle through `start` of at most `longest` nodes, breadth first.
    fn through(&mut self, start: u32, longest: usize) -> Option<Vec<u32>> {
        self.stamp += 1;
        let component = self.component_of[start as usize];
        self.reached.clear();
        self.reached.push((start, 0));
        // The nodes from `at` to `level` are `depth` edges from the start.
        let (mut at, mut level, mut depth) = (0, 1, 0);
        while at < self.reached.len() && depth < longest {
            let node = self.reached[at].0;
            let row = self.edges.of(node);
            self.work += row.len() + 1;
            for next in row {
                if *next == start {
                    return Some(path_to(&self.reached, at));
                }
                let seen = &mut self.seen[*next as usize];
                if self.component_of[*next as usize] == component && *seen != self.stamp {
                    *seen = self.stamp;
                    self.reached.push((*next, at as u32));
                }
            }
            at += 1;
            if at == level {
                (level, depth) = (self.reached.len(), depth + 1);
            }
        }
        None
    }
}

fn path_to(reached: &[(u32, u32)], mut at: usize) -> Vec<u32> {
    let mut path = vec![reached[at].0];
    while at != 0 {
        at = reached[at].1 as usize;
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
/// and the members of each component; nodes in `order` are in no cycle and left out.
fn strongly_connected(edges: &Csr, order: &[u32]) -> (Vec<u32>, Vec<Vec<u32>>) {
    let nodes = edges.len();
    let (mut index, mut low, mut component) =
        (vec![UNSEEN; nodes], vec![0; nodes], vec![UNSEEN; nodes]);
    let (mut stack, mut calls, mut members, mut counter) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (node, place) in order.iter().zip(0..) {
        (index[*node as usize], component[*node as usize]) = (place, IN_ORDER);
    }
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

/// The component of all nodes that are in no cycle.
const IN_ORDER: u32 = u32::MAX - 1;

/// Nodes of a knot whose shortest cycle is found for certain.
const EXACT_MAX: usize = 1_000;

/// Edges looked at in a larger knot before the best cycle so far is taken: some hundredths of a second.
const WORK_MAX: usize = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_cycle_of_each_knot_is_found() {
        // 0 -> 1 -> 2 -> 0 with the shortcut 1 -> 0, apart from it 4 -> 4, and 3 in no cycle.
        let csr = Csr::new(5, &[(0, 1), (1, 2), (2, 0), (1, 0), (3, 4), (4, 4)]);
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
        assert_eq!(knots(&csr, &[]), expected);
    }

    #[test]
    fn a_graph_without_cycle_has_no_knot() {
        assert_eq!(
            knots(
                &Csr::new(4, &[(1, 0), (2, 0), (3, 1), (3, 2)]),
                &[0, 1, 2, 3]
            ),
            []
        );
    }

    #[test]
    fn a_dense_knot_of_many_nodes_is_found_within_the_work_limit() {
        let nodes = 2_000_u32;
        let edges: Vec<_> = (0..nodes)
            .flat_map(|node| (1..50).map(move |step| (node, (node + step) % nodes)))
            .collect();
        let knots = knots(&Csr::new(nodes as usize, &edges), &[]);
        assert_eq!(knots.len(), 1);
        assert_eq!(knots[0].size, 2_000);
        assert_eq!(knots[0].cycle.len(), 2_000_usize.div_ceil(49));
    }
}
