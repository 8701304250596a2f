//! The table of a bench on stderr: ours first, peers beside it.

use std::fmt::Write as _;

use crate::measure::Row;

/// Renders the rows of a bench.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(
            text,
            "  {:<30} {:>12.1} ns [{:.1}, {:.1}]",
            format!("{}{}", row.label, row.suffix),
            row.time.value,
            row.time.low,
            row.time.high
        );
    }
    text
}
