//! Which of several nodes begins first where a limit makes them wait: by priority, then by the longest way to the end of
//! the start that is expected behind each (list scheduling by "b-level"), then first in, first out.

use std::time::Duration;

use crate::wiring::Csr;

/// What is known of one node before the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expectation {
    /// From earlier starts, or else as its user said.
    pub(crate) time: Option<Duration>,
    pub(crate) priority: i32,
    /// The start does not wait for it, so what it takes counts for nobody.
    pub(crate) background: bool,
}

/// Of each node a number; the higher one begins first. `None` when nothing is known and all are equal.
///
/// `dependencies` are those of each node, and each node comes behind its own. Where some times are known, a node without
/// one is expected to take `unknown`, or else the median of the known ones. One pass in reverse, O(V + E).
pub(crate) fn ranks<N: Copy + Into<u32> + From<u32>>(
    dependencies: &Csr<N>,
    expectation: impl Fn(u32) -> Expectation,
    unknown: Option<Duration>,
) -> Option<Box<[u64]>> {
    let nodes: Vec<_> = (0..dependencies.len() as u32).map(expectation).collect();
    let unknown = unknown
        .map(micros)
        .or_else(|| median(nodes.iter().filter_map(|node| node.time)));
    let same = nodes
        .windows(2)
        .all(|pair| pair[0].priority == pair[1].priority);
    if same && nodes.iter().all(|node| node.time.is_none()) {
        return None;
    }
    // What stands behind the background is not waited for either.
    let mut waited_for: Vec<bool> = nodes.iter().map(|node| !node.background).collect();
    for at in 0..nodes.len() as u32 {
        let mut before = dependencies.of(at.into()).iter().copied();
        waited_for[at as usize] &= before.all(|other| waited_for[other.into() as usize]);
    }
    let mut levels = vec![0_u64; nodes.len()];
    for (at, node) in (0..nodes.len() as u32).zip(&nodes).rev() {
        if waited_for[at as usize] {
            let time = node.time.map(micros).or(unknown).unwrap_or(0);
            levels[at as usize] = levels[at as usize].saturating_add(time);
        }
        let behind = levels[at as usize];
        for dependency in dependencies.of(at.into()).iter().copied() {
            let level = &mut levels[dependency.into() as usize];
            *level = behind.max(*level);
        }
    }
    let longest = levels.iter().max().copied().unwrap_or(0);
    let shift = (u64::BITS - longest.leading_zeros()).saturating_sub(u32::BITS);
    let ranks = nodes.iter().zip(levels).map(|(node, level)| {
        // An order of `i32` becomes one of `u32`.
        let priority = u64::from((node.priority as u32) ^ (1 << 31));
        priority << 32 | level >> shift
    });
    Some(ranks.collect())
}

