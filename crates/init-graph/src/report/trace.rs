//! The report as a trace that `ui.perfetto.dev` and `chrome://tracing` show: a slice for each component, arrows for the
//! dependencies, counters of what ran and what was queued. Times are whole microseconds.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use serde::Serialize;

use crate::report::{NodeReport, Outcome, Report};

impl Report {
    /// The start in Chrome's trace format, a JSON object to open with `ui.perfetto.dev` or `chrome://tracing`.
    ///
    /// Each component is a slice from the begin of its first attempt to the end of its last, at least a microsecond
    /// long. Slices are laid into as few lanes (threads of the trace) as they need to never overlap; the critical chain
    /// has a lane of its own on top. Arrows lead from each dependency to what waited for it; of more than 20,000, only
    /// those from the dependency that arrived last. About 500 bytes a component.
    pub fn to_chrome_trace(&self) -> String {
        let ran: Vec<_> = self.nodes().filter(|node| node.attempts() > 0).collect();
        let lanes = lanes(&ran);
        let mut events = names(lanes.iter().max().copied());
        events.extend(self.chain_slices());
        let slices = ran.iter().zip(&lanes);
        events.extend(slices.map(|(node, lane)| slice(*node, span(node), *lane)));
        events.extend(self.nodes().filter(is_point).map(point));
        self.add_arrows(&mut events, &ran, &lanes);
        events.extend(counters(&ran));
        let trace = Trace { unit: "ms", events };
        serde_json::to_string(&trace).expect("strings and numbers can always be written")
    }

    /// The critical chain in its own lane; a node that waited there for a `Lazy` begins where that ended.
    fn chain_slices(&self) -> Vec<Event<'_>> {
        let mut free = 0;
        let chain = self.critical_chain().into_iter();
        let slices = chain.filter(|node| node.attempts() > 0).filter_map(|node| {
            let (from, to) = span(&node);
            let from = from.max(free);
            (from < to).then(|| {
                free = to;
                slice(node, (from, to), CHAIN_LANE)
            })
        });
        slices.collect()
    }

    fn add_arrows(&self, events: &mut Vec<Event<'_>>, ran: &[NodeReport<'_>], lanes: &[u32]) {
        let mut place = vec![None; self.nodes().len()];
        for (at, node) in ran.iter().enumerate() {
            place[node.id().index()] = Some(at);
        }
        let edges: usize = ran
            .iter()
            .map(|node| self.dependencies(node.node).len())
            .sum();
        for (node, lane) in ran.iter().zip(lanes) {
            let last = node.waited_for().map(|last| last.id());
            for dependency in self.dependencies(node.node) {
                let Some(from) = place[dependency.index()] else {
                    continue;
                };
                if edges > ARROWS_MAX && Some(*dependency) != last {
                    continue;
                }
                // Inside of the slice that the arrow leaves, whose end no longer belongs to it.
                let left = span(&ran[from]).1 - 1;
                let id = Some(events.len());
                let arrow = |phase, lane, at| Event {
                    id,
                    category: Some("dependency"),
                    ..Event::new(phase, "dependency", lane, at)
                };
                let finish = arrow("f", *lane, span(node).0.max(left));
                events.push(arrow("s", lanes[from], left));
                events.push(Event {
                    binding: Some("e"),
                    ..finish
                });
            }
        }
    }
}

#[derive(Serialize)]
struct Trace<'a> {
    #[serde(rename = "displayTimeUnit")]
    unit: &'static str,
    #[serde(rename = "traceEvents")]
    events: Vec<Event<'a>>,
}

/// One event in the words of the format.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "ph")]
    phase: &'static str,
    name: &'a str,
    pid: u32,
    tid: u32,
    ts: u64,
    #[serde(rename = "cat", skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    /// That an arrow ends at the slice around it and not at the next one.
    #[serde(rename = "bp", skip_serializing_if = "Option::is_none")]
    binding: Option<&'static str>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Args<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Args<'a> {
    Name {
        name: Cow<'static, str>,
    },
    Sort {
        sort_index: u32,
    },
    Count {
        running: i64,
        queued: i64,
    },
    Slice {
        outcome: &'static str,
        attempts: u32,
        own_us: u64,
        queued_us: u64,
        backoff_us: u64,
        slack_us: Option<u64>,
        drag_us: u64,
        waited_for: Option<&'a str>,
    },
}

