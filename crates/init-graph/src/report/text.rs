//! Draws the report of a start for a terminal of 100 columns: when each component ran, what decided the time, what is
//! slower than usual.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::render::{counted, cut, human, short};
use crate::report::totals::Bound;
use crate::report::{NodeReport, Outcome, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_rows(f)?;
        self.write_failures(f)?;
        let chain = self.critical_chain();
        write_chain(f, &chain)?;
        // A start that was given up could have been shorter in ways that nobody wants.
        if self.succeeded() && (chain.len() > 1 || self.bound().1 != Bound::Path) {
            self.write_efficiency(f)?;
        }
        self.write_slower(f)
    }
}

impl Report {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.succeeded() {
            // What failed or was skipped is in the report, but did not start.
            let count = |wanted| {
                let there = self.nodes().filter(|node| node.outcome() == wanted);
                there
                    .filter(|node| !node.plan_node().is_milestone())
                    .count()
            };
            let (components, values) = (count(Outcome::Ready), count(Outcome::Value));
            write!(f, "started {}", counted(components, "component"))?;
            if values > 0 {
                write!(f, " and {}", counted(values, "value"))?;
            }
            write!(f, " in {}", human(self.took()))?;
        } else {
            write!(f, "start given up after {}", human(self.took()))?;
        }
        if let Some(goal) = self.goal() {
            write!(f, ", until `{}`", short(goal.name(), NAME_MAX))?;
        }
        let work = self.work();
        if !work.is_zero() && !self.took().is_zero() {
            write!(
                f,
                " (own times: {} in all, {:.1} times that)",
                human(work),
                self.parallelism()
            )?;
        }
        Ok(())
    }

    fn write_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn =
            |node: &NodeReport<'_>| !matches!(node.outcome(), Outcome::Value | Outcome::Unasked);
        let components: Vec<_> = self.nodes().filter(drawn).collect();
        let (shown, left_out) = slowest(&components);
        let mut rows: Vec<_> = shown.into_iter().map(Row::new).collect();
        let width = |rows: &[Row<'_>], cell: fn(&Row<'_>) -> usize| {
            rows.iter().map(cell).max().unwrap_or(0)
        };
        let name_width = width(&rows, |row| row.name.chars().count());
        let stage_width = width(&rows, |row| row.stage.chars().count());
        let stage_column = if stage_width > 0 { stage_width + 2 } else { 0 };
        let rest = WIDTH.saturating_sub(2 + name_width + stage_column + 2 + TIME_WIDTH + 2);
        for row in &mut rows {
            row.note = cut(&row.note, rest.saturating_sub(BAR_MIN + 2)).into_owned();
        }
        let note_width = width(&rows, |row| row.note.chars().count());
        let bar_width = rest.saturating_sub(note_width + 2).clamp(BAR_MIN, BAR_MAX);
        for row in &rows {
            let mut line = format!("  {:<name_width$}", row.name);
            if stage_width > 0 {
                let _ = write!(line, "  {:<stage_width$}", row.stage);
            }
            let _ = write!(line, "  {:>TIME_WIDTH$}  ", human(row.node.own()));
            let _ = write!(
                line,
                "{}  {}",
                bar(&row.node, self.took(), bar_width),
                row.note
            );
            write!(f, "\n{}", line.trim_end())?;
        }
        if left_out > 0 {
            write!(f, "\n  ... and {left_out} that took less")?;
        }
        let count = |wanted| self.nodes().filter(|node| node.outcome() == wanted).count();
        match (count(Outcome::Unfinished), count(Outcome::Unasked)) {
            (0, 0) => Ok(()),
            (open, 0) => write!(f, "\n  {open} still to come"),
            (0, unasked) => write!(f, "\n  {unasked} not asked for"),
            (open, unasked) => write!(f, "\n  {open} still to come, {unasked} not asked for"),
        }
    }

    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures().iter().take(LINES_MAX) {
            let mut line = failure.to_string();
            if let Some(source) = failure.source() {
                let _ = write!(line, ": {source}");
            }
            write!(f, "\n  {}", short(&line, FAILURE_MAX))?;
        }
        write_more(f, self.failures().len(), "failed")
    }

    fn write_efficiency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.took().is_zero() {
            return Ok(());
        }
        let (least, bound) = self.bound();
        let percent = 100.0 * self.efficiency();
        write!(
            f,
            "\n  efficiency: {percent:.0} %; no order could take less than {} (",
            human(least)
        )?;
        match bound {
            Bound::Path => f.write_str("critical path)"),
            Bound::All => f.write_str("all work by the limit on all of it)"),
            Bound::Class(class) => {
                let class = short(class.name(), NAME_MAX);
                write!(f, "work of class `{class}` by its limit)")
            }
        }
    }

    fn write_slower(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slower = self.slower();
        for node in slower.iter().take(LINES_MAX) {
            let name = short(&node.name, NAME_MAX);
            write!(
                f,
                "\n  slower than usual: {name} {}, usually {}",
                human(node.now),
                human(node.median)
            )?;
        }
        write_more(f, slower.len(), "slower than usual")
    }
}

