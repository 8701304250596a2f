//! The guard of one step: whoever holds it must say how the step ended.

use std::{fmt, thread};

use crate::{Progress, StepStatus, life::Change, state::StepId};

/// A running step; ends with [`finish`](Self::finish), [`skip`](Self::skip) or
/// [`fail`](Self::fail).
///
/// Dropped without a word it counts as *abandoned* (an early `?` or a cancelled future is not a
/// success), dropped by a panic as *failed*.
#[must_use = "a step that is dropped counts as abandoned"]
pub struct Step {
    progress: Progress,
    /// `None` once it is over, and for a step past the bound.
    id: Option<StepId>,
}

impl Step {
    pub(crate) fn new(progress: Progress, id: Option<StepId>) -> Self {
        Self { progress, id }
    }

    /// Says how many units of work there are; without it the step shows no bar.
    pub fn total(self, total: u64) -> Self {
        self.change(&Change::Total(total));
        self
    }

    /// Puts the step into a stage.
    pub fn stage(self, stage: impl AsRef<str>) -> Self {
        self.change(&Change::Stage(stage.as_ref()));
        self
    }

    /// Says that so many more units are done.
    pub fn advance(&self, units: u64) {
        self.change(&Change::Advance(units));
    }

    /// Says how many units are done in all.
    pub fn set_current(&self, current: u64) {
        self.change(&Change::Position {
            current,
            total: None,
        });
    }

    /// Says what the step is doing now.
    pub fn message(&self, text: impl AsRef<str>) {
        self.change(&Change::Message(text.as_ref()));
    }

    /// Ends the step with success.
    pub fn finish(mut self) {
        self.end(StepStatus::Done, None);
    }

    /// Ends the step as not needed, and says why.
    pub fn skip(mut self, because: impl fmt::Display) {
        self.end(StepStatus::Skipped, Some(&because.to_string()));
    }

    /// Ends the step with an error. The readiness is not touched: whether the service can live
    /// without the step is for the service to say.
    pub fn fail(mut self, reason: impl fmt::Display) {
        self.end(StepStatus::Failed, Some(&reason.to_string()));
    }

    fn change(&self, change: &Change<'_>) {
        if let Some(id) = self.id {
            self.progress.change(id, change);
        }
    }

    fn end(&mut self, status: StepStatus, text: Option<&str>) {
        self.change(&Change::End { status, text });
        self.id = None;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if thread::panicking() {
            self.end(StepStatus::Failed, Some("panicked"));
        } else {
            self.end(StepStatus::Abandoned, None);
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
