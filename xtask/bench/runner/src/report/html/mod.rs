//! The report as one HTML file that needs nothing else: no network, no script; for light and dark, screen and paper.

mod bars;
mod lines;
mod runs;

use std::fmt;

use super::Report;
use super::groups::{benches, tally};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn html(report: &Report) -> String {
    let benches = benches(report);
    let mut body = head(report, &tally(&benches));
    body.push_str("<main>\n");
    body.push_str(&problems(report));
    for suite in suites(report) {
        let id = anchor(suite);
        body.push_str(&format!(
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>\n",
            Text(suite)
        ));
        for bench in benches.iter().filter(|bench| bench.suite == suite) {
            body.push_str(&bars::bench(report, bench));
        }
        body.push_str(&runs::runs(report, suite));
        body.push_str("</section>\n");
    }
    body.push_str(&environment(report));
    body.push_str("</main>\n");
    let title = Text(report.environment.git_revision.as_deref().unwrap_or("here"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Benchmarks of {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// Text with nothing in it that HTML would take for its own, in elements and in quoted attributes alike.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(place) = rest.find(['&', '<', '>', '"', '\'']) {
            let (plain, special) = rest.split_at(place);
            f.write_str(plain)?;
            f.write_str(match special.as_bytes()[0] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &special[1..];
        }
        f.write_str(rest)
    }
}

/// Every suite with results or runs, in the order in which they ran.
fn suites(report: &Report) -> Vec<&str> {
    let results = report.results.iter().map(|metric| &*metric.suite);
    let runs = report.runs.iter().map(|run| &*run.suite);
    let mut suites = Vec::new();
    for suite in results.chain(runs) {
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    suites
}

fn head(report: &Report, tally: &str) -> String {
    let environment = &report.environment;
    let state = if report.complete {
        "<p class=\"state\">Complete</p>"
    } else {
        "<p class=\"state warn\">Incomplete: some suites did not run to their end</p>"
    };
    let links: String = suites(report)
        .into_iter()
        .map(|suite| format!("<a href=\"#{}\">{}</a> ", anchor(suite), Text(suite)))
        .collect();
    let parts = [
        environment.machine(),
        environment.revision(),
        environment.started_at.clone(),
    ];
    let known: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!(
        "<header>\n{state}\n<h1>Benchmarks</h1>\n<p class=\"verdict\">Ours {}</p>\n\
         <p class=\"muted\">{}</p>\n<nav aria-label=\"Suites\">{links}</nav>\n</header>\n",
        Text(tally),
        Text(&known.join(" · ")),
    )
}

/// Notes and why runs say nothing; first, because they change how the rest is read.
fn problems(report: &Report) -> String {
    let mut items = String::new();
    for note in report.doubts().iter().chain(&report.notes) {
        items.push_str(&format!("<li>{}</li>\n", Text(note)));
    }
    if items.is_empty() {
        return items;
    }
    format!(
        "<aside aria-label=\"Notes\">\n<h2>Read this first</h2>\n<ul>\n{items}</ul>\n</aside>\n"
    )
}

fn environment(report: &Report) -> String {
    let rows: String = report
        .environment
        .rows()
        .into_iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", Text(&value)))
        .collect();
    format!(
        "<section aria-labelledby=\"environment\">\n<h2 id=\"environment\">Where this was measured</h2>\n\
         <dl>\n{rows}</dl>\n<p class=\"muted\">Whiskers and ± are 95 % intervals, the range where there are \
         fewer than six rounds; figures without are a count, a share or the highest of all rounds. Overlapping intervals are \
         called even. Figures of another machine class cannot be compared with these.</p>\n</section>\n"
    )
}

/// A name that may stand in a link.
fn anchor(text: &str) -> String {
    let letters = text.chars().map(|letter| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    });
    format!("suite-{}", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::super::sample;
    use super::*;

    #[test]
    fn the_sample_as_a_page() {
        expect_file![concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/report/snapshots/report.html"
        )]
        .assert_eq(&html(&sample()).replace(STYLE, ""));
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_runs_no_script() {
        let page = html(&sample());
        for forbidden in ["<script", "<link", "<img", "src=", "@import", "url(", "<b>"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        // The only address is that of what was measured, as text.
        assert_eq!(page.matches("href=\"http").count(), 0);
    }

    #[test]
    fn every_element_that_is_opened_is_closed() {
        let page = html(&sample());
        for name in [
            "section", "table", "tr", "td", "th", "div", "details", "svg", "figure", "p", "ul",
            "li", "dl", "main", "header", "span", "g", "text",
        ] {
            let opened = page.matches(&format!("<{name} ")).count()
                + page.matches(&format!("<{name}>")).count();
            let closed = page.matches(&format!("</{name}>")).count();
            assert_eq!(opened, closed, "{name}");
        }
    }

    #[test]
    fn markup_in_names_is_text() {
        assert_eq!(
            Text("<a b=\"c\">&'ü").to_string(),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;ü"
        );
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let empty = Report {
            results: Vec::new(),
            runs: Vec::new(),
            notes: Vec::new(),
            ..sample()
        };
        assert!(html(&empty).contains("no bench with peers"));
    }
}
