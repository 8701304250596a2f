//! Which order serves a start better, by ranks or first in, first out: both are played through with the times of earlier
//! starts. Ranks are a rule of thumb, and now and then the order of coming is a little better.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::limits::Limits;
use crate::component::Body;
use crate::plan::NodeId;
use crate::run::Run;

/// Whether the start is expected to be over sooner `in_order` of coming than by the `ranked` order.
///
/// False where that cannot be told: when a time is unknown, a priority is given, or the graph is so large that playing it
/// through would take noticeable time itself.
pub(super) fn is_better_in_order(run: &Run, in_order: &Limits, ranked: &Limits) -> bool {
    let same = |at: usize| run.steps[at].options().priority == run.steps[0].options().priority;
    if run.steps.len() > NODES_MAX || !(0..run.steps.len()).all(same) {
        return false;
    }
    match times(run) {
        Some(times) => makespan(run, &times, in_order) < makespan(run, &times, ranked),
        None => false,
    }
}

/// What each node took in earlier starts; `None` when one is not known.
fn times(run: &Run) -> Option<Vec<Duration>> {
    let earlier = run.earlier.get()?;
    let nodes = run.core.plan.nodes().iter().zip(&run.steps);
    nodes
        .map(|(node, step)| match step.body {
            Body::Value(_) | Body::Point => Some(Duration::ZERO),
            _ if node.lazy => Some(Duration::ZERO),
            _ => earlier.usual(node.name()).map(|(time, _)| time),
        })
        .collect()
}

/// When all that the start waits for would be there.
fn makespan(run: &Run, times: &[Duration], limits: &Limits) -> Duration {
    let plan = &run.core.plan;
    let is_eager = |node: &u32| !plan.node(NodeId(*node)).lazy;
    let all = 0..times.len() as u32;
    let mut left: Vec<usize> = all
        .clone()
        .map(|node| plan.dependencies(NodeId(node)).len())
        .collect();
    let roots: Vec<u32> = all
        .filter(|node| left[*node as usize] == 0)
        .filter(is_eager)
        .collect();
    let (mut ends, mut begun) = (BinaryHeap::new(), 0_u32);
    let mut begin = |ends: &mut BinaryHeap<_>, now: Duration, nodes: Vec<u32>| {
        for node in nodes {
            // Of those that end at once, the one that began first comes first.
            begun += 1;
            ends.push(Reverse((
                now.saturating_add(times[node as usize]),
                begun,
                node,
            )));
        }
    };
    begin(
        &mut ends,
        Duration::ZERO,
        limits.exchange(None, &roots, |_| {}),
    );
    let mut whole = Duration::ZERO;
    while let Some(Reverse((now, _, node))) = ends.pop() {
        if !plan.node(NodeId(node)).background {
            whole = now;
        }
        let behind = run.dependents.of(NodeId(node)).iter().map(|id| id.0);
        let free: Vec<u32> = behind
            .filter(|other| {
                left[*other as usize] -= 1;
                left[*other as usize] == 0
            })
            .filter(is_eager)
            .collect();
        begin(&mut ends, now, limits.exchange(Some(node), &free, |_| {}));
    }
    whole
}

/// Playing through is work added to a start, so it is bounded.
const NODES_MAX: usize = 5_000;
