//! The plan as a Graphviz drawing.

use std::fmt::Write as _;

use super::text::marks;
use crate::plan::{Edge, EdgeKind, Node, Plan};
use crate::render::is_steering;

impl Plan {
    /// The plan in the DOT language, for `dot -Tsvg` and others of Graphviz.
    ///
    /// Arrows point the way of time, from a dependency to its dependent. Solid ones carry a value that is needed, dashed
    /// ones a value that may be absent, dotted ones only an order, and dashed grey ones are `Lazy`. Values are ellipses,
    /// milestones are diamonds, nodes that wait until somebody asks have a dashed border, and each stage is a cluster.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from(
            "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
        );
        for (number, (stage, nodes)) in by_stage(self).into_iter().enumerate() {
            let indent = match stage {
                Some(stage) => {
                    let label = escape(stage);
                    let _ = write!(
                        dot,
                        "  subgraph cluster_{number} {{\n    label=\"{label}\";\n"
                    );
                    "    "
                }
                None => "  ",
            };
            for node in nodes {
                let _ = writeln!(dot, "{indent}{}", node_line(node));
            }
            if stage.is_some() {
                dot.push_str("  }\n");
            }
        }
        for edge in self.edges() {
            let _ = writeln!(dot, "  {}", edge_line(&edge));
        }
        dot.push_str("}\n");
        dot
    }
}

/// The nodes by stage, those without one first; stages in the order of their first nodes.
pub(super) fn by_stage(plan: &Plan) -> Vec<(Option<&str>, Vec<&Node>)> {
    let mut places = std::collections::HashMap::new();
    let mut groups: Vec<(Option<&str>, Vec<&Node>)> = vec![(None, Vec::new())];
    places.insert(None, 0);
    for node in plan.nodes() {
        let stage = node.stage();
        let place = *places.entry(stage).or_insert(groups.len());
        if place == groups.len() {
            groups.push((stage, Vec::new()));
        }
        groups[place].1.push(node);
    }
    groups
}

fn node_line(node: &Node) -> String {
    let mut label = escape(node.name());
    let marks: Vec<_> = marks(node).iter().map(|mark| escape(mark)).collect();
    if !marks.is_empty() {
        let _ = write!(label, "\\n{}", marks.join(", "));
    }
    let shape = match (node.is_value(), node.is_milestone()) {
        (true, _) => ", shape=ellipse",
        (_, true) => ", shape=diamond",
        _ => "",
    };
    let style = if node.is_lazy() { ", style=dashed" } else { "" };
    format!("n{} [label=\"{label}\"{shape}{style}];", node.id().index())
}

fn edge_line(edge: &Edge) -> String {
    let style = match edge.kind {
        EdgeKind::Hard => "",
        EdgeKind::Live => " [label=\"live\"]",
        EdgeKind::Outcome | EdgeKind::Soft | EdgeKind::All => " [style=dashed]",
        EdgeKind::Order => " [style=dotted, arrowhead=empty]",
        EdgeKind::Lazy => " [style=dashed, color=gray50, label=\"lazy\", constraint=false]",
    };
    format!("n{} -> n{}{style};", edge.from.index(), edge.to.index())
}

/// For a quoted string. Backslashes too: a label knows escapes of its own.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            // Labels know HTML's entities as well.
            '&' => escaped.push_str("&amp;"),
            letter if is_steering(letter) => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
