//! The live list: which steps are shown, and how each looks.

use std::cmp::Reverse;

use super::{
    line::{Line, Role},
    text::{clean, duration},
};
use crate::{Readiness, Snapshot, StepSnapshot, StepStatus};

/// The space and the moment to draw for.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) columns: u16,
    pub(super) rows: u16,
    /// Counts the frames; turns the spinner.
    pub(super) tick: usize,
}

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Columns of the time, right of the name.
const TIME_WIDTH: usize = 7;
/// Names are cut here, so that one long name does not push everything else off the line.
const NAME_WIDTH_MAX: usize = 28;

/// The lines of one frame: a headline, the steps that fit, and how many did not.
pub(super) fn lines(snapshot: &Snapshot, view: View) -> Vec<Line> {
    // The last column stays empty: some terminals wrap when it is written. The last row stays
    // empty because the cursor rests there.
    let width = usize::from(view.columns).saturating_sub(1);
    let rows = usize::from(view.rows).saturating_sub(1).max(1);
    let mut lines = vec![headline(snapshot, width)];
    let shown = select(&snapshot.steps, rows - 1);
    let names = shown
        .iter()
        .map(|step| console::measure_text_width(&clean(&step.name)));
    let name_width = names.max().unwrap_or(0).min(NAME_WIDTH_MAX);
    for step in &shown {
        lines.push(step_line(
            snapshot,
            step,
            Space { width, name_width },
            view.tick,
        ));
    }
    let hidden = snapshot.steps.len() - shown.len();
    if hidden > 0 && lines.len() < rows {
        let mut line = Line::new(width);
        line.push(Role::Dim, &format!("  … {hidden} more"));
        lines.push(line);
    }
    lines
}

#[derive(Debug, Clone, Copy)]
struct Space {
    width: usize,
    name_width: usize,
}

fn headline(snapshot: &Snapshot, width: usize) -> Line {
    let mut line = Line::new(width);
    line.push(Role::Strong, &clean(&snapshot.service));
    line.push(Role::Normal, "  ");
    match snapshot.status {
        Readiness::Ready => {
            let took = duration(snapshot.ready_ms.unwrap_or(snapshot.elapsed_ms));
            line.push(Role::Good, &format!("ready in {took}"));
        }
        Readiness::Failed => {
            let reason = clean(snapshot.reason.as_deref().unwrap_or("no reason given"));
            line.push(
                Role::Bad,
                &format!("failed after {}", duration(snapshot.elapsed_ms)),
            );
            line.push(Role::Normal, &format!("  {reason}"));
        }
        status => {
            line.push(Role::Strong, &format!("{:>3}%  ", snapshot.percent));
            line.push(Role::Busy, &bar(u64::from(snapshot.percent), 100, 20));
            line.push(Role::Normal, "  ");
            line.push(
                Role::Dim,
                &format!("{status} {}", duration(snapshot.elapsed_ms)),
            );
        }
    }
    line
}

/// At most `rows` steps in their order; what needs attention goes before what does not.
fn select(steps: &[StepSnapshot], rows: usize) -> Vec<&StepSnapshot> {
    if steps.len() <= rows {
        return steps.iter().collect();
    }
    let mut shown: Vec<_> = steps.iter().collect();
    // Of those that are over, the newest; one row is left for the count of the others.
    shown.sort_by_key(|step| {
        let ended = step
            .started_ms
            .zip(step.took_ms)
            .map(|(started, took)| started + took);
        (rank(step.status), Reverse(ended), step.id)
    });
    shown.truncate(rows.saturating_sub(1));
    shown.sort_by_key(|step| step.id);
    shown
}

fn rank(status: StepStatus) -> u8 {
    match status {
        StepStatus::Failed | StepStatus::Abandoned => 0,
        StepStatus::Running | StepStatus::Stopping => 1,
        StepStatus::Cancelled | StepStatus::Pending => 2,
        StepStatus::Done | StepStatus::Stopped | StepStatus::Skipped => 3,
    }
}

fn step_line(snapshot: &Snapshot, step: &StepSnapshot, space: Space, tick: usize) -> Line {
    let (role, icon) = match step.status {
        StepStatus::Pending => (Role::Dim, "·"),
        StepStatus::Running | StepStatus::Stopping => (Role::Busy, SPINNER[tick % SPINNER.len()]),
        StepStatus::Done | StepStatus::Stopped => (Role::Good, "✓"),
        StepStatus::Failed => (Role::Bad, "✗"),
        StepStatus::Skipped => (Role::Dim, "-"),
        StepStatus::Cancelled | StepStatus::Abandoned => (Role::Warn, "!"),
    };
    let name_role = if step.status == StepStatus::Pending {
        Role::Dim
    } else {
        Role::Normal
    };
    let mut line = Line::new(space.width);
    line.push(Role::Normal, "  ");
    line.push(role, icon);
    line.push(Role::Normal, " ");
    line.push_padded(name_role, &clean(&step.name), space.name_width);
    line.push(
        Role::Dim,
        &format!(" {:>TIME_WIDTH$}  ", time(snapshot, step)),
    );
    detail(&mut line, snapshot, step);
    line
}

fn time(snapshot: &Snapshot, step: &StepSnapshot) -> String {
    let running = |started| snapshot.elapsed_ms.saturating_sub(started);
    let ms = match step.status {
        StepStatus::Running => step.started_ms.map(running),
        _ => step.took_ms,
    };
    ms.map(duration).unwrap_or_default()
}

fn detail(line: &mut Line, snapshot: &Snapshot, step: &StepSnapshot) {
    match step.status {
        StepStatus::Running => {
            if let Some(total) = step.total {
                line.push(Role::Busy, &bar(step.current, total, 12));
                line.push(Role::Normal, &format!(" {}/{total}  ", step.current));
            }
            line.push(
                Role::Dim,
                &clean(step.message.as_deref().unwrap_or_default()),
            );
        }
        StepStatus::Pending => {
            let waits_for: Vec<_> = step
                .dependencies
                .iter()
                .filter(|name| is_open(snapshot, name))
                .map(|name| clean(name))
                .collect();
            if !waits_for.is_empty() {
                line.push(Role::Dim, &format!("after {}", waits_for.join(", ")));
            } else if let Some(message) = &step.message {
                line.push(Role::Dim, &clean(message));
            }
        }
        StepStatus::Failed => {
            line.push(Role::Bad, &clean(step.error.as_deref().unwrap_or("failed")));
        }
        StepStatus::Done | StepStatus::Stopped => {}
        StepStatus::Skipped
        | StepStatus::Cancelled
        | StepStatus::Abandoned
        | StepStatus::Stopping => {
            line.push(Role::Dim, step.status.as_str());
            if let Some(message) = &step.message {
                line.push(Role::Dim, &format!(": {}", clean(message)));
            }
        }
    }
}

fn is_open(snapshot: &Snapshot, name: &str) -> bool {
    snapshot
        .steps
        .iter()
        .any(|step| step.name == name && !step.status.is_over())
}

fn bar(current: u64, total: u64, width: usize) -> String {
    let share = current.min(total) as f64 / total.max(1) as f64;
    // The share is 0-1, so the product is 0-width.
    let full = (share * width as f64) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}
