//! Small line charts over time as inline SVG: from zero, with the highest value named, gaps where nothing is known.

use super::super::figure;
use super::Text;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 110.0;
/// Room for the words above and below the lines.
const TOP: f64 = 18.0;
const BOTTOM: f64 = 16.0;

/// One line: moments in seconds and values, absent where they are not known.
pub(super) struct Line {
    name: &'static str,
    class: &'static str,
    points: Vec<(f64, Option<f64>)>,
}

impl Line {
    pub(super) fn new(
        name: &'static str,
        class: &'static str,
        points: Vec<(f64, Option<f64>)>,
    ) -> Self {
        Self {
            name,
            class,
            points,
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(|(_, value)| *value)
    }
}

/// `lines` over one time axis; empty with fewer than two values, which would be no line.
pub(super) fn chart(title: &str, unit: &str, lines: &[Line]) -> String {
    if lines.iter().all(|line| line.values().count() < 2) {
        return String::new();
    }
    let highest = lines.iter().flat_map(Line::values).fold(0.0, f64::max);
    let last = lines
        .iter()
        .flat_map(|line| line.points.last())
        .map(|(at, _)| *at)
        .fold(0.0, f64::max);
    let paths: String = lines
        .iter()
        .map(|line| {
            let path = path(&line.points, last, highest);
            format!("<path class=\"{}\" d=\"{path}\"/>\n", line.class)
        })
        .collect();
    let names: Vec<_> = lines
        .iter()
        .map(|line| format!("{} up to {}", line.name, most(line, unit)))
        .collect();
    let legend: String = lines
        .iter()
        .filter(|_| lines.len() > 1)
        .map(|line| format!("<span class=\"{}\">{}</span> ", line.class, line.name))
        .collect();
    let (floor, width) = (HEIGHT - BOTTOM, WIDTH);
    format!(
        "<figure>\n<figcaption>{title} {legend}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
         <path class=\"axis\" d=\"M0 {TOP}H{width}M0 {floor}H{width}\"/>\n\
         <text x=\"0\" y=\"{}\">{}</text>\n<text x=\"0\" y=\"{HEIGHT}\">0 s</text>\n\
         <text x=\"{width}\" y=\"{HEIGHT}\" text-anchor=\"end\">{last:.0} s</text>\n{paths}</svg>\n</figure>\n",
        Text(&format!(
            "{title} over {last:.0} seconds: {}",
            names.join(", ")
        )),
        TOP - 5.0,
        Text(&figure(highest, unit)),
    )
}

fn most(line: &Line, unit: &str) -> String {
    figure(line.values().fold(0.0, f64::max), unit)
}

/// The line as SVG path, with a new beginning after each gap.
fn path(points: &[(f64, Option<f64>)], last: f64, highest: f64) -> String {
    let mut path = String::new();
    let mut pen = 'M';
    for (at, value) in points {
        let Some(value) = value else {
            pen = 'M';
            continue;
        };
        let x = if last > 0.0 { at / last * WIDTH } else { 0.0 };
        let height = HEIGHT - TOP - BOTTOM;
        let share = if highest > 0.0 { value / highest } else { 0.0 };
        let y = HEIGHT - BOTTOM - share * height;
        path.push_str(&format!("{pen}{x:.1} {y:.1}"));
        pen = 'L';
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_anew_after_a_gap_and_its_highest_value_is_at_the_top() {
        let points = [
            (0.0, Some(0.0)),
            (1.0, Some(10.0)),
            (2.0, None),
            (3.0, Some(5.0)),
            (4.0, Some(10.0)),
        ];
        assert_eq!(
            path(&points, 4.0, 10.0),
            "M0.0 94.0L80.0 18.0M240.0 56.0L320.0 18.0"
        );
    }

    #[test]
    fn one_value_is_no_line_and_zeros_are_a_flat_one() {
        let line = |points| [Line::new("p50", "strong", points)];
        assert_eq!(chart("time", "us", &line(vec![(0.0, Some(1.0))])), "");
        assert_eq!(
            chart("time", "us", &line(vec![(0.0, None), (1.0, None)])),
            ""
        );
        let flat = chart(
            "time",
            "us",
            &line(vec![(0.0, Some(0.0)), (1.0, Some(0.0))]),
        );
        assert!(flat.contains("M0.0 94.0L320.0 94.0"), "{flat}");
    }
}
