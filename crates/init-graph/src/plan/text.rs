//! The plan for a terminal: a line for each node, in columns.

use std::borrow::Cow;
use std::fmt;

use crate::class::Class;
use crate::plan::{EdgeKind, Node, NodeId, Plan};
use crate::render::{counted, short};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, edges) = (self.nodes().len(), self.rows().edges());
        let edges = match edges {
            1 => "1 dependency".to_owned(),
            edges => format!("{edges} dependencies"),
        };
        write!(f, "{}, {edges}", counted(nodes, "node"))?;
        let mut lazy = self.inner.lazy.iter().peekable();
        let mut asked: Vec<Vec<NodeId>> = Vec::new();
        if lazy.peek().is_some() {
            asked.resize(nodes, Vec::new());
            lazy.for_each(|(from, to)| asked[to.index()].push(*from));
        }
        let columns = [label, stage, |node: &Node| marks(node).join(", ")];
        let widths = columns.map(|column| {
            let all = self.nodes().iter();
            all.map(|node| column(node).chars().count())
                .max()
                .unwrap_or(0)
        });
        for node in self.nodes() {
            let mut line = String::from(" ");
            for (column, width) in columns.iter().zip(widths).filter(|(_, width)| *width > 0) {
                line.push_str(&format!(" {:<width$} ", column(node)));
            }
            let asked = asked
                .get(node.id.index())
                .map_or(&[] as &[_], |asked| asked);
            self.write_needs(&mut line, node.id, asked);
            write!(f, "\n{}", line.trim_end())?;
        }
        let unused: Vec<_> = self.unused().into_iter().map(label).collect();
        if !unused.is_empty() {
            write!(
                f,
                "\nunused: {}",
                cut_list(unused.iter().map(String::as_str))
            )?;
        }
        Ok(())
    }
}

impl Plan {
    fn write_needs(&self, line: &mut String, id: NodeId, asked: &[NodeId]) {
        let range = self.rows().range(id);
        let own = self.dependencies(id).iter().zip(range);
        let own = own.map(|(other, place)| {
            let name = short(self.node(*other).name(), NAME_MAX);
            match self.kind(place) {
                EdgeKind::Soft => format!("{name} (optional)"),
                _ => name,
            }
        });
        let asked = asked
            .iter()
            .map(|other| short(self.node(*other).name(), NAME_MAX));
        for (word, list) in [("after", cut_list(own)), ("may ask for", cut_list(asked))] {
            if !list.is_empty() {
                line.push_str(&format!(" {word} {list} "));
            }
        }
    }
}

fn label(node: &Node) -> String {
    short(node.name(), NAME_MAX)
}

fn stage(node: &Node) -> String {
    node.stage()
        .map(|stage| format!("[{}]", short(stage, NAME_MAX)))
        .unwrap_or_default()
}

/// What is out of the ordinary about a node, in words.
pub(super) fn marks(node: &Node) -> Vec<Cow<'_, str>> {
    let words = [
        (node.value, "value"),
        (node.milestone, "milestone"),
        (node.lazy, "lazy"),
        (node.background, "background"),
        (node.optional, "optional"),
        (node.conditional, "conditional"),
    ];
    let words = words.into_iter().filter(|(holds, _)| *holds);
    let words = words.map(|(_, word)| Cow::Borrowed(word));
    let class = Some(node.class()).filter(|class| **class != Class::IO);
    let class = class.map(|class| format!("class {}", short(class.name(), NAME_MAX)).into());
    words.chain(class).collect()
}

fn cut_list<S: AsRef<str>>(names: impl Iterator<Item = S>) -> String {
    let mut list = String::new();
    let mut more = 0_usize;
    for (position, name) in names.enumerate() {
        if position < LISTED_MAX {
            list.push_str(if position == 0 { "" } else { ", " });
            list.push_str(name.as_ref());
        } else {
            more += 1;
        }
    }
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    list
}

/// Letters of a name; the JSON has all.
const NAME_MAX: usize = 60;

/// Names in one line; the JSON has all.
const LISTED_MAX: usize = 8;
