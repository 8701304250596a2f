//! What a graph is going to do, as plain data: the nodes in a valid start order and the edges between them.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::render::counted;
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

    /// Whether the start returns without waiting for this node.
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

    /// Where the node was added to the graph.
    pub fn added_at(&self) -> &'static Location<'static> {
        self.added_at
    }
}

/// The nodes of a graph in a valid start order; a cheap clone.
///
/// Nodes start as soon as their dependencies are settled, so the order shown is one of many that are valid: by
/// dependency first, then by the order of adding. `Display` prints one line a node.
#[derive(Clone, Debug)]
pub struct Plan {
    nodes: Arc<[Node]>,
    dependencies: Arc<Csr<NodeId>>,
}

impl Plan {
    pub(crate) fn new(nodes: Vec<Node>, dependencies: Csr<NodeId>) -> Self {
        Self {
            nodes: nodes.into(),
            dependencies: Arc::new(dependencies),
        }
    }

    /// The nodes that are settled before the node `id` begins, each once; none when `id` comes from the plan of another,
    /// larger graph.
    pub fn dependencies(&self, id: NodeId) -> &[NodeId] {
        if id.index() < self.nodes.len() {
            self.dependencies.of(id)
        } else {
            &[]
        }
    }

    pub(crate) fn edges(&self) -> &Csr<NodeId> {
        &self.dependencies
    }

    /// Every node; a node comes after all of its dependencies.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that `id` names.
    ///
    /// # Panics
    /// When `id` comes from the plan of another, larger graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.len();
        let edges = self.dependencies.edges();
        write!(f, "{}, {edges} dependencies", counted(nodes, "node"))?;
        let width = self
            .nodes
            .iter()
            .map(|node| node.name.chars().count())
            .max()
            .unwrap_or(0);
        for node in self.nodes.iter() {
            let line = self.line(node, width);
            write!(f, "\n{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Plan {
    fn line(&self, node: &Node, width: usize) -> String {
        let mut line = format!("  {:<width$}", node.name);
        if node.value {
            line.push_str("  value");
        }
        if let Some(stage) = &node.stage {
            line.push_str(&format!("  [{stage}]"));
        }
        if node.optional {
            line.push_str("  optional");
        }
        for (position, id) in self.dependencies(node.id).iter().enumerate() {
            line.push_str(if position == 0 { "  after " } else { ", " });
            line.push_str(self.node(*id).name());
        }
        line
    }
}