impl<'a> Event<'a> {
    fn new(phase: &'static str, name: &'a str, lane: u32, ts: u64) -> Self {
        Self {
            phase,
            name,
            pid: PID,
            tid: lane,
            ts,
            category: None,
            dur: None,
            id: None,
            binding: None,
            scope: None,
            args: None,
        }
    }
}

/// Begin and end in microseconds; never empty, so that it can be seen and arrows can be tied to it.
fn span(node: &NodeReport<'_>) -> (u64, u64) {
    let from = micros(node.started_at());
    (from, micros(node.settled_at()).max(from + 1))
}

/// For each node the lowest lane that is free when it begins.
fn lanes(ran: &[NodeReport<'_>]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..ran.len()).collect();
    order.sort_by_key(|at| {
        let (from, to) = span(&ran[*at]);
        (from, Reverse(to))
    });
    let mut lanes = vec![0; ran.len()];
    let mut taken: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
    let mut free: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    let mut next = CHAIN_LANE + 1;
    for at in order {
        let (from, to) = span(&ran[at]);
        while let Some(Reverse((_, lane))) = taken
            .peek()
            .copied()
            .filter(|Reverse((end, _))| *end <= from)
        {
            taken.pop();
            free.push(Reverse(lane));
        }
        let lane = free.pop().map_or(next, |Reverse(lane)| lane);
        next = next.max(lane + 1);
        lanes[at] = lane;
        taken.push(Reverse((to, lane)));
    }
    lanes
}

fn names(lanes: Option<u32>) -> Vec<Event<'static>> {
    let about = |name, lane, args| Event {
        args: Some(args),
        ..Event::new("M", name, lane, 0)
    };
    let named = |name: &'static str, lane, value| about(name, lane, Args::Name { name: value });
    let mut events = vec![named("process_name", CHAIN_LANE, "start".into())];
    for lane in CHAIN_LANE..=lanes.unwrap_or(CHAIN_LANE) {
        let name = if lane == CHAIN_LANE {
            "critical chain".into()
        } else {
            format!("lane {lane}").into()
        };
        events.push(named("thread_name", lane, name));
        events.push(about(
            "thread_sort_index",
            lane,
            Args::Sort { sort_index: lane },
        ));
    }
    events
}

fn slice<'a>(node: NodeReport<'a>, (from, to): (u64, u64), lane: u32) -> Event<'a> {
    let args = Args::Slice {
        outcome: node.outcome().word(),
        attempts: node.attempts(),
        own_us: micros(node.own()),
        queued_us: micros(node.queued()),
        backoff_us: micros(node.backoff()),
        slack_us: node.slack().map(micros),
        drag_us: micros(node.drag()),
        waited_for: node.waited_for().map(|last| last.name()),
    };
    Event {
        category: Some(node.stage().unwrap_or("component")),
        dur: Some(to - from),
        args: Some(args),
        ..Event::new("X", node.name(), lane, from)
    }
}

/// Whether a node was reached without running anything, as milestones are.
fn is_point(node: &NodeReport<'_>) -> bool {
    node.outcome() == Outcome::Ready && node.attempts() == 0
}

