//! The plain view: one line per change of status, for logs and pipes.

use std::fmt::Write;

use super::text::{clean, duration};
use crate::{Readiness, Snapshot, StepSnapshot, StepStatus};

/// Remembers what has been said, so that every change is said once.
#[derive(Debug, Default)]
pub(super) struct Log {
    readiness: Option<Readiness>,
    /// By the id of the step.
    steps: Vec<StepStatus>,
}

impl Log {
    /// The lines for what has changed since the last call.
    ///
    /// A step that ran between two calls gets one line, not two.
    pub(super) fn lines(&mut self, snapshot: &Snapshot) -> String {
        let mut text = String::new();
        if self.readiness.is_none() {
            // Even a view that begins late says what it is about.
            self.readiness = Some(Readiness::Starting);
            put(&mut text, 0, "starting", &clean(&snapshot.service));
        }
        let known = |step: &StepSnapshot| self.steps.get(step.id as usize).copied();
        let changed =
            |step: &&StepSnapshot| known(step).unwrap_or(StepStatus::Pending) != step.status;
        let mut changed: Vec<_> = snapshot.steps.iter().filter(changed).collect();
        changed.sort_by_key(|step| at(snapshot, step));
        for step in changed {
            put(
                &mut text,
                at(snapshot, step),
                step.status.as_str(),
                &what(step),
            );
        }
        self.steps = snapshot.steps.iter().map(|step| step.status).collect();
        if self.readiness != Some(snapshot.status) {
            self.readiness = Some(snapshot.status);
            let at = snapshot.ready_ms.unwrap_or(snapshot.elapsed_ms);
            put(&mut text, at, snapshot.status.as_str(), &end(snapshot));
        }
        text
    }
}

fn put(text: &mut String, at_ms: u64, status: &str, what: &str) {
    let (seconds, millis) = (at_ms / 1_000, at_ms % 1_000);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[{seconds:>4}.{millis:03}s] {status:<9} {what}");
}

/// When the step came to its status.
fn at(snapshot: &Snapshot, step: &StepSnapshot) -> u64 {
    match (step.status, step.started_ms, step.took_ms) {
        (StepStatus::Running, Some(started), _) => started,
        (StepStatus::Stopping | StepStatus::Stopped, ..) => snapshot.elapsed_ms,
        (_, Some(started), Some(took)) => started + took,
        _ => snapshot.elapsed_ms,
    }
}

fn what(step: &StepSnapshot) -> String {
    let mut text = clean(&step.name);
    let ran = step.status.is_over() && step.status != StepStatus::Skipped;
    if let Some(took) = step.took_ms.filter(|_| ran) {
        // Writing to a String cannot fail.
        let _ = write!(text, " in {}", duration(took));
    }
    let reason = match step.status {
        StepStatus::Failed => step.error.as_deref(),
        StepStatus::Skipped | StepStatus::Cancelled | StepStatus::Abandoned => {
            step.message.as_deref()
        }
        _ => None,
    };
    if let Some(reason) = reason {
        let _ = write!(text, ": {}", clean(reason));
    }
    text
}

fn end(snapshot: &Snapshot) -> String {
    let service = clean(&snapshot.service);
    match (&snapshot.reason, snapshot.ready_ms) {
        (Some(reason), _) => format!("{service}: {}", clean(reason)),
        (None, Some(ms)) => format!("{service} in {}", duration(ms)),
        (None, None) => service,
    }
}
