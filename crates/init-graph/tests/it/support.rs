//! What most tests need: a log that observers, initialisers and hooks write to, and small values.

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use init_graph::{Event, Observer};

/// Lines in the order in which they happened; a cheap clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Display) {
        self.0.lock().unwrap().push(line.to_string());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }

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
            Event::Ready { node, .. } => format!("ready {}", node.name()),
            Event::Failed { node, error, .. } => format!("failed {}: {error}", node.name()),
            Event::Skipped { node, because } => {
                format!("skipped {} because {because}", node.name())
            }
            Event::Cancelled { node, took } => format!("cancelled {} after {took:?}", node.name()),
            Event::Started { took } => format!("started in {took:?}"),
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
