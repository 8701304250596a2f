//! Tables that PostgreSQL reads from end to end again and again, by its own counts.

use std::time::Duration;

use super::finding::{Finding, FindingKind as Kind, Severity, Value};
use super::input::TableNumbers;
use super::schema::{BIG, shown};

/// Tables that are read from end to end again and again; `window` is the time that the counts are about, if known.
pub(super) fn scans(tables: &[TableNumbers], window: Option<Duration>) -> Vec<Finding> {
    let mut suspects: Vec<&TableNumbers> = tables.iter().filter(|it| is_suspect(it)).collect();
    suspects.sort_by_key(|table| std::cmp::Reverse(table.scanned));
    suspects
        .into_iter()
        .take(MOST)
        .map(|table| {
            let what = format!(
                "{} is read from end to end again and again",
                shown(&table.schema, &table.table)
            );
            let share = table.scans as f64 / (table.scans + table.index_scans).max(1) as f64;
            Finding::new(Severity::Warning, Kind::SequentialScans, what)
                .with("rows", Value::Count(table.rows))
                .with("sequential scans", Value::Count(table.scans))
                .with("of all scans", Value::Share(share))
                .with("rows read by them", Value::Count(table.scanned))
                .with_some("within", window.map(Value::time))
                .code("find the statement: a missing index for it is told here if it was slow enough to be noticed")
        })
        .collect()
}

fn is_suspect(table: &TableNumbers) -> bool {
    let each = table.scanned / table.scans.max(1);
    // A scan that ends after few rows had a LIMIT, and is fine.
    table.rows > BIG && table.scans >= OFTEN && each > 1_000
}

/// Counts of `now` without those of `before`; what was reset in between counts from zero.
pub(super) fn since(before: &[TableNumbers], now: &[TableNumbers]) -> Vec<TableNumbers> {
    let same = |a: &TableNumbers, b: &TableNumbers| a.schema == b.schema && a.table == b.table;
    now.iter()
        .map(|now| {
            let before = before
                .iter()
                .find(|it| same(it, now) && it.scans <= now.scans);
            let less = |now: u64, field: fn(&TableNumbers) -> u64| {
                now.saturating_sub(before.map_or(0, field))
            };
            TableNumbers {
                scans: less(now.scans, |it| it.scans),
                scanned: less(now.scanned, |it| it.scanned),
                index_scans: less(now.index_scans, |it| it.index_scans),
                ..now.clone()
            }
        })
        .collect()
}

/// The most tables that are told; the first ones are the worst.
const MOST: usize = 10;
const OFTEN: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_big_tables_that_are_read_whole_and_often_are_suspects() {
        let table = TableNumbers {
            schema: "app".to_owned(),
            table: "events".to_owned(),
            rows: 50_000,
            scans: 60,
            scanned: 3_000_000,
            index_scans: 20,
        };
        let found = scans(std::slice::from_ref(&table), Some(Duration::from_secs(90)));
        assert!(found[0].what.starts_with("app.events is read"), "{found:?}");
        let before = TableNumbers {
            scans: 20,
            scanned: 1_000_000,
            ..table.clone()
        };
        let delta = since(&[before], std::slice::from_ref(&table));
        assert_eq!((delta[0].scans, delta[0].scanned), (40, 2_000_000));
        assert!(
            scans(&delta, None).is_empty(),
            "40 scans in between are too few"
        );
        let reset = TableNumbers {
            scans: 100,
            ..table.clone()
        };
        assert_eq!(
            since(&[reset], std::slice::from_ref(&table))[0].scans,
            60,
            "counted anew"
        );
        let limited = TableNumbers {
            scanned: 600,
            ..table
        };
        assert!(scans(&[limited], None).is_empty());
    }
}
