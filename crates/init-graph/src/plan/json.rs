//! The plan as JSON, for tools.

use serde::Serialize;

use crate::plan::{Node, Plan};

impl Plan {
    /// The plan as one JSON object.
    ///
    /// ```text
    /// {"version":1,
    ///  "nodes":[{"name":"config","stage":null,"class":"io","value":true,"optional":false,"background":false,
    ///    "milestone":false,"lazy":false,"conditional":false,"added_at":"src/main.rs:31"}, ..],
    ///  "edges":[{"from":0,"to":1,"kind":"hard"}, ..],
    ///  "unused":[]}
    /// ```
    ///
    /// | field | meaning |
    /// |---|---|
    /// | `version` | 1; a higher one may mean other things by the same names, new fields may come without one |
    /// | `nodes` | in start order; the fields as the methods of [`Node`], `added_at` is file and line |
    /// | `edges` | `from` (the dependency) and `to` (the dependent) are positions in `nodes`; `kind` is [`EdgeKind::name`](crate::EdgeKind::name) |
    /// | `unused` | positions of [`Plan::unused`] |
    pub fn to_json(&self) -> String {
        let edges = self.edges();
        let json = PlanJson {
            version: 1,
            nodes: self.nodes().iter().map(NodeJson::new).collect(),
            edges: edges
                .map(|edge| EdgeJson {
                    from: edge.from.index(),
                    to: edge.to.index(),
                    kind: edge.kind.name(),
                })
                .collect(),
            unused: self.unused().iter().map(|node| node.id.index()).collect(),
        };
        serde_json::to_string(&json).expect("strings and numbers can always be written")
    }
}

#[derive(Serialize)]
struct PlanJson<'a> {
    version: u32,
    nodes: Vec<NodeJson<'a>>,
    edges: Vec<EdgeJson>,
    unused: Vec<usize>,
}

#[derive(Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    stage: Option<&'a str>,
    class: &'a str,
    value: bool,
    optional: bool,
    background: bool,
    milestone: bool,
    lazy: bool,
    conditional: bool,
    added_at: String,
}

#[derive(Serialize)]
struct EdgeJson {
    from: usize,
    to: usize,
    kind: &'static str,
}

impl<'a> NodeJson<'a> {
    fn new(node: &'a Node) -> Self {
        let added_at = node.added_at();
        Self {
            name: node.name(),
            stage: node.stage(),
            class: node.class().name(),
            value: node.is_value(),
            optional: node.is_optional(),
            background: node.is_background(),
            milestone: node.is_milestone(),
            lazy: node.is_lazy(),
            conditional: node.is_conditional(),
            added_at: format!("{}:{}", added_at.file(), added_at.line()),
        }
    }
}