/// One line of the table.
struct Row<'a> {
    node: NodeReport<'a>,
    name: String,
    stage: String,
    note: String,
}

impl<'a> Row<'a> {
    fn new(node: NodeReport<'a>) -> Self {
        Self {
            name: short(node.name(), NAME_MAX),
            stage: short(node.stage().unwrap_or(""), STAGE_MAX),
            note: note(&node),
            node,
        }
    }
}

/// The nodes that took longest, still in start order, and how many are left out.
fn slowest<'a>(components: &[NodeReport<'a>]) -> (Vec<NodeReport<'a>>, usize) {
    let mut by_time: Vec<usize> = (0..components.len()).collect();
    by_time.sort_by_key(|at| std::cmp::Reverse(components[*at].took()));
    by_time.truncate(ROWS_MAX);
    by_time.sort_unstable();
    let left_out = components.len() - by_time.len();
    (
        by_time.into_iter().map(|at| components[at]).collect(),
        left_out,
    )
}

/// What the bar does not show, the most important first.
fn note(node: &NodeReport<'_>) -> String {
    let plan = node.plan_node();
    let mut notes = Vec::new();
    match node.outcome() {
        Outcome::Failed if plan.is_optional() => notes.push("failed, optional".to_owned()),
        Outcome::Unfinished if node.attempts() == 0 => notes.push("has not begun".to_owned()),
        Outcome::Unfinished => notes.push("still starting".to_owned()),
        Outcome::Ready | Outcome::Value | Outcome::Unasked => {}
        other => notes.push(other.word().to_owned()),
    }
    let flags = [
        (plan.is_milestone(), "milestone"),
        (plan.is_background(), "background"),
        (plan.is_lazy(), "lazy"),
    ];
    notes.extend(
        flags
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, flag)| (*flag).to_owned()),
    );
    if node.attempts() > 1 {
        notes.push(format!(
            "{} attempts, {} between them",
            node.attempts(),
            human(node.backoff())
        ));
    }
    if node.queued() >= SHOWN_MIN {
        // With a limit on all of it as well, nobody knows which of the two was full.
        let overall = node.report.inner.parts.concurrency.is_some();
        let class = node.limited_by().filter(|_| !overall);
        let class = class.map_or_else(String::new, |class| {
            format!(" for {}", short(class.name(), NAME_MAX))
        });
        notes.push(format!("queued {}{class}", human(node.queued())));
    }
    let last = node
        .waited_for()
        .filter(|last| node.attempts() > 0 && last.settled_at() >= SHOWN_MIN);
    if let Some(last) = last {
        notes.push(format!("after {}", short(last.name(), NAME_MAX)));
    }
    notes.join(", ")
}

/// When the node ran, as a piece of a line that stands for the whole start; lighter where it waited for a permit.
fn bar(node: &NodeReport<'_>, whole: Duration, width: usize) -> String {
    let column = |at: Duration| {
        let share = if whole.is_zero() {
            0.0
        } else {
            at.as_secs_f64() / whole.as_secs_f64()
        };
        ((share * width as f64).round() as usize).min(width)
    };
    let from = column(node.started_at()).min(width - 1);
    let to = column(node.settled_at()).max(from + 1);
    let queued = if node.queued().is_zero() {
        from
    } else {
        column(node.waited()).min(from)
    };
    let filled = match node.outcome() {
        _ if node.attempts() > 0 => "█",
        Outcome::Ready => "◆",
        Outcome::Unfinished => "·",
        _ => "×",
    };
    // A point has one place however long the rounding makes it.
    let to = if filled == "█" { to } else { from + 1 };
    [
        "·".repeat(queued),
        "░".repeat(from - queued),
        filled.repeat(to - from),
        "·".repeat(width - to),
    ]
    .concat()
}