fn median(times: impl Iterator<Item = Duration>) -> Option<u64> {
    let mut times: Vec<_> = times.map(micros).collect();
    let middle = times.len() / 2;
    (!times.is_empty()).then(|| *times.select_nth_unstable(middle).1)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(dependencies: &[&[u32]]) -> Csr {
        let rows = (0..).zip(dependencies);
        let edges: Vec<_> = rows
            .flat_map(|(node, row)| row.iter().map(move |other| (node, *other)))
            .collect();
        Csr::new(dependencies.len(), &edges)
    }

    fn known(micros: &[u64]) -> impl Fn(u32) -> Expectation + '_ {
        |node| Expectation {
            time: Some(Duration::from_micros(micros[node as usize])),
            ..Expectation::default()
        }
    }

    /// The ranks without what all of them share.
    fn levels(ranks: Option<Box<[u64]>>) -> Option<Vec<u64>> {
        ranks.map(|ranks| ranks.iter().map(|rank| rank - (1 << 63)).collect())
    }

    #[test]
    fn the_level_of_a_node_is_the_longest_way_behind_it_with_its_own_time() {
        // 0 and 1 before 2; 2 before 3 and 4.
        let graph = graph(&[&[], &[], &[0, 1], &[2], &[2]]);
        let ranks = ranks(&graph, known(&[5, 7, 10, 1, 20]), None);
        assert_eq!(levels(ranks), Some(vec![35, 37, 30, 1, 20]));
    }

    #[test]
    fn without_times_and_priorities_there_is_no_order() {
        let graph = graph(&[&[], &[0]]);
        assert_eq!(
            ranks(
                &graph,
                |_| Expectation::default(),
                Some(Duration::from_secs(1))
            ),
            None
        );
        let same = |_| Expectation {
            priority: 7,
            ..Expectation::default()
        };
        assert_eq!(ranks(&graph, same, None), None);
        assert_eq!(
            ranks(&Csr::<u32>::new(0, &[]), |_| Expectation::default(), None),
            None
        );
    }

    #[test]
    fn a_node_that_is_not_known_is_expected_to_take_the_median_of_the_others() {
        let graph = graph(&[&[], &[], &[], &[]]);
        let times = [Some(1), Some(50), Some(1_000), None];
        let expected = |node: u32| Expectation {
            time: times[node as usize].map(Duration::from_micros),
            ..Expectation::default()
        };
        assert_eq!(
            levels(ranks(&graph, expected, None)),
            Some(vec![1, 50, 1_000, 50])
        );
        let unknown = Some(Duration::from_micros(3));
        assert_eq!(
            levels(ranks(&graph, expected, unknown)),
            Some(vec![1, 50, 1_000, 3])
        );
    }

    #[test]
    fn priority_comes_before_every_level() {
        let graph = graph(&[&[], &[], &[], &[]]);
        let priorities = [0, i32::MIN, 1, i32::MAX];
        let times = [u64::MAX, 9, 0, 5];
        let expected = |node: u32| Expectation {
            priority: priorities[node as usize],
            time: Some(Duration::from_micros(times[node as usize])),
            background: false,
        };
        let ranks = ranks(&graph, expected, None).unwrap();
        let mut order = [0, 1, 2, 3];
        order.sort_by_key(|node| std::cmp::Reverse(ranks[*node]));
        assert_eq!(order, [3, 2, 0, 1]);
    }

    #[test]
    fn times_beyond_all_bounds_keep_their_order() {
        let graph = graph(&[&[], &[0], &[1], &[]]);
        let ranks = ranks(&graph, known(&[1 << 40, u64::MAX, u64::MAX, 1 << 62]), None).unwrap();
        assert!(
            ranks[0] == ranks[1] && ranks[1] == ranks[2] && ranks[2] > ranks[3],
            "{ranks:?}"
        );
    }

    #[test]
    fn what_the_start_does_not_wait_for_comes_last() {
        // 0 before 1, which is in the background like 2; 2 before 3, which is so because of that.
        let graph = graph(&[&[], &[0], &[], &[2]]);
        let expected = |node: u32| Expectation {
            time: Some(Duration::from_micros(10)),
            priority: 0,
            background: node == 1 || node == 2,
        };
        assert_eq!(
            levels(ranks(&graph, expected, None)),
            Some(vec![10, 0, 0, 0])
        );
    }

    /// List scheduling on `limit` machines in the order of `rank`, highest first; the time that all of it takes.
    fn makespan(graph: &Csr, times: &[u64], limit: usize, rank: &[u64]) -> u64 {
        let mut end: Vec<Option<u64>> = vec![None; times.len()];
        let mut begun = vec![false; times.len()];
        let mut now = 0;
        loop {
            let busy = |end: &[Option<u64>]| end.iter().flatten().filter(|end| **end > now).count();
            let ready = |node: u32| {
                graph
                    .of(node)
                    .iter()
                    .all(|other| end[*other as usize].is_some_and(|end| end <= now))
            };
            let free =
                (0..times.len() as u32).filter(|node| !begun[*node as usize] && ready(*node));
            match free.min_by_key(|node| std::cmp::Reverse(rank[*node as usize])) {
                Some(node) if busy(&end) < limit => {
                    begun[node as usize] = true;
                    end[node as usize] = Some(now + times[node as usize]);
                }
                _ => match end.iter().flatten().filter(|end| **end > now).min() {
                    Some(next) => now = *next,
                    None => return now,
                },
            }
        }
    }

    /// The best of all orders.
    fn best(graph: &Csr, times: &[u64], limit: usize) -> u64 {
        fn permute(order: &mut Vec<u64>, at: usize, visit: &mut impl FnMut(&[u64])) {
            if at == order.len() {
                return visit(order);
            }
            for other in at..order.len() {
                order.swap(at, other);
                permute(order, at + 1, visit);
                order.swap(at, other);
            }
        }
        let mut best = u64::MAX;
        let mut order = (0..times.len() as u64).collect();
        permute(&mut order, 0, &mut |rank| {
            best = best.min(makespan(graph, times, limit, rank));
        });
        best
    }

    /// Small random graphs against every order there is: Graham's bound always, and on average far better than that.
    #[test]
    fn on_small_graphs_the_order_is_close_to_the_best_of_all() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut ours, mut ideal, mut fifo) = (0, 0, 0);
        for _ in 0..60 {
            let count = random.usize(2..=6);
            let rows: Vec<Vec<u32>> = (0..count as u32)
                .map(|node| (0..node).filter(|_| random.u8(..) < 80).collect())
                .collect();
            let graph = graph(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let times: Vec<u64> = (0..count).map(|_| random.u64(1..100)).collect();
            let limit = random.usize(1..=3);
            let ranks = ranks(&graph, known(&times), None).unwrap();
            let took = makespan(&graph, &times, limit, &ranks);
            let best = best(&graph, &times, limit);
            assert!(
                took >= best && took * limit as u64 <= best * (2 * limit as u64 - 1),
                "{took} {best} {limit}"
            );
            ours += took;
            ideal += best;
            fifo += makespan(&graph, &times, limit, &vec![0; count]);
        }
        assert!(
            ours * 100 <= ideal * 102 && ours < fifo,
            "{ours} {ideal} {fifo}"
        );
    }

    /// Unit times on trees are a case in which this order is known to be the best (Hu).
    #[test]
    fn on_trees_of_equal_times_the_order_is_the_best_of_all() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..40 {
            let count = random.usize(2..=7);
            // Every node but the last has one node behind it, so the last one depends on all.
            let behind: Vec<usize> = (0..count)
                .map(|node| {
                    if node + 1 < count {
                        random.usize(node + 1..count)
                    } else {
                        node
                    }
                })
                .collect();
            let rows: Vec<Vec<u32>> = (0..count)
                .map(|node| {
                    (0..node)
                        .filter(|other| behind[*other] == node)
                        .map(|other| other as u32)
                        .collect()
                })
                .collect();
            let graph = graph(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let times = vec![1; count];
            let ranks = ranks(&graph, known(&times), None).unwrap();
            assert_eq!(
                makespan(&graph, &times, 2, &ranks),
                best(&graph, &times, 2),
                "{rows:?}"
            );
        }
    }
}
