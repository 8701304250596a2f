//! The text of a cycle: who waits for whom and why, and which of the edges is the cheapest to break.

use std::fmt::Write as _;

use super::cycle::Knot;
use super::diagnose::Diagnose;
use super::names::type_label;
use super::resolve::needs;
use crate::param::{Key, Kind, Need, Source};

impl Diagnose<'_, '_> {
    pub(super) fn cycle(&self, knot: &Knot) -> String {
        let length = knot.cycle.len();
        let mut text = match length {
            1 => format!("`{}` depends on itself", self.name(knot.cycle[0] as usize)),
            _ => format!("dependency cycle of {length} nodes"),
        };
        if knot.size > length {
            let _ = write!(
                text,
                " (the shortest among {} nodes that depend on each other)",
                knot.size
            );
        }
        let left_out = length.saturating_sub(SHOWN_MAX);
        let head = if left_out > 0 { SHOWN_MAX / 2 } else { length };
        for position in (0..head).chain(head + left_out..length) {
            if left_out > 0 && position == head + left_out {
                let _ = write!(text, "\n  ... {left_out} more ...");
            }
            let edge = self.edge(knot, position);
            let _ = write!(text, "\n  {}", self.edge_text(&edge));
        }
        let edges = (0..length).map(|position| self.edge(knot, position));
        if let Some(cheapest) = edges.min_by_key(Edge::cost) {
            let _ = write!(text, "\n  help: {}", self.way_out(&cheapest));
        }
        text
    }

    /// From the member at `position` to the next.
    fn edge(&self, knot: &Knot, position: usize) -> Edge<'_> {
        let at = knot.cycle[position];
        let next = knot.cycle[(position + 1) % knot.cycle.len()];
        let component = &self.components[at as usize];
        let wires = self.resolved.of(at).iter();
        let wires = wires.filter(|wire| wire.kind != Kind::Lazy && wire.provider == Some(next));
        let own = wires.filter_map(|wire| needs(component).nth(wire.need as usize));
        // Of several needs of the same provider all would have to go, so the strongest is the one to tell.
        let need = own.max_by_key(|need| cost(need));
        Edge {
            at: at as usize,
            next: next as usize,
            need,
        }
    }

    fn edge_text(&self, edge: &Edge<'_>) -> String {
        let next = self.name(edge.next);
        match edge.need {
            Some(need) if matches!(need.key, Key::Type(_)) => {
                format!("{}, made by `{next}`", self.need(edge.at, need))
            }
            Some(need) => self.need(edge.at, need),
            None => format!("{} is to begin after `{next}`", self.place(edge.at)),
        }
    }

    fn way_out(&self, edge: &Edge<'_>) -> String {
        let (own, next) = (self.name(edge.at), self.name(edge.next));
        let type_wanted = |need: &Need| match &need.key {
            Key::Type(key) => match key.tag {
                Some((_, tag)) => format!("{}, {}", type_label(key.name), type_label(tag)),
                None => type_label(key.name),
            },
            _ => String::new(),
        };
        match edge.need {
            _ if edge.at == edge.next && edge.is_order() => "leave that out".to_owned(),
            Some(need) if edge.at == edge.next => format!(
                "take the value of another provider of `{}`, chosen by `wire`, or leave it out",
                type_wanted(need)
            ),
            Some(need) if edge.is_order() && matches!(need.key, Key::Type(_)) => format!(
                "`{own}` takes no value of `{next}`, only the order: leave out `{}` there to break the cycle",
                self.wanted(need)
            ),
            _ if edge.is_order() => format!(
                "`{own}` takes no value of `{next}`, only the order: leave out `after` there to break the cycle"
            ),
            Some(need) if matches!(need.source, Source::Condition(_)) => format!(
                "the condition of `{own}` is all that needs `{next}`: decide it by something that is there earlier"
            ),
            Some(need) if matches!(need.kind, Kind::Soft | Kind::All) => format!(
                "`{own}` can do without `{next}`: take `Lazy<{}>` there to break the cycle, and ask for it after the start",
                type_wanted(need)
            ),
            Some(need) => format!(
                "move what both sides need into a component of its own; or take `Lazy<{}>` in `{own}`, and ask for it after the start",
                type_wanted(need)
            ),
            None => "leave one of them out".to_owned(),
        }
    }
}

struct Edge<'a> {
    at: usize,
    next: usize,
    /// `None` for an order by handle.
    need: Option<&'a Need>,
}

impl Edge<'_> {
    fn is_order(&self) -> bool {
        self.need.is_none_or(|need| need.kind == Kind::Order)
    }

    fn cost(&self) -> u8 {
        self.need.map_or(0, cost)
    }
}

/// What it costs to do without: an order least, a value most.
fn cost(need: &Need) -> u8 {
    match (need.kind, need.source) {
        (Kind::Order, _) => 0,
        (Kind::Soft, _) => 1,
        (Kind::All, _) => 2,
        (_, Source::Condition(_)) => 3,
        (Kind::Live, _) => 4,
        _ => 5,
    }
}

/// The nodes of a long cycle that are printed.
const SHOWN_MAX: usize = 12;
