//! The life of one step: which change fits which status, and how much of the step it completes.

use std::time::Duration;

use crate::{ProgressConfig, StepSnapshot, StepStatus};

/// A change of one step. A change that does not fit the step's status is ignored.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "init-graph"),
    expect(dead_code, reason = "only a graph announces its stops")
)]
pub(crate) enum Change<'a> {
    /// It begins; a failed one begins again, and one that was stopped as well.
    Begin,
    /// It is about to make another attempt, from nothing.
    Again,
    Stage(&'a str),
    Total(u64),
    /// So many more units are done.
    Advance(u64),
    /// So many units are done in all.
    Position {
        current: u64,
        total: Option<u64>,
    },
    Message(&'a str),
    /// The start of the step is over.
    End {
        status: StepStatus,
        text: Option<&'a str>,
    },
    Stopping,
    Stopped,
    StopFailed(&'a str),
}

/// One whole step, in thousandths.
pub(crate) const WHOLE: u64 = 1000;

/// How much of a step is done, in thousandths; every step weighs the same.
pub(crate) fn work(step: &StepSnapshot) -> u64 {
    if step.status.is_over() {
        return WHOLE;
    }
    let Some(total) = step.total.filter(|total| *total > 0) else {
        return 0;
    };
    let share = u128::from(step.current.min(total)) * u128::from(WHOLE) / u128::from(total);
    u64::try_from(share).unwrap_or(WHOLE)
}

/// The life of one step; returns whether the change fitted its status and changed something.
pub(crate) fn apply(
    step: &mut StepSnapshot,
    change: &Change<'_>,
    now: Duration,
    config: &ProgressConfig,
) -> bool {
    use StepStatus::{
        Abandoned, Cancelled, Done, Failed, Pending, Running, Skipped, Stopped, Stopping,
    };
    let open = !step.status.is_over();
    match change {
        Change::Begin if matches!(step.status, Pending | Failed) => {
            step.status = Running;
            let started_ms = millis(now);
            step.started_ms.get_or_insert(started_ms);
            step.took_ms = None;
            step.error = None;
            // What it waited for before it began.
            step.message = None;
        }
        Change::Begin if matches!(step.status, Stopped | Skipped | Cancelled | Abandoned) => {
            step.status = Running;
            step.started_ms = Some(millis(now));
            step.took_ms = None;
            step.error = None;
            step.message = None;
            (step.current, step.total) = (0, None);
        }
        Change::Again if (step.current, step.total) != (0, None) && open => {
            (step.current, step.total) = (0, None);
        }
        Change::Stage(stage) if open => step.stage = Some(config.cut(stage)),
        Change::Total(total) if open && step.total != Some(*total) => step.total = Some(*total),
        Change::Advance(units) if open && *units > 0 => {
            step.current = step.current.saturating_add(*units);
        }
        Change::Position { current, total } if open => {
            let total = total.or(step.total);
            if (step.current, step.total) == (*current, total) {
                return false;
            }
            (step.current, step.total) = (*current, total);
        }
        Change::Message(text) if open && step.message.as_deref() != Some(*text) => {
            step.message = Some(config.cut(text));
        }
        Change::End { status, text } if open && status.is_over() => {
            step.status = *status;
            step.took_ms = step
                .started_ms
                .map(|started| millis(now).saturating_sub(started));
            let text = text.map(|text| config.cut(text));
            match status {
                Failed => step.error = text,
                _ => step.message = text.or_else(|| step.message.take()),
            }
        }
        Change::Stopping if step.status == Done => step.status = Stopping,
        Change::Stopped if matches!(step.status, Done | Stopping) => step.status = Stopped,
        Change::StopFailed(error) if matches!(step.status, Done | Stopping) => {
            step.status = Failed;
            step.error = Some(config.cut(error));
        }
        _ => return false,
    }
    true
}

/// Whole milliseconds, as the wire format has them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
