//! Who waits for whom: refuses the wait that would close a circle. Decisions only; the caller holds the lock.

use std::collections::HashMap;

use crate::plan::NodeId;

/// The lazy waits of components whose initialisers still run.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    list: Vec<Wait>,
    tickets: u64,
}

#[derive(Debug)]
struct Wait {
    owner: NodeId,
    target: NodeId,
    ticket: u64,
}

impl Waits {
    /// Notes that `owner` waits for `target`, and returns what to [leave](Self::leave) with.
    ///
    /// `behind` yields the dependencies of a node that are not settled.
    ///
    /// # Errors
    /// The circle, from `owner` back to itself, when `target` waits for `owner` already.
    pub(crate) fn enter<I>(
        &mut self,
        owner: NodeId,
        target: NodeId,
        behind: impl Fn(NodeId) -> I,
    ) -> Result<u64, Vec<NodeId>>
    where
        I: Iterator<Item = NodeId>,
    {
        if let Some(circle) = self.circle(owner, target, behind) {
            return Err(circle);
        }
        self.tickets += 1;
        self.list.push(Wait {
            owner,
            target,
            ticket: self.tickets,
        });
        Ok(self.tickets)
    }

    /// How many waits of `owner` there are.
    pub(crate) fn count(&self, owner: NodeId) -> usize {
        self.list.iter().filter(|wait| wait.owner == owner).count()
    }

    pub(crate) fn leave(&mut self, ticket: u64) {
        self.list.retain(|wait| wait.ticket != ticket);
    }

    fn circle<I>(
        &self,
        owner: NodeId,
        target: NodeId,
        behind: impl Fn(NodeId) -> I,
    ) -> Option<Vec<NodeId>>
    where
        I: Iterator<Item = NodeId>,
    {
        // Who waits for it, as the search came by.
        let mut before = HashMap::from([(target, owner)]);
        let mut open = vec![target];
        while let Some(node) = open.pop() {
            if node == owner {
                return Some(path(&before, owner));
            }
            let lazily = self.list.iter().filter(|wait| wait.owner == node);
            for next in behind(node).chain(lazily.map(|wait| wait.target)) {
                before.entry(next).or_insert_with(|| {
                    open.push(next);
                    node
                });
            }
        }
        None
    }
}

/// From `owner` to itself, each waiting for the next.
fn path(before: &HashMap<NodeId, NodeId>, owner: NodeId) -> Vec<NodeId> {
    let mut path = vec![owner];
    let mut at = owner;
    while let Some(waiting) = before.get(&at) {
        path.push(*waiting);
        at = *waiting;
        if at == owner {
            break;
        }
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: [NodeId; 5] = [NodeId(0), NodeId(1), NodeId(2), NodeId(3), NodeId(4)];

    fn none(_: NodeId) -> std::iter::Empty<NodeId> {
        std::iter::empty()
    }

    #[test]
    fn the_second_of_two_waits_that_close_a_circle_is_refused() {
        let mut waits = Waits::default();
        let ticket = waits.enter(N[0], N[1], none).unwrap();
        assert_eq!(waits.enter(N[1], N[0], none), Err(vec![N[1], N[0], N[1]]));
        waits.leave(ticket);
        assert!(waits.enter(N[1], N[0], none).is_ok());
    }

    #[test]
    fn a_circle_may_go_over_dependencies_and_waits_of_others() {
        // 1 depends on 2; 2 waits for 3; 3 depends on 0.
        let behind = |node: NodeId| match node.0 {
            1 => vec![N[4], N[2]].into_iter(),
            3 => vec![N[0]].into_iter(),
            _ => vec![].into_iter(),
        };
        let mut waits = Waits::default();
        waits.enter(N[2], N[3], behind).unwrap();
        assert_eq!(
            waits.enter(N[0], N[1], behind),
            Err(vec![N[0], N[1], N[2], N[3], N[0]])
        );
        assert!(waits.enter(N[0], N[4], behind).is_ok());
    }

    #[test]
    fn waiting_for_oneself_is_a_circle_of_one() {
        assert_eq!(
            Waits::default().enter(N[0], N[0], none),
            Err(vec![N[0], N[0]])
        );
    }
}
