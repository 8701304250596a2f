//! Plans of PostgreSQL as JSON: what they cost, and which tables they read from end to end and why.

use std::time::Duration;

use serde_json::Value as Json;

use super::predicates::{Compared, Ordered, compared, ordered};
use crate::sql::words;

/// A plan as far as advice needs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) cost: f64,
    pub(super) rows: f64,
    /// Only of a statement that was run.
    pub(super) took: Option<Duration>,
    pub(super) scans: Vec<Scan>,
    /// One step on a line, inner ones indented.
    pub(super) text: String,
}

/// A table that is read from end to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    pub(super) schema: String,
    pub(super) table: String,
    /// The rows that pass its filter.
    pub(super) rows: f64,
    pub(super) compared: Vec<Compared>,
    /// Its columns that a sort above it begins with.
    pub(super) order: Vec<Ordered>,
    /// Only some of its rows are wanted.
    pub(super) limited: bool,
}

impl Plan {
    /// Reads what `EXPLAIN (FORMAT JSON, VERBOSE)` answered; `None` if it is something else.
    pub(super) fn read(json: &str) -> Option<Self> {
        let all: Json = serde_json::from_str(json).ok()?;
        let top = all.get(0)?;
        let root = top.get("Plan")?;
        let took = top.get("Execution Time").and_then(Json::as_f64);
        let mut plan = Self {
            cost: number(root, "Total Cost"),
            rows: number(root, "Plan Rows"),
            took: took.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3)),
            ..Self::default()
        };
        plan.walk(root, &Above::default(), 0);
        Some(plan)
    }

    fn walk(&mut self, node: &Json, above: &Above, depth: usize) {
        // Nested a hundred deep, a plan is nothing to learn from.
        if depth > 100 {
            return;
        }
        let kind = text(node, "Node Type");
        self.line(node, kind, depth);
        if kind == "Seq Scan" {
            self.scans.extend(scan(node, above));
        }
        let mut below = above.clone();
        match kind {
            "Limit" => below.limited = true,
            "Sort" | "Incremental Sort" => below.sort = keys(node),
            "Nested Loop" => below.join.push(text(node, "Join Filter").to_owned()),
            // These need all rows, and in no order that came from above.
            "Aggregate" | "Group" | "WindowAgg" | "Unique" | "SetOp" | "Hash" => {
                below = Above::default();
            }
            _ => {}
        }
        for inner in node
            .get("Plans")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            self.walk(inner, &below, depth + 1);
        }
    }

    fn line(&mut self, node: &Json, kind: &str, depth: usize) {
        let name = |before, key| match text(node, key) {
            "" => String::new(),
            name => format!(" {before} {name}"),
        };
        let condition = ["Index Cond", "Hash Cond", "Join Filter", "Filter"]
            .into_iter()
            .map(|key| text(node, key))
            .find(|condition| !condition.is_empty());
        let line = format!(
            "{:depth$}{kind}{}{} (cost {:.1}, rows {:.0}){}\n",
            "",
            name("using", "Index Name"),
            name("on", "Relation Name"),
            number(node, "Total Cost"),
            number(node, "Plan Rows"),
            condition.map(|it| format!(" {it}")).unwrap_or_default(),
            depth = depth * 2,
        );
        self.text.push_str(&line);
    }
}

/// What the steps above a scan want of it.
#[derive(Clone, Default)]
struct Above {
    sort: Vec<Ordered>,
    limited: bool,
    join: Vec<String>,
}

fn scan(node: &Json, above: &Above) -> Option<Scan> {
    let alias = text(node, "Alias");
    let table = text(node, "Relation Name");
    let ours = |qualifier: Option<&String>| qualifier.is_none_or(|it| it == alias);
    let filters = std::iter::once(text(node, "Filter")).chain(above.join.iter().map(|it| &**it));
    let mut all = Vec::new();
    for filter in filters {
        let words = words(filter);
        // An index on all columns of an `OR` serves none of its sides.
        if !words.iter().any(|word| word.is("or")) {
            all.extend(compared(&words));
        }
    }
    all.retain(|one| ours(one.qualifier.as_ref()));
    let order: Vec<Ordered> = above
        .sort
        .iter()
        .map_while(|key| ours(key.0.as_ref()).then(|| key.clone()))
        .collect();
    // An order that other tables take part in comes from no index.
    let order = if order.len() == above.sort.len() {
        order
    } else {
        Vec::new()
    };
    (!table.is_empty()).then(|| Scan {
        schema: text(node, "Schema").to_owned(),
        table: table.to_owned(),
        rows: number(node, "Plan Rows"),
        compared: all,
        limited: above.limited && !order.is_empty(),
        order,
    })
}

fn keys(node: &Json) -> Vec<Ordered> {
    let all = node.get("Sort Key").and_then(Json::as_array);
    let all: Vec<&str> = all.into_iter().flatten().filter_map(Json::as_str).collect();
    let mut found = Vec::new();
    for key in &all {
        match ordered(&words(key)).pop() {
            Some(one) => found.push(one),
            None => return Vec::new(),
        }
    }
    found
}

fn text<'a>(node: &'a Json, key: &str) -> &'a str {
    node.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn number(node: &Json, key: &str) -> f64 {
    node.get(key).and_then(Json::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const TOP_TEN: &str = r#"[{"Plan": {"Node Type": "Limit", "Total Cost": 9.5, "Plan Rows": 10, "Plans": [
        {"Node Type": "Sort", "Total Cost": 9.0, "Plan Rows": 500, "Sort Key": ["p.created_at DESC"], "Plans": [
            {"Node Type": "Seq Scan", "Relation Name": "posts", "Schema": "public", "Alias": "p", "Total Cost": 8.0,
             "Plan Rows": 500, "Filter": "((p.author_id = $1) AND (p.deleted_at IS NULL))"}]}]}}]"#;

    #[test]
    fn a_scan_is_told_with_what_it_compares_and_the_order_above_it() {
        let plan = Plan::read(TOP_TEN).expect("a plan");
        let scan = &plan.scans[0];
        let columns: Vec<&str> = scan.compared.iter().map(|it| &*it.column).collect();
        assert_eq!(columns, ["author_id", "deleted_at"]);
        assert_eq!(
            (&*scan.order[0].1, scan.order[0].2, scan.limited),
            ("created_at", true, true)
        );
        expect![[r#"
            Limit (cost 9.5, rows 10)
              Sort (cost 9.0, rows 500)
                Seq Scan on posts (cost 8.0, rows 500) ((p.author_id = $1) AND (p.deleted_at IS NULL))
        "#]]
        .assert_eq(&plan.text);
    }

    #[test]
    fn alternatives_and_other_tables_give_no_columns() {
        let plan = TOP_TEN
            .replace(") AND (", ") OR (")
            .replace("p.created_at DESC", "u.name");
        let scan = Plan::read(&plan).expect("a plan").scans.remove(0);
        assert!(scan.compared.is_empty() && scan.order.is_empty() && !scan.limited);
    }

    #[test]
    fn what_is_no_plan_is_none() {
        for json in ["", "[]", "{}", "[{}]", "null", "[1]"] {
            assert!(Plan::read(json).is_none(), "{json}");
        }
        assert!(Plan::read(r#"[{"Plan": {}}]"#).is_some());
    }
}