fn write_chain(f: &mut fmt::Formatter<'_>, chain: &[NodeReport<'_>]) -> fmt::Result {
    if chain.is_empty() {
        return Ok(());
    }
    let left_out = chain.len().saturating_sub(CHAIN_MAX);
    let mut parts = Vec::new();
    if left_out > 0 {
        parts.push(format!("... {left_out} more ..."));
    }
    parts.extend(chain[left_out..].iter().map(link));
    let mut line = "  critical chain: ".to_owned();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 && line.chars().count() + 3 + part.chars().count() > WIDTH {
            write!(f, "\n{line} >")?;
            line = "    ".to_owned();
        } else if at > 0 {
            line.push_str(" > ");
        }
        line.push_str(part);
    }
    write!(f, "\n{line}")
}

/// A node of the chain with its own time, and its drag where that is less.
fn link(node: &NodeReport<'_>) -> String {
    let name = short(node.name(), NAME_MAX);
    if node.attempts() == 0 {
        return name;
    }
    let mut link = format!("{name} {}", human(node.own()));
    if !node.report.succeeded() {
        return link;
    }
    let drag = node.drag();
    if node.own() >= SHOWN_MIN && human(drag) != human(node.own()) {
        let _ = write!(link, " (drag {})", human(drag));
    }
    link
}

fn write_more(f: &mut fmt::Formatter<'_>, count: usize, what: &str) -> fmt::Result {
    match count.saturating_sub(LINES_MAX) {
        0 => Ok(()),
        more => write!(f, "\n  ... and {more} more {what}"),
    }
}

const WIDTH: usize = 100;
const BAR_MIN: usize = 12;
const BAR_MAX: usize = 32;
const TIME_WIDTH: usize = 7;
const NAME_MAX: usize = 28;
const STAGE_MAX: usize = 12;

/// More rows than a terminal has lines are no overview.
const ROWS_MAX: usize = 40;

/// Members of the critical chain that are printed, from its end.
const CHAIN_MAX: usize = 12;

/// An error may quote a whole answer of a server.
const FAILURE_MAX: usize = 300;

/// Failures that are printed, and nodes that were slower than usual.
const LINES_MAX: usize = 5;

