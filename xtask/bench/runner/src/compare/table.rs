//! A comparison as text: one line for each metric, then why something is open and what to do next.

use std::fmt::Write as _;
use std::time::Duration;

use harness::stats::Verdict;

use super::blocks::{Collected, Ended, USUAL_TIME};
use super::verdict::Row;

/// What is told besides the rows.
#[derive(Debug)]
pub(crate) struct Heading<'a> {
    /// What A is: `baseline main (3f2a91c)`.
    pub(crate) a: &'a str,
    /// What B is: `this tree (3f2a91c and changes)`.
    pub(crate) b: &'a str,
    pub(crate) seed: u64,
    /// The command without its time, to be repeated.
    pub(crate) again: &'a str,
    /// What a reader has to know, in sentences.
    pub(crate) notes: &'a [String],
}

/// The whole text; at least one row.
pub(crate) fn render(heading: &Heading<'_>, collected: &Collected, rows: &[Row]) -> String {
    let mut text = format!(
        "A  {}\nB  {}\n{} pairs of blocks in random order (seed {})\n\n",
        heading.a,
        heading.b,
        collected.pairs.len(),
        heading.seed
    );
    table(&mut text, rows);
    text.push('\n');
    summary(&mut text, rows);
    for note in heading.notes {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "note: {note}");
    }
    if let Some(ended) = &collected.ended {
        let _ = writeln!(text, "ended early: {}", ended_words(ended, collected));
    }
    if let Some(next) = next(heading, collected, rows) {
        let _ = writeln!(text, "next: {next}");
    }
    text
}

fn table(text: &mut String, rows: &[Row]) {
    let width = rows
        .iter()
        .map(|row| row.key.metric.len() + 2 + row.key.unit.len());
    let width = width.max().unwrap_or_default().max(20);
    let _ = writeln!(
        text,
        "{:width$}  {:>11} {:>11} {:>9}  {:<21}  {:>9}  verdict",
        "", "A", "B", "delta", "95 % interval", "tolerance"
    );
    let mut last = None;
    for row in rows {
        let bench = (&row.key.suite, &row.key.name);
        if last != Some(bench) {
            let _ = writeln!(text, "{} {}", bench.0, bench.1);
            last = Some(bench);
        }
        let (delta, interval) = match row.effect {
            Some(effect) => (
                percent(effect.value),
                format!("{} .. {}", percent(effect.low), percent(effect.high)),
            ),
            None => Default::default(),
        };
        let name = format!("  {} {}", row.key.metric, row.key.unit);
        let advisory = if row.advisory { " (advisory)" } else { "" };
        let _ = writeln!(
            text,
            "{name:width$}  {:>11} {:>11} {delta:>9}  {interval:<21}  {:>9}  {}{advisory}",
            number(row.a),
            number(row.b),
            format!("{:.1} %", row.tolerance * 100.0),
            word(row.verdict),
        );
    }
}

/// A sign too, for those who skim: worse, better, the same, open.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "- REGRESSED",
        Verdict::Improved => "+ IMPROVED",
        Verdict::Equal => "= EQUAL",
        Verdict::Inconclusive => "? INCONCLUSIVE",
    }
}

fn summary(text: &mut String, rows: &[Row]) {
    let count = |verdict| {
        rows.iter()
            .filter(|row| row.verdict == verdict && !row.advisory)
            .count()
    };
    let _ = writeln!(
        text,
        "{} regressed, {} improved, {} equal, {} inconclusive",
        count(Verdict::Regressed),
        count(Verdict::Improved),
        count(Verdict::Equal),
        count(Verdict::Inconclusive)
    );
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows.iter().filter(|row| !row.advisory) {
        let Some(why) = row.why.as_deref() else {
            continue;
        };
        let name = format!("{} {} {}", row.key.suite, row.key.name, row.key.metric);
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, names)) => names.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    for (why, names) in reasons {
        let _ = writeln!(text, "inconclusive: {}: {why}", names.join(", "));
    }
}

fn ended_words(ended: &Ended, collected: &Collected) -> String {
    let (pairs, planned) = (collected.pairs.len(), collected.planned);
    match ended {
        Ended::Interrupted => format!("interrupted after {pairs} of {planned} pairs"),
        Ended::Failed(error) => format!("after {pairs} of {planned} pairs: {error:#}"),
        Ended::TimeUp => format!("the machine became slow; {pairs} of {planned} pairs fitted"),
    }
}

/// The command that is worth running now.
fn next(heading: &Heading<'_>, collected: &Collected, rows: &[Row]) -> Option<String> {
    let deciding = || rows.iter().filter(|row| !row.advisory);
    let more = deciding()
        .filter_map(|row| row.more)
        .fold(None, |most, more| {
            Some(most.map_or(more, |most: f64| most.max(more)))
        });
    if let Some(more) = more {
        let pairs = (collected.pairs.len() as f64 * more).ceil() + 1.0;
        let time = collected.pair_time.mul_f64(pairs).max(USUAL_TIME);
        return Some(format!("{} --max-time {}", heading.again, minutes(time)));
    }
    if deciding().any(|row| row.verdict == Verdict::Inconclusive) {
        return Some("cargo xtask bench doctor tells what disturbs this machine".to_owned());
    }
    None
}

