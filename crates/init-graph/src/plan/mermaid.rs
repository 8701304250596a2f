//! The plan as a Mermaid flowchart, which many wikis and code hosts draw.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::dot::by_stage;
use super::text::marks;
use crate::plan::{EdgeKind, Node, Plan};
use crate::render::is_steering;

impl Plan {
    /// The plan as a Mermaid flowchart.
    ///
    /// Arrows point the way of time, from a dependency to its dependent: `-->` carries a value that is needed, `-.->` a
    /// value that may be absent, `--o` only an order, and `-. lazy .->` is a `Lazy`. Values are round, milestones are
    /// hexagons, and each stage is a subgraph.
    ///
    /// Mermaid draws no more than 500 edges unless it is told to. Above that the chart has one box for each stage and one
    /// arrow for all edges from one to another, with their number, and of those the first 500.
    pub fn to_mermaid(&self) -> String {
        let edges = self.rows().edges() + self.inner.lazy.len();
        if edges > EDGES_MAX {
            return self.stages_to_mermaid();
        }
        let mut chart = String::from("flowchart LR\n");
        for (number, (stage, nodes)) in by_stage(self).into_iter().enumerate() {
            let indent = match stage {
                Some(stage) => {
                    let _ = writeln!(chart, "  subgraph s{number}[\"{}\"]", escape(stage));
                    "    "
                }
                None => "  ",
            };
            for node in nodes {
                let _ = writeln!(chart, "{indent}{}", node_line(node));
            }
            if stage.is_some() {
                chart.push_str("  end\n");
            }
        }
        for edge in self.edges() {
            let (from, to) = (edge.from.index(), edge.to.index());
            let _ = writeln!(chart, "  n{from} {} n{to}", arrow(edge.kind));
        }
        chart
    }

    /// One box for each stage, and one for the nodes without.
    fn stages_to_mermaid(&self) -> String {
        let mut chart = String::from("flowchart LR\n");
        let groups = by_stage(self);
        let mut numbers = HashMap::new();
        for (number, (stage, nodes)) in groups.iter().enumerate() {
            numbers.insert(*stage, number);
            if !nodes.is_empty() {
                let stage = escape(stage.unwrap_or("no stage"));
                let count = crate::render::counted(nodes.len(), "node");
                let _ = writeln!(chart, "  s{number}[\"{stage}<br/>{count}\"]");
            }
        }
        let group = |id| numbers[&self.node(id).stage()];
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for edge in self.edges() {
            let (from, to) = (group(edge.from), group(edge.to));
            if from != to {
                *counts.entry((from, to)).or_default() += 1;
            }
        }
        for ((from, to), count) in counts.iter().take(EDGES_MAX) {
            let _ = writeln!(chart, "  s{from} -->|{count}| s{to}");
        }
        if counts.len() > EDGES_MAX {
            let _ = writeln!(chart, "  %% {} more arrows", counts.len() - EDGES_MAX);
        }
        chart
    }
}

fn node_line(node: &Node) -> String {
    let mut label = escape(node.name());
    let marks: Vec<_> = marks(node).iter().map(|mark| escape(mark)).collect();
    if !marks.is_empty() {
        let _ = write!(label, "<br/>{}", marks.join(", "));
    }
    let (open, close) = match (node.is_value(), node.is_milestone()) {
        (true, _) => ("(", ")"),
        (_, true) => ("{{", "}}"),
        _ => ("[", "]"),
    };
    format!("n{}{open}\"{label}\"{close}", node.id().index())
}

fn arrow(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Hard => "-->",
        EdgeKind::Live => "-- live -->",
        EdgeKind::Outcome | EdgeKind::Soft | EdgeKind::All => "-.->",
        EdgeKind::Order => "--o",
        EdgeKind::Lazy => "-. lazy .->",
    }
}

/// For a quoted label. All that Mermaid, Markdown or HTML may take for something else goes by its number.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => escaped.push_str("<br/>"),
            letter if is_steering(letter) => escaped.push(' '),
            letter
                if letter.is_alphanumeric()
                    || !letter.is_ascii()
                    || " _-.:,/()".contains(letter) =>
            {
                escaped.push(letter);
            }
            letter => {
                let _ = write!(escaped, "#{};", u32::from(letter));
            }
        }
    }
    escaped
}

/// What Mermaid draws by default.
const EDGES_MAX: usize = 500;
