//! Adjacency lists in two flat arrays: a node's neighbours lie together and cost four bytes each.

/// Compressed sparse rows: the neighbours of `node` are `targets[offsets[node]..offsets[node + 1]]`.
#[derive(Clone, Debug)]
pub(crate) struct Csr {
    offsets: Box<[u32]>,
    targets: Box<[u32]>,
}

impl Csr {
    /// Rows of the pairs `(node, neighbour)`; the neighbours of a node keep their order.
    pub(crate) fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let mut offsets = vec![0_u32; nodes + 1];
        for (node, _) in edges {
            offsets[*node as usize + 1] += 1;
        }
        for node in 0..nodes {
            offsets[node + 1] += offsets[node];
        }
        let mut free = offsets.clone();
        let mut targets = vec![0; edges.len()];
        for (node, neighbour) in edges {
            let place = &mut free[*node as usize];
            targets[*place as usize] = *neighbour;
            *place += 1;
        }
        Self {
            offsets: offsets.into(),
            targets: targets.into(),
        }
    }

    /// The same edges, each the other way round.
    pub(crate) fn reversed(&self) -> Self {
        let nodes = self.len();
        let edges: Vec<_> = (0..nodes as u32)
            .flat_map(|node| {
                self.of(node)
                    .iter()
                    .map(move |neighbour| (*neighbour, node))
            })
            .collect();
        Self::new(nodes, &edges)
    }

    pub(crate) fn of(&self, node: u32) -> &[u32] {
        &self.targets
            [self.offsets[node as usize] as usize..self.offsets[node as usize + 1] as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_reverse() {
        let csr = Csr::new(4, &[(2, 0), (3, 2), (2, 1), (3, 0)]);
        assert_eq!(csr.of(0), &[] as &[u32]);
        assert_eq!(csr.of(2), &[0, 1]);
        assert_eq!(csr.of(3), &[2, 0]);
        let reversed = csr.reversed();
        assert_eq!(reversed.of(0), &[2, 3]);
        assert_eq!(reversed.of(2), &[3]);
        assert_eq!(reversed.of(3), &[] as &[u32]);
    }
}
