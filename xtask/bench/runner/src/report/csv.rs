//! The results as CSV (RFC 4180) for spreadsheets and scripts: columns and rows always in the same order.

use super::Report;

const COLUMNS: &str = "suite,name,subject,metric,unit,value,low,high,samples";

/// One row for each result, sorted by its words.
pub(super) fn csv(report: &Report) -> String {
    let mut results: Vec<_> = report.results.iter().collect();
    results.sort_by_key(|metric| {
        (
            &metric.suite,
            &metric.name,
            &metric.metric,
            &metric.subject,
            &metric.unit,
        )
    });
    let mut text = format!("{COLUMNS}\r\n");
    for metric in results {
        let words = [
            &metric.suite,
            &metric.name,
            &metric.subject,
            &metric.metric,
            &metric.unit,
        ];
        for word in words {
            text.push_str(&quoted(word));
            text.push(',');
        }
        text.push_str(&format!(
            "{},{},{},{}\r\n",
            metric.value, metric.low, metric.high, metric.samples
        ));
    }
    text
}

/// In quotes where it needs them. A word that a spreadsheet would take for a formula becomes text.
fn quoted(word: &str) -> String {
    if word.starts_with(['=', '+', '-', '@']) {
        return format!("\"'{}\"", word.replace('"', "\"\""));
    }
    if word.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", word.replace('"', "\"\""));
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::super::sample;
    use super::*;

    #[test]
    fn the_sample_as_csv() {
        // Git may change the ends of lines of a text file.
        expect_file![concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/report/snapshots/report.csv"
        )]
        .assert_eq(&csv(&sample()).replace("\r\n", "\n"));
    }

    #[test]
    fn lines_end_as_the_standard_says() {
        let text = csv(&sample());
        assert!(text.ends_with("\r\n"));
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }

    #[test]
    fn separators_quotes_and_formulas_are_text() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("a-b"), "a-b");
    }
}