fn point(node: NodeReport<'_>) -> Event<'_> {
    let at = micros(node.settled_at());
    Event {
        scope: Some("p"),
        ..Event::new("i", node.name(), CHAIN_LANE, at)
    }
}

/// One event for each moment at which the number of running or queued nodes changed.
fn counters(ran: &[NodeReport<'_>]) -> Vec<Event<'static>> {
    let mut changes: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    for node in ran {
        let (from, to) = span(node);
        changes.entry(from).or_default().0 += 1;
        changes.entry(to).or_default().0 -= 1;
        if !node.queued().is_zero() {
            changes
                .entry(micros(node.waited()).min(from))
                .or_default()
                .1 += 1;
            changes.entry(from).or_default().1 -= 1;
        }
    }
    let (mut running, mut queued) = (0, 0);
    let events = changes.into_iter().map(|(at, change)| {
        running += change.0;
        queued += change.1;
        let args = Some(Args::Count { running, queued });
        Event {
            args,
            ..Event::new("C", "components", CHAIN_LANE, at)
        }
    });
    events.collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1)
}

const PID: u32 = 1;

/// The lane on top.
const CHAIN_LANE: u32 = 0;
const ARROWS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::report::fixture::{Scene, ms};

    fn events(report: &Report) -> Vec<Value> {
        let trace: Value = serde_json::from_str(&report.to_chrome_trace()).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }

    fn of(events: &[Value], phase: &str) -> Vec<Value> {
        events
            .iter()
            .filter(|event| event["ph"] == phase)
            .cloned()
            .collect()
    }

    fn number(event: &Value, field: &str) -> u64 {
        event[field].as_u64().unwrap()
    }

    proptest! {
        /// Reads the trace as a viewer does: slices of a lane one after another, arrows from inside of one slice to the
        /// begin of another, counters that come back to nothing.
        #[test]
        fn slices_of_a_lane_never_overlap_and_arrows_are_tied_to_slices(
            nodes in prop::collection::vec((0..200_u64, 0..60_u64, 0..9_u64, any::<u16>()), 0..40),
        ) {
            let mut scene = Scene::default();
            let mut ends: Vec<u64> = Vec::new();
            for (at, (wait, own, queued, bits)) in nodes.iter().enumerate() {
                let before: Vec<u32> = (0..at.min(16) as u32).filter(|other| bits >> other & 1 == 1).collect();
                let free = before.iter().map(|other| ends[*other as usize]).max().unwrap_or(*wait);
                let record = scene.ran(format!("n{at}"), &before, free + queued, free + queued + own);
                record.queued = ms(*queued);
                ends.push(free + queued + own);
            }
            let events = events(&scene.report());
            let mut slices: Vec<(u64, u64, u64)> = of(&events, "X")
                .iter()
                .map(|event| (number(event, "tid"), number(event, "ts"), number(event, "ts") + number(event, "dur")))
                .collect();
            slices.sort_unstable();
            for pair in slices.windows(2) {
                prop_assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?}");
            }
            prop_assert!(slices.iter().all(|(_, from, to)| from < to));
            prop_assert_eq!(slices.iter().filter(|slice| slice.0 != u64::from(CHAIN_LANE)).count(), nodes.len());
            let starts: HashMap<u64, Value> = of(&events, "s").into_iter().map(|event| (number(&event, "id"), event)).collect();
            let within = |event: &Value| slices.iter().any(|(lane, from, to)| {
                *lane == number(event, "tid") && (*from..*to).contains(&number(event, "ts"))
            });
            for finish in of(&events, "f") {
                let start = &starts[&number(&finish, "id")];
                prop_assert!(within(start) && within(&finish) && number(start, "ts") <= number(&finish, "ts"));
            }
            let edges: usize = nodes.iter().enumerate().map(|(at, node)| (node.3 & ((1_u32 << at.min(16)) - 1) as u16).count_ones() as usize).sum();
            prop_assert_eq!(starts.len(), edges);
            let counters = of(&events, "C");
            prop_assert!(counters.windows(2).all(|pair| number(&pair[0], "ts") < number(&pair[1], "ts")));
            for counter in &counters {
                prop_assert!(counter["args"]["running"].as_i64() >= Some(0) && counter["args"]["queued"].as_i64() >= Some(0));
            }
            let last = counters.last().map(|counter| counter["args"].clone());
            prop_assert!(last.is_none_or(|args| args["running"] == 0 && args["queued"] == 0));
            let named: Vec<u64> = of(&events, "M").iter().filter(|event| event["name"] == "thread_name").map(|event| number(event, "tid")).collect();
            prop_assert!(slices.iter().all(|slice| named.contains(&slice.0)));
        }
    }

    #[test]
    fn no_more_lanes_than_ever_ran_at_once_and_the_chain_on_top() {
        let mut scene = Scene::default();
        scene.value("config");
        scene.ran("database", &[0], 0, 50);
        scene.ran("cache", &[0], 0, 30);
        scene.ran("warm", &[2], 30, 60);
        scene.ran("api", &[1], 50, 90);
        scene.idle("ready", &[4], Outcome::Ready, 90).milestone = true;
        let events = events(&scene.report());
        let lanes: Vec<_> = of(&events, "X")
            .iter()
            .map(|event| {
                (
                    event["name"].as_str().unwrap().to_owned(),
                    number(event, "tid"),
                )
            })
            .collect();
        let lane = |name: &str| {
            lanes
                .iter()
                .filter(|(other, _)| other == name)
                .map(|(_, lane)| *lane)
                .collect::<Vec<_>>()
        };
        assert_eq!((lane("database"), lane("api")), (vec![0, 1], vec![0, 1]));
        assert_eq!((lane("cache"), lane("warm")), (vec![2], vec![2]));
        assert_eq!(of(&events, "i")[0]["name"], "ready");
    }
}
