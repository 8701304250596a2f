//! What a plan has in it for nobody.

use crate::plan::{Node, Plan};

impl Plan {
    /// Values that no node depends on, and lazy nodes that nobody who runs could ever ask for: no errors, since
    /// [`get`](crate::Handle::get) may want them, but mostly slips. In start order; `Display` ends with them.
    ///
    /// Components that run and whose value nobody takes are not among them: that is what a server is.
    pub fn unused(&self) -> Vec<&Node> {
        let count = self.nodes().len();
        let mut taken = vec![false; count];
        let mut behind = Vec::new();
        let any_lazy = !self.inner.lazy.is_empty();
        if any_lazy {
            behind.resize(count, Vec::new());
        }
        for edge in self.edges().filter(|edge| edge.from != edge.to) {
            taken[edge.from.index()] = true;
            if any_lazy {
                behind[edge.to.index()].push(edge.from);
            }
        }
        let mut reached: Vec<bool> = self.nodes().iter().map(|node| !node.lazy).collect();
        let mut open: Vec<_> = self
            .nodes()
            .iter()
            .filter(|node| !node.lazy)
            .map(Node::id)
            .collect();
        while let Some(id) = open.pop().filter(|_| any_lazy) {
            for from in &behind[id.index()] {
                if !std::mem::replace(&mut reached[from.index()], true) {
                    open.push(*from);
                }
            }
        }
        let nodes = self.nodes().iter();
        let unused = |node: &&Node| {
            let at = node.id.index();
            !reached[at] || (node.value && !taken[at])
        };
        nodes.filter(unused).collect()
    }
}
