//! Adjacency lists in two flat arrays: a node's neighbours lie together and cost four bytes each.

/// Compressed sparse rows: the neighbours of `node` are `targets[offsets[node]..offsets[node + 1]]`.
#[derive(Clone, Debug)]
pub(crate) struct Csr<N = u32> {
    offsets: Box<[u32]>,
    targets: Box<[N]>,
}

impl<N: Copy + Into<u32>> Csr<N> {
    /// Rows of the pairs `(node, neighbour)`; the neighbours of a node keep their order.
    pub(crate) fn new(nodes: usize, edges: &[(N, N)]) -> Self {
        let mut offsets = vec![0_u32; nodes + 1];
        for (node, _) in edges {
            offsets[index(*node) + 1] += 1;
        }
        for node in 0..nodes {
            offsets[node + 1] += offsets[node];
        }
        let mut free = offsets.clone();
        let mut targets: Vec<N> = edges.iter().map(|(node, _)| *node).collect();
        for (node, neighbour) in edges {
            let place = &mut free[index(*node)];
            targets[*place as usize] = *neighbour;
            *place += 1;
        }
        Self {
            offsets: offsets.into(),
            targets: targets.into(),
        }
    }

    pub(crate) fn of(&self, node: N) -> &[N] {
        let node = index(node);
        &self.targets[self.offsets[node] as usize..self.offsets[node + 1] as usize]
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
        let edges: Vec<_> = self
            .pairs()
            .map(|(node, neighbour)| (neighbour, node))
            .collect();
        Self::new(self.len(), &edges)
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
}
