//! The milestone that a start is to return at.

use super::suggest::{nearest, quoted_list};
use crate::plan::{Node, NodeId, Plan};
use crate::wiring_error::{WiringError, WiringErrorKind, WiringErrors};

/// The milestone of this name.
pub(crate) fn milestone(plan: &Plan, name: &str) -> Result<NodeId, WiringErrors> {
    let nodes = plan.nodes();
    let error = match nodes.iter().find(|node| node.name() == name) {
        Some(node) if node.is_milestone() => return Ok(node.id()),
        Some(node) => {
            let at = node.added_at();
            format!(
                "`{name}` is no milestone\n  `{name}` (added at {}:{})\n  help: add a point that comes after it, by `graph.milestone(\"ready\").after(\"{name}\")`",
                at.file(),
                at.line()
            )
        }
        None => {
            let milestones = nodes.iter().filter(|node| node.is_milestone());
            let names: Vec<_> = milestones.map(Node::name).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(at) => format!("did you mean `{}`?", names[at]),
                None if names.is_empty() => "add one by `graph.milestone(name)`".to_owned(),
                None => format!("there is {}", quoted_list(names.into_iter())),
            };
            format!("there is no milestone named `{name}`\n  help: {help}")
        }
    };
    let error = WiringError::new(WiringErrorKind::NoMilestone, error, vec![name.to_owned()]);
    Err(WiringErrors::new(vec![error]))
}
