//! The figures of a bench as people read them: ours first, peers beside it, one block for each number of lanes.

use std::fmt::Write as _;

use crate::prepared::Row;
use crate::work::Lanes;

/// Renders the rows of a bench.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let label_width = rows.iter().map(|row| row.label.chars().count()).max();
    let mut lanes: Vec<(usize, &str)> = Vec::new();
    for row in rows {
        let kind = lanes_word(row);
        if !lanes.contains(&(row.lanes, kind)) {
            lanes.push((row.lanes, kind));
        }
    }
    for group in lanes {
        if !group.1.is_empty() {
            let _ = writeln!(text, "  {} {}", group.0, group.1);
        }
        let rows = rows
            .iter()
            .filter(|row| (row.lanes, lanes_word(row)) == group);
        let ours = rows.clone().find(|row| row.ours).map(|row| row.time.value);
        for row in rows {
            line(&mut text, row, ours, label_width.unwrap_or_default());
        }
    }
    text
}

/// A time for people: three significant digits and a unit.
pub(crate) fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", number(value))
}

fn line(text: &mut String, row: &Row, ours: Option<f64>, label_width: usize) {
    let interval = format!("{} .. {}", time(row.time.low), time(row.time.high));
    let ratio = match ours {
        Some(ours) if !row.ours && ours > 0.0 => format!("{}x", number(row.time.value / ours)),
        _ => String::new(),
    };
    let allocations = row.allocations.map_or_else(String::new, |allocations| {
        let (count, bytes) = (number(allocations.count), number(allocations.bytes));
        match allocations.count {
            0.0 => "no allocation".to_owned(),
            _ => format!("{count} allocations, {bytes} bytes"),
        }
    });
    let (label, time) = (&row.label, time(row.time.value));
    let line =
        format!("    {label:<label_width$} {time:>9}  {interval:<22} {ratio:>6}  {allocations}");
    let _ = writeln!(text, "{}", line.trim_end());
}

fn lanes_word(row: &Row) -> &'static str {
    match row.kind {
        Lanes::Threads if row.lanes > 1 => "threads, time as each sees it",
        Lanes::Futures if row.lanes > 1 => "futures at once, on one thread",
        _ => "",
    }
}

/// Three significant digits, no more than two after the point.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::prepared::Allocations;
    use crate::stats::Interval;

    fn row(label: &str, ours: bool, lanes: usize, value: f64, count: Option<f64>) -> Row {
        Row {
            label: label.to_owned(),
            ours,
            kind: Lanes::Threads,
            lanes,
            time: Interval {
                value,
                low: value * 0.98,
                high: value * 1.02,
            },
            samples: 40,
            allocations: count.map(|count| Allocations {
                count,
                bytes: count * 64.0,
                operations: 1000,
            }),
        }
    }

    #[test]
    fn peers_stand_beside_ours_for_each_number_of_threads() {
        let rows = [
            row("TieredCache::get", true, 1, 51.5, Some(0.0)),
            row("TieredCache::get", true, 4, 1_234.5, None),
            row("moka", false, 1, 92.7, Some(1.5)),
            row("moka", false, 4, 617_250.0, None),
        ];
        expect![[r#"
            get
                TieredCache::get   51.5 ns  50.5 ns .. 52.5 ns             no allocation
                moka               92.7 ns  90.8 ns .. 94.6 ns      1.80x  1.50 allocations, 96.0 bytes
              4 threads, time as each sees it
                TieredCache::get   1.23 us  1.21 us .. 1.26 us
                moka                617 us  605 us .. 630 us         500x
        "#]]
        .assert_eq(&format!("get\n{}", render(&rows)));
    }

    #[test]
    fn a_peer_alone_has_no_ratio() {
        let table = render(&[row("moka", false, 1, 92.7, None)]);
        expect!["moka   92.7 ns  90.8 ns .. 94.6 ns"].assert_eq(table.trim());
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let times = [0.0, 0.314, 7.25, 99.96, 999.4, 1_000.0, 2.5e6, 3.25e9].map(time);
        expect!["0 ns, 0.31 ns, 7.25 ns, 100.0 ns, 999 ns, 1.00 us, 2.50 ms, 3.25 s"]
            .assert_eq(&times.join(", "));
    }
}
