//! What most tests need: a log that observers, initialisers and hooks write to, and small values.

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use init_graph::{Event, Observer};

use crate::pairing::Pairing;

/// Lines in the order in which they happened; a cheap clone.
///
/// As an observer each clone listens to one graph at a time, and whoever reads the log has the events checked as well.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    faults: Arc<Mutex<Vec<String>>>,
    pairing: Mutex<Pairing>,
}

impl Clone for Log {
    fn clone(&self) -> Self {
        Self {
            lines: Arc::clone(&self.lines),
            faults: Arc::clone(&self.faults),
            pairing: Mutex::default(),
        }
    }
}

impl Log {
    pub(crate) fn say(&self, line: impl Display) {
        self.lines.lock().unwrap().push(line.to_string());
    }

    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<String> {
        let faults = self.faults.lock().unwrap().clone();
        let lines = self.lines.lock().unwrap().clone();
        assert!(faults.is_empty(), "{faults:#?} in\n{}", lines.join("\n"));
        lines
    }

    #[track_caller]
    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }

    #[track_caller]
    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|other| *other == line).count()
    }

    /// Where `line` is; it has to be there exactly once.
    #[track_caller]
    pub(crate) fn at(&self, line: &str) -> usize {
        assert_eq!(self.count(line), 1, "`{line}` in\n{}", self.text());
        self.lines().iter().position(|other| other == line).unwrap()
    }
}

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        {
            let mut pairing = self.pairing.lock().unwrap();
            let known = pairing.faults().len();
            pairing.hear(event);
            let faults = pairing.faults()[known..].iter().cloned();
            self.faults.lock().unwrap().extend(faults);
        }
        self.say(match event {
            Event::Planned { plan } => format!("planned {}", plan.nodes().len()),
            Event::Starting { node, attempt } => format!("starting {} {attempt}", node.name()),
            Event::Advanced {
                node,
                current,
                total,
                message,
            } => {
                format!("advanced {} {current}/{total:?} {message:?}", node.name())
            }
            Event::Queued { node, class } => format!("queued {} in {class}", node.name()),
            Event::Retrying {
                node,
                attempt,
                attempts,
                delay,
                error,
            } => format!(
                "retrying {} after {attempt}/{attempts} in {delay:?}: {error}",
                node.name()
            ),
            Event::Ready { node, .. } => format!("ready {}", node.name()),
            Event::Failed { node, error, .. } => format!("failed {}: {error}", node.name()),
            Event::Skipped { node, because } => {
                format!("skipped {} because {because}", node.name())
            }
            Event::Cancelled { node, took } => format!("cancelled {} after {took:?}", node.name()),
            Event::Abandoned { node, .. } => format!("abandoned {}", node.name()),
            Event::Started { took } => format!("started in {took:?}"),
            Event::Settled { took } => format!("settled in {took:?}"),
            Event::Restarting { nodes } => {
                let names: Vec<_> = nodes.iter().map(|node| node.name()).collect();
                format!("restarting {}", names.join(", "))
            }
            Event::Restarted { took } => format!("restarted in {took:?}"),
            Event::RestartFailed { error, .. } => format!("restart failed: {error}"),
            Event::StartFailed { error, .. } => format!("start failed: {error}"),
            Event::Stopping { node } => format!("stopping {}", node.name()),
            Event::Stopped { node, .. } => format!("stopped {}", node.name()),
            Event::StopFailed { node, error, .. } => {
                format!("stop failed {}: {error}", node.name())
            }
            Event::Finished { .. } => "finished".to_owned(),
            other => format!("unknown {other:?}"),
        });
    }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Replaces the line numbers of this crate's tests, so that goldens survive edits above them.
pub(crate) fn without_lines(text: &str) -> String {
    let mut shown = String::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some(at) = rest.find(".rs:") {
            let (head, tail) = rest.split_at(at + 4);
            shown.push_str(head);
            shown.push('N');
            rest = tail.trim_start_matches(|digit: char| digit.is_ascii_digit());
        }
        shown.push_str(rest);
    }
    shown
}