/// Waits below this are noise of the scheduler.
const SHOWN_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::class::Class;
    use crate::failure::{Failure, Why};
    use crate::history::History;
    use crate::plan::NodeId;
    use crate::report::fixture::{Scene, ms};

    fn check(scene: Scene, expected: &Expect) {
        let text = scene.report().to_string();
        let widest = text
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0);
        assert!(widest <= WIDTH, "{widest}\n{text}");
        expected.assert_eq(&text);
    }

    /// A service with something of everything.
    fn service() -> Scene {
        let mut scene = Scene::default();
        scene.limits = vec![(Class::CPU, 1)];
        scene.value("config");
        let database = scene.ran("database", &[0], 0, 180);
        (database.attempts, database.own, database.backoff) = (3, ms(80), ms(100));
        scene.last().stage = Some("storage".into());
        scene.ran("model", &[0], 0, 90).limit = Some(0);
        let index = scene.ran("index", &[0], 90, 150);
        (index.limit, index.queued) = (Some(0), ms(90));
        let cache = scene.ran("cache", &[0], 0, 30);
        cache.outcome = Outcome::Failed;
        scene.last().optional = true;
        scene.last().stage = Some("storage".into());
        let cause = crate::error::Cause::Failed("connection refused".into());
        scene
            .failures
            .push(Failure::new("cache".into(), Why::Failed(Arc::new(cause))));
        scene.idle("warm", &[4], Outcome::Skipped, 30);
        scene.ran("api", &[1, 3], 180, 240);
        scene.idle("ready", &[6], Outcome::Ready, 240).milestone = true;
        scene.ran("sync", &[1], 180, 240).outcome = Outcome::Unfinished;
        scene.last().background = true;
        scene.idle("report", &[], Outcome::Unasked, 0).lazy = true;
        scene
    }

    #[test]
    fn a_start_with_something_of_everything() {
        check(
            service(),
            &expect![[r#"
            started 4 components and 1 value in 240ms (own times: 320ms in all, 1.3 times that)
              database  storage     80ms  ████████████████████······  3 attempts, 100ms between them
              model                 90ms  ██████████················
              index                 60ms  ░░░░░░░░░░██████··········  queued 90ms for cpu
              cache     storage     30ms  ███·······················  failed, optional
              warm                   0ms  ···×······················  skipped
              api                   60ms  ····················██████  after database
              ready                  0ms  ·························◆  milestone
              sync                  60ms  ····················██████  still starting, background, after database
              1 still to come, 1 not asked for
              `cache` failed: connection refused
              critical chain: database 80ms (drag 30ms) > api 60ms
              efficiency: 100 %; no order could take less than 240ms (critical path)"#]],
        );
    }

    #[test]
    fn what_was_slower_than_usual_is_told() {
        let mut history = History::new();
        for _ in 0..3 {
            let mut usual = Scene::default();
            usual.ran("database", &[], 0, 40);
            usual.ran("api", &[0], 40, 60);
            history.record(&usual.report());
        }
        let mut scene = Scene::default();
        scene.ran("database", &[], 0, 150);
        scene.ran("api", &[0], 150, 171);
        scene.earlier = Some(Arc::new(history));
        check(
            scene,
            &expect![[r#"
            started 2 components in 171ms (own times: 171ms in all, 1.0 times that)
              database    150ms  ████████████████████████████····
              api          21ms  ····························████  after database
              critical chain: database 150ms > api 21ms
              efficiency: 100 %; no order could take less than 171ms (critical path)
              slower than usual: database 150ms, usually 40ms"#]],
        );
    }

    #[test]
    fn long_names_and_chains_stay_within_the_width() {
        let mut scene = Scene::default();
        for at in 0..20_u32 {
            let before: Vec<_> = at.checked_sub(1).into_iter().collect();
            let name = format!("component_with_a_very_long_name_number_{at}");
            scene.ran(
                name,
                &before,
                u64::from(at) * 100,
                u64::from(at) * 100 + 100,
            );
            scene.last().stage = Some("a stage of its own".into());
        }
        check(
            scene,
            &expect![[r#"
            started 20 components in 2000ms (own times: 2000ms in all, 1.0 times that)
              component_with_a_very_long_…  a stage of …    100ms  █···········
              component_with_a_very_long_…  a stage of …    100ms  ·█··········  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ·█··········  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ··█·········  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ··█·········  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ···█········  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ····█·······  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ····█·······  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ·····█······  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ·····█······  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ······█·····  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ·······█····  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ·······█····  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ········█···  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ········█···  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ·········█··  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ··········█·  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ··········█·  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ···········█  after component_with_a_very_lo…
              component_with_a_very_long_…  a stage of …    100ms  ···········█  after component_with_a_very_lo…
              critical chain: ... 8 more ... > component_with_a_very_long_… 100ms >
                component_with_a_very_long_… 100ms > component_with_a_very_long_… 100ms >
                component_with_a_very_long_… 100ms > component_with_a_very_long_… 100ms >
                component_with_a_very_long_… 100ms > component_with_a_very_long_… 100ms >
                component_with_a_very_long_… 100ms > component_with_a_very_long_… 100ms >
                component_with_a_very_long_… 100ms > component_with_a_very_long_… 100ms >
                component_with_a_very_long_… 100ms
              efficiency: 100 %; no order could take less than 2000ms (critical path)"#]],
        );
    }

    #[test]
    fn a_start_until_a_milestone_tells_what_is_still_to_come() {
        let mut scene = Scene::default();
        scene.ran("api", &[], 0, 40);
        scene.ran("warm-up", &[], 0, 40).outcome = Outcome::Unfinished;
        scene.idle("later", &[1], Outcome::Unfinished, 40);
        scene.idle("ready", &[0], Outcome::Ready, 40).milestone = true;
        scene.goal = Some(NodeId(3));
        check(
            scene,
            &expect![[r#"
            started 1 component in 40ms, until `ready` (own times: 40ms in all, 1.0 times that)
              api         40ms  ████████████████████████████████
              warm-up     40ms  ████████████████████████████████  still starting
              later        0ms  ································  has not begun
              ready        0ms  ·······························◆  milestone
              2 still to come
              critical chain: api 40ms > ready
              efficiency: 100 %; no order could take less than 40ms (critical path)"#]],
        );
    }

    #[test]
    fn a_start_that_was_given_up() {
        let mut scene = Scene::default();
        scene.ran("config", &[], 0, 40).outcome = Outcome::Failed;
        scene.ran("database", &[], 0, 40).outcome = Outcome::Cancelled;
        scene.idle("api", &[0, 1], Outcome::Skipped, 40);
        scene.failed = true;
        check(
            scene,
            &expect![[r#"
            start given up after 40ms (own times: 80ms in all, 2.0 times that)
              config       40ms  ████████████████████████████████  failed
              database     40ms  ████████████████████████████████  cancelled
              api           0ms  ·······························×  skipped
              critical chain: config 40ms"#]],
        );
    }

    #[test]
    fn nothing_is_a_short_report() {
        check(Scene::default(), &expect!["started 0 components in 0ms"]);
        let mut scene = Scene::default();
        scene.ran("only", &[], 0, 0);
        scene.value("config");
        check(
            scene,
            &expect![[r#"
            started 1 component and 1 value in 0ms
              only      0ms  █·······························
              critical chain: only 0ms"#]],
        );
    }
}
