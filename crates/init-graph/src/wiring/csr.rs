//! Adjacency lists in two flat arrays: a node's neighbours lie together and cost four bytes each.

/// Compressed sparse rows: the neighbours of `node` are `targets[offsets[node]..offsets[node + 1]]`.
#[derive(Clone, Debug)]
pub(crate) struct Csr<N = u32> {
    offsets: Box<[u32]>,
    targets: Box<[N]>,
}

/// Rows as they are found, node by node.
pub(super) struct Rows {
    offsets: Vec<u32>,
    targets: Vec<u32>,
}

impl Rows {
    pub(super) fn with_capacity(nodes: usize) -> Self {
        let mut offsets = Vec::with_capacity(nodes + 1);
        offsets.push(0);
        Self {
            offsets,
            targets: Vec::with_capacity(nodes),
        }
    }

    /// A neighbour of the node whose row is open.
    pub(super) fn push(&mut self, neighbour: u32) {
        self.targets.push(neighbour);
    }

    /// Closes the row of the next node and returns its neighbours: each once, in ascending order.
    pub(super) fn end_row(&mut self) -> &[u32] {
        let first = *self.offsets.last().unwrap_or(&0) as usize;
        if self.targets.len() > first + 1 {
            self.targets[first..].sort_unstable();
            let mut kept = first;
            for next in first + 1..self.targets.len() {
                if self.targets[next] != self.targets[kept] {
                    kept += 1;
                    self.targets[kept] = self.targets[next];
                }
            }
            self.targets.truncate(kept + 1);
        }
        self.offsets.push(self.targets.len() as u32);
        &self.targets[first..]
    }

    pub(super) fn finish(self) -> Csr {
        Csr {
            offsets: self.offsets.into(),
            targets: self.targets.into(),
        }
    }
}

impl<N: Copy + Into<u32>> Csr<N> {
    /// Rows of the pairs `(node, neighbour)`; the neighbours of a node keep their order.
    pub(crate) fn new(nodes: usize, edges: &[(N, N)]) -> Self {
        let neighbours = edges.iter().map(|(_, neighbour)| *neighbour).collect();
        Self::filled(nodes, neighbours, || edges.iter().copied())
    }

    /// `targets` has the right length and any content; `edges` gives the same pairs each time.
    fn filled<I: Iterator<Item = (N, N)>>(
        nodes: usize,
        mut targets: Vec<N>,
        edges: impl Fn() -> I,
    ) -> Self {
        // Shifted by one more place, so that the next free place of a node becomes its end, where the next node begins.
        let mut offsets = vec![0_u32; nodes + 2];
        for (node, _) in edges() {
            offsets[index(node) + 2] += 1;
        }
        for node in 0..nodes {
            offsets[node + 2] += offsets[node + 1];
        }
        for (node, neighbour) in edges() {
            let place = &mut offsets[index(node) + 1];
            targets[*place as usize] = neighbour;
            *place += 1;
        }
        offsets.pop();
        Self {
            offsets: offsets.into(),
            targets: targets.into(),
        }
    }

    pub(crate) fn of(&self, node: N) -> &[N] {
        &self.targets[self.range(node)]
    }

    /// Where the row of `node` lies among all edges.
    pub(crate) fn range(&self, node: N) -> std::ops::Range<usize> {
        let node = index(node);
        self.offsets[node] as usize..self.offsets[node + 1] as usize
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many edges there are.
    pub(crate) fn edges(&self) -> usize {
        self.targets.len()
    }
}

impl<N: Copy + Into<u32> + From<u32>> Csr<N> {
    /// The same edges, each the other way round.
    pub(crate) fn reversed(&self) -> Self {
        let turned = || self.pairs().map(|(node, neighbour)| (neighbour, node));
        Self::filled(self.len(), self.targets.to_vec(), turned)
    }

    /// Every edge, by node.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (N, N)> {
        (0..self.len() as u32).flat_map(|node| {
            let node = N::from(node);
            self.of(node)
                .iter()
                .map(move |neighbour| (node, *neighbour))
        })
    }
}

impl Csr {
    /// The same rows under the type that numbers them for good.
    pub(super) fn into_numbered<N: From<u32>>(self) -> Csr<N> {
        Csr {
            offsets: self.offsets,
            targets: self.targets.into_iter().map(N::from).collect(),
        }
    }
}

fn index<N: Into<u32>>(node: N) -> usize {
    node.into() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_reverse() {
        let csr = Csr::new(4, &[(2_u32, 0), (3, 2), (2, 1), (3, 0)]);
        assert_eq!(csr.of(0), &[] as &[u32]);
        assert_eq!(csr.of(2), &[0, 1]);
        assert_eq!(csr.of(3), &[2, 0]);
        let reversed = csr.reversed();
        assert_eq!(reversed.of(0), &[2, 3]);
        assert_eq!(reversed.of(2), &[3]);
        assert_eq!(reversed.of(3), &[] as &[u32]);
        assert_eq!(csr.edges(), 4);
    }

    #[test]
    fn a_row_keeps_each_neighbour_once() {
        let mut rows = Rows::with_capacity(3);
        assert_eq!(rows.end_row(), &[] as &[u32]);
        for neighbour in [5, 2, 5, 2, 2, 9] {
            rows.push(neighbour);
        }
        assert_eq!(rows.end_row(), &[2, 5, 9]);
        rows.push(1);
        assert_eq!(rows.end_row(), &[1]);
        let csr = rows.finish();
        assert_eq!(
            [csr.of(0).len(), csr.of(1).len(), csr.of(2).len()],
            [0, 3, 1]
        );
    }

    #[test]
    fn no_nodes_are_no_rows() {
        assert_eq!(Csr::<u32>::new(0, &[]).reversed().len(), 0);
    }
}
