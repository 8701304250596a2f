//! Draws the report of a start for a terminal: when each component ran, and the chain that decided the time.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::report::{NodeReport, Outcome, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let components: Vec<_> = self
            .nodes()
            .iter()
            .filter(|node| node.outcome != Outcome::Value)
            .collect();
        self.write_head(f, &components)?;
        let shown = slowest(&components);
        let name_width = shown
            .iter()
            .map(|node| node.name.chars().count())
            .max()
            .unwrap_or(0);
        let stage_width = shown
            .iter()
            .map(|node| stage(node).chars().count())
            .max()
            .unwrap_or(0);
        for node in &shown {
            let mut line = format!("  {:<name_width$}", node.name);
            if stage_width > 0 {
                let _ = write!(line, "  {:<stage_width$}", stage(node));
            }
            let _ = write!(
                line,
                "  {:>7}  {}",
                human(node.took),
                bar(node, self.took())
            );
            if let Some(note) = note(node) {
                let _ = write!(line, "  {note}");
            }
            write!(f, "\n{}", line.trim_end())?;
        }
        if components.len() > shown.len() {
            write!(
                f,
                "\n  ... and {} that took less",
                components.len() - shown.len()
            )?;
        }
        self.write_chain(f)
    }
}

impl Report {
    fn write_head(&self, f: &mut fmt::Formatter<'_>, components: &[&NodeReport]) -> fmt::Result {
        let (count, values) = (components.len(), self.nodes().len() - components.len());
        write!(f, "started {}", counted(count, "component"))?;
        if values > 0 {
            write!(f, " and {}", counted(values, "value"))?;
        }
        write!(f, " in {}", human(self.took()))?;
        let work: Duration = components.iter().map(|node| node.took).sum();
        if !self.took().is_zero() && !work.is_zero() {
            let parallel = work.as_secs_f64() / self.took().as_secs_f64();
            write!(
                f,
                " (own times: {} in all, {parallel:.1} times that)",
                human(work)
            )?;
        }
        Ok(())
    }

    fn write_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chain = self.critical_chain();
        let left_out = chain.len().saturating_sub(CHAIN_MAX);
        let mut separator = "\n  critical chain: ";
        if left_out > 0 {
            write!(f, "{separator}... {left_out} more ...")?;
            separator = " > ";
        }
        chain.by_ref().take(left_out).for_each(drop);
        for node in chain {
            write!(f, "{separator}{} {}", node.name, human(node.took))?;
            separator = " > ";
        }
        Ok(())
    }
}

/// The nodes that took longest, still in start order.
fn slowest<'a>(components: &[&'a NodeReport]) -> Vec<&'a NodeReport> {
    let mut by_time: Vec<usize> = (0..components.len()).collect();
    by_time.sort_by_key(|at| std::cmp::Reverse(components[*at].took));
    by_time.truncate(ROWS_MAX);
    by_time.sort_unstable();
    by_time.into_iter().map(|at| components[at]).collect()
}

fn stage(node: &NodeReport) -> &str {
    node.stage.as_deref().unwrap_or("")
}

fn note(node: &NodeReport) -> Option<&'static str> {
    match node.outcome {
        Outcome::Failed => Some("failed, optional"),
        Outcome::Skipped => Some("skipped"),
        Outcome::Ready | Outcome::Value => None,
    }
}

/// When the node ran, as a piece of a line that stands for the whole start.
fn bar(node: &NodeReport, whole: Duration) -> String {
    let column = |at: Duration| {
        let share = if whole.is_zero() {
            0.0
        } else {
            at.as_secs_f64() / whole.as_secs_f64()
        };
        ((share * BAR_WIDTH as f64).round() as usize).min(BAR_WIDTH)
    };
    let from = column(node.started_at).min(BAR_WIDTH - 1);
    let to = column(node.started_at + node.took).max(from + 1);
    let filled = if node.outcome == Outcome::Skipped {
        " "
    } else {
        "█"
    };
    format!(
        "{}{}{}",
        "·".repeat(from),
        filled.repeat(to - from),
        "·".repeat(BAR_WIDTH - to)
    )
}

/// "1 node", "2 nodes".
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Three or four digits and a unit.
pub(crate) fn human(time: Duration) -> String {
    match time.as_micros() {
        0 => "0ms".to_owned(),
        micros @ 1..1_000 => format!("{micros}us"),
        micros @ 1_000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        micros @ 10_000..10_000_000 => format!("{}ms", micros / 1_000),
        _ => format!("{:.1}s", time.as_secs_f64()),
    }
}

const BAR_WIDTH: usize = 32;

/// More rows than a terminal has lines are no overview.
const ROWS_MAX: usize = 40;

/// Members of the critical chain that are printed, from its end.
const CHAIN_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_have_a_unit() {
        let shown: Vec<_> = [0, 1, 999, 1_500, 10_000, 9_999_999, 12_345_678]
            .into_iter()
            .map(|micros| human(Duration::from_micros(micros)))
            .collect();
        assert_eq!(
            shown,
            ["0ms", "1us", "999us", "1.5ms", "10ms", "9999ms", "12.3s"]
        );
    }
}