/// Rounded up, so that it is enough.
fn minutes(time: Duration) -> String {
    match time.as_secs().div_ceil(30) {
        halves if halves % 2 == 0 => format!("{}m", halves / 2),
        halves => format!("{}s", halves * 30),
    }
}

fn percent(share: f64) -> String {
    if share.is_infinite() {
        return "from 0".to_owned();
    }
    format!("{:+.1} %", share * 100.0)
}

/// Four digits that matter.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 4) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use harness::stats::Interval;

    use super::super::verdict::Key;
    use super::*;

    fn row(metric: &str, unit: &str, [a, b]: [f64; 2], half: f64, verdict: Verdict) -> Row {
        let value = b / a - 1.0;
        Row {
            key: Key {
                suite: "cached-read".into(),
                name: "closed-8".into(),
                metric: metric.into(),
                unit: unit.into(),
            },
            a,
            b,
            effect: Some(Interval {
                value,
                low: value - half,
                high: value + half,
            }),
            verdict,
            tolerance: 0.02,
            advisory: false,
            why: None,
            more: None,
        }
    }

    fn heading() -> Heading<'static> {
        Heading {
            a: "main (3f2a91c)",
            b: "this tree (77d01aa and changes)",
            seed: 1,
            again: "cargo xtask bench compare main",
            notes: &[],
        }
    }

    #[test]
    fn one_screen_says_what_changed_why_it_is_open_and_what_comes_next() {
        let collected = Collected {
            pairs: vec![Default::default(); 12],
            planned: 12,
            needed: 9,
            pair_time: Duration::from_secs(7),
            ended: None,
        };
        let rows = [
            row(
                "rate",
                "req/s",
                [41_200.0, 37_510.0],
                0.021,
                Verdict::Regressed,
            ),
            row("response_p50", "us", [182.0, 183.0], 0.004, Verdict::Equal),
            Row {
                why: Some(
                    "the interval reaches past the tolerance; more pairs may settle it".into(),
                ),
                more: Some(3.0),
                ..row(
                    "response_p99",
                    "us",
                    [410.0, 421.5],
                    0.03,
                    Verdict::Inconclusive,
                )
            },
            row(
                "rss",
                "bytes",
                [21_504_000.0, 19_000_000.0],
                0.001,
                Verdict::Improved,
            ),
        ];
        let notes = ["this machine is not calibrated".to_owned()];
        let heading = Heading {
            notes: &notes,
            ..heading()
        };
        expect![[r#"
            A  main (3f2a91c)
            B  this tree (77d01aa and changes)
            12 pairs of blocks in random order (seed 1)

                                            A           B     delta  95 % interval          tolerance  verdict
            cached-read closed-8
              rate req/s                41200       37510    -9.0 %  -11.1 % .. -6.9 %          2.0 %  - REGRESSED
              response_p50 us           182.0       183.0    +0.5 %  +0.1 % .. +0.9 %           2.0 %  = EQUAL
              response_p99 us           410.0       421.5    +2.8 %  -0.2 % .. +5.8 %           2.0 %  ? INCONCLUSIVE
              rss bytes              21504000    19000000   -11.6 %  -11.7 % .. -11.5 %         2.0 %  + IMPROVED

            1 regressed, 1 improved, 1 equal, 1 inconclusive
            inconclusive: cached-read closed-8 response_p99: the interval reaches past the tolerance; more pairs may settle it
            note: this machine is not calibrated
            next: cargo xtask bench compare main --max-time 270s
        "#]].assert_eq(&render(&heading, &collected, &rows));
    }

    #[test]
    fn advice_is_marked_and_counts_for_nothing() {
        let advisory = Row {
            advisory: true,
            ..row("time", "ns", [50.0, 60.0], 0.001, Verdict::Regressed)
        };
        let text = render(&heading(), &Collected::default(), &[advisory]);
        assert!(text.contains("- REGRESSED (advisory)\n"), "{text}");
        assert!(text.contains("0 regressed, 0 improved"), "{text}");
    }

    #[test]
    fn an_early_end_is_told_with_its_reason() {
        let ended = Ended::Failed(anyhow::anyhow!("A: the server ended"));
        let collected = Collected {
            planned: 12,
            ended: Some(ended),
            ..Collected::default()
        };
        let rows = [row("rate", "req/s", [1.0, 1.0], 0.0, Verdict::Equal)];
        let text = render(&heading(), &collected, &rows);
        assert!(text.contains("ended early: after 0 of 12 pairs: A: the server ended\n"));
    }

    #[test]
    fn times_are_rounded_up_to_what_one_would_type() {
        for (seconds, text) in [(89, "90s"), (91, "2m"), (120, "2m"), (121, "150s")] {
            assert_eq!(minutes(Duration::from_secs(seconds)), text);
        }
    }
}
