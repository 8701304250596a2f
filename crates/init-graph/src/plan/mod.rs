//! What a graph is going to do, as plain data: the nodes in a valid start order and the edges between them.

mod dot;
mod edge;
#[cfg(feature = "json")]
mod json;
mod mermaid;
mod text;
mod unused;

use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;

pub use self::edge::{Edge, EdgeKind};
use crate::class::Class;
use crate::wiring::Csr;

/// Names one node of a [`Plan`]; small, `Copy`, and its [`index`](Self::index) is the position in start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The position of the node in [`Plan::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u32> for NodeId {
    fn from(index: u32) -> Self {
        Self(index)
    }
}

impl From<NodeId> for u32 {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

/// One component or value of a [`Plan`].
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: Cow<'static, str>,
    pub(crate) stage: Option<Cow<'static, str>>,
    pub(crate) optional: bool,
    pub(crate) background: bool,
    pub(crate) milestone: bool,
    pub(crate) lazy: bool,
    pub(crate) value: bool,
    pub(crate) conditional: bool,
    pub(crate) class: Option<Class>,
    pub(crate) added_at: &'static Location<'static>,
}

impl Node {
    /// The identity of this node within its plan.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The name: given by `named`, or else the function's or the value type's own name; unique in a plan.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The label that groups this node with others for display; it never delays anything.
    pub fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// Whether the start goes on when this node fails.
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// Whether the start returns without waiting for this node: it was declared so, or depends on one that was.
    pub fn is_background(&self) -> bool {
        self.background
    }

    /// Whether this node is a named point that somebody may wait for.
    pub fn is_milestone(&self) -> bool {
        self.milestone
    }

    /// Whether this node starts only when a [`Lazy`](crate::Lazy) asks for it.
    pub fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Whether this node is a value, which is ready at once and runs nothing.
    pub fn is_value(&self) -> bool {
        self.value
    }

    /// Whether a condition decides if this node is wanted at all.
    pub fn is_conditional(&self) -> bool {
        self.conditional
    }

    /// The class whose limit this node shares.
    pub fn class(&self) -> &Class {
        const IO: &Class = &Class::IO;
        self.class.as_ref().unwrap_or(IO)
    }

    /// Where the node was added to the graph.
    pub fn added_at(&self) -> &'static Location<'static> {
        self.added_at
    }
}

#[cfg(test)]
impl Node {
    /// A component without options, for tests of what reads nodes.
    #[track_caller]
    pub(crate) fn plain(id: u32, name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            id: NodeId(id),
            name: name.into(),
            stage: None,
            optional: false,
            background: false,
            milestone: false,
            lazy: false,
            value: false,
            conditional: false,
            class: None,
            added_at: Location::caller(),
        }
    }
}

/// The nodes of a graph in a valid start order; a cheap clone.
///
/// Nodes start as soon as their dependencies are settled, so the order shown is one of many that are valid: by
/// dependency first, then by the order of adding. `Display` prints one line a node.
#[derive(Clone, Debug)]
pub struct Plan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    nodes: Box<[Node]>,
    rows: Csr<NodeId>,
    /// Beside the targets of the rows; empty where all are orders.
    kinds: Box<[EdgeKind]>,
    /// Who (second) may ask for whom (first).
    lazy: Box<[(NodeId, NodeId)]>,
}

impl Plan {
    /// A plan whose edges are orders.
    #[cfg(test)]
    pub(crate) fn new(nodes: Vec<Node>, rows: Csr<NodeId>) -> Self {
        Self::with_kinds(nodes, rows, Vec::new(), Vec::new())
    }

    pub(crate) fn with_kinds(
        nodes: Vec<Node>,
        rows: Csr<NodeId>,
        kinds: Vec<EdgeKind>,
        lazy: Vec<(NodeId, NodeId)>,
    ) -> Self {
        let inner = Inner {
            nodes: nodes.into(),
            rows,
            kinds: kinds.into(),
            lazy: lazy.into(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Every node; a node comes after all of its dependencies.
    pub fn nodes(&self) -> &[Node] {
        &self.inner.nodes
    }

    /// The node that `id` names.
    ///
    /// # Panics
    /// When `id` comes from the plan of another, larger graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.inner.nodes[id.index()]
    }

    /// The nodes that are settled before the node `id` begins, each once; none when `id` comes from the plan of another,
    /// larger graph. What it may ask for by [`Lazy`](crate::Lazy) is not among them.
    pub fn dependencies(&self, id: NodeId) -> &[NodeId] {
        if id.index() < self.inner.nodes.len() {
            self.inner.rows.of(id)
        } else {
            &[]
        }
    }

    /// Every edge with its kind: first those that a start respects, by dependent in start order, then those of
    /// [`EdgeKind::Lazy`].
    ///
    /// Two nodes are joined once, by the strongest of what one needs of the other, and by one of kind `Lazy` besides.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        let Inner { rows, lazy, .. } = &*self.inner;
        let eager = rows.pairs().enumerate().map(|(place, (to, from))| Edge {
            from,
            to,
            kind: self.kind(place),
        });
        let lazy = lazy.iter().map(|(from, to)| Edge {
            from: *from,
            to: *to,
            kind: EdgeKind::Lazy,
        });
        eager.chain(lazy)
    }

    fn kind(&self, place: usize) -> EdgeKind {
        self.inner
            .kinds
            .get(place)
            .copied()
            .unwrap_or(EdgeKind::Order)
    }

    /// Dependencies by dependent.
    pub(crate) fn rows(&self) -> &Csr<NodeId> {
        &self.inner.rows
    }
}
