//! Limits that a run has to keep: `p99<5ms`, `success>99.9%`, `rate>=2000`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::outcome::PERCENTILES;
use crate::{LatencySummary, Summary, suggest, units};

/// A limit on one number of a run, stated as what passes: `METRIC OP VALUE [for ROUTE]`, with `<`, `<=`, `>` or `>=`.
///
/// | metric | value |
/// |---|---|
/// | `p50` `p95` `p99` `p99.9` `mean` `max` of the response time; `service.p99` and so on of the service time | `5ms`, `200us`, `1.5s` |
/// | `success`, the share of requests that ended well | `99.9%` |
/// | `errors` | `0` or `0.1%` |
/// | `rate`, requests that ended well per second | `2000` |
/// | `cpu` of the server for each request | `200us` |
/// | `rss`, the highest resident memory of the server | `64MiB` |
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    below: bool,
    inclusive: bool,
    /// In microseconds, bytes, requests per second or, for shares, as a part of one.
    limit: f64,
    route: Option<String>,
}

/// A threshold that cannot be read, or that cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("threshold {text}: {problem}")]
#[non_exhaustive]
pub struct ThresholdError {
    /// As it was given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a run says about a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checked {
    /// The threshold as it was given.
    pub threshold: String,
    /// Whether it was kept. Without enough samples it was not.
    pub passed: bool,
    /// What was measured, with its unit; why there is nothing otherwise.
    pub measured: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// A percentile by its name, `mean` or `max`.
    Response(&'static str),
    Service(&'static str),
    Success,
    Errors,
    ErrorShare,
    Rate,
    Cpu,
    Rss,
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        read(text).map_err(|problem| ThresholdError {
            text: text.to_owned(),
            problem,
        })
    }
}

impl Threshold {
    /// Whether a run with these routes can say anything about it; `watched` is whether the server's process is seen.
    ///
    /// # Errors
    /// For a route that is not there, and for what only a watched server shows.
    pub fn validate(&self, routes: &[&str], watched: bool) -> Result<(), ThresholdError> {
        let refuse = |problem| {
            Err(ThresholdError {
                text: self.text.clone(),
                problem,
            })
        };
        if let Some(route) = &self.route
            && !routes.contains(&&**route)
        {
            return refuse(match suggest::nearest(route, routes.iter().copied()) {
                Some(near) => format!("no route {route:?}; did you mean {near:?}?"),
                None => format!("no route {route:?}; there are {}", routes.join(", ")),
            });
        }
        if !watched && matches!(self.metric, Metric::Cpu | Metric::Rss) {
            return refuse(
                "only seen of a server that loadgen starts itself (--server)".to_owned(),
            );
        }
        Ok(())
    }

    /// Compares it with a run.
    pub fn check(&self, summary: &Summary) -> Checked {
        let (passed, measured) = match self.measure(summary) {
            Ok(value) => (self.holds(value), self.metric.show(value)),
            Err(problem) => (false, problem),
        };
        Checked {
            threshold: self.text.clone(),
            passed,
            measured,
        }
    }

    fn holds(&self, value: f64) -> bool {
        // 99.9 % is not the nearest number to 0.999 once it was multiplied.
        let equal = (value - self.limit).abs() <= 1e-9 * self.limit;
        if equal {
            self.inclusive
        } else {
            (value < self.limit) == self.below
        }
    }

    fn measure(&self, summary: &Summary) -> Result<f64, String> {
        let route = match &self.route {
            Some(name) => Some(
                summary
                    .routes
                    .iter()
                    .find(|route| route.name == *name)
                    .ok_or("no such route")?,
            ),
            None => None,
        };
        let ended = route.map_or(summary.ended, |route| route.ended);
        if ended == 0 {
            return Err("no samples".to_owned());
        }
        let success = route.map_or(summary.success, |route| route.success);
        let server = summary.server.as_ref().ok_or("no server was watched");
        // No server uses nothing: the system did not tell.
        let seen = |value: f64| {
            Some(value)
                .filter(|value| *value > 0.0)
                .ok_or_else(|| "not seen on this system".to_owned())
        };
        match self.metric {
            Metric::Response(point) => value(
                route.map_or(&summary.response_us, |route| &route.response_us),
                point,
            ),
            Metric::Service(point) => value(
                route.map_or(&summary.service_us, |route| &route.service_us),
                point,
            ),
            Metric::Success => Ok(success),
            Metric::ErrorShare => Ok(1.0 - success),
            Metric::Errors => Ok((ended as f64 * (1.0 - success)).round()),
            Metric::Rate => Ok(ended as f64 * success / summary.duration_s.max(f64::EPSILON)),
            Metric::Cpu => seen(server?.cpu_us_per_request),
            Metric::Rss => seen(server?.rss_peak_bytes as f64),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn read(text: &str) -> Result<Threshold, String> {
    let (rule, route) = match text.split_once(" for ") {
        Some((rule, route)) => (rule, Some(route.trim().to_owned())),
        None => (text, None),
    };
    let at = rule
        .find(['<', '>', '='])
        .ok_or("expected METRIC<VALUE or METRIC>VALUE, p99<5ms, say")?;
    let (name, rest) = rule.split_at(at);
    let name = name.trim();
    let (below, rest) = match (rest.strip_prefix('<'), rest.strip_prefix('>')) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err("compares with <, <=, > or >=".to_owned()),
    };
    let (inclusive, value) = match rest.strip_prefix('=') {
        Some(value) => (true, value.trim()),
        None => (false, rest.trim()),
    };
    let metric = Metric::read(name, value)?;
    if below != metric.is_better_below() {
        let (passing, sign) = if below {
            ("at least", ">=")
        } else {
            ("at most", "<")
        };
        return Err(format!(
            "a threshold says what passes: {name} is {passing} something, {name}{sign}{value}"
        ));
    }
    if route.is_some() && matches!(metric, Metric::Cpu | Metric::Rss) {
        return Err(format!(
            "{name} is known of the whole server, not of a route"
        ));
    }
    let limit = metric.limit(value)?;
    let threshold = Threshold {
        text: text.trim().to_owned(),
        metric,
        below,
        inclusive,
        limit,
        route,
    };
    // The best that can be measured: whatever does not even hold for that never will.
    let best = match metric {
        Metric::Success => 1.0,
        Metric::Rate => f64::MAX,
        _ => 0.0,
    };
    if threshold.holds(best) {
        Ok(threshold)
    } else {
        Err("can never hold".to_owned())
    }
}

impl Metric {
    fn read(name: &str, value: &str) -> Result<Self, String> {
        if let Some(point) = point(name) {
            return Ok(Self::Response(point));
        }
        if let Some(point) = name.strip_prefix("service.").and_then(point) {
            return Ok(Self::Service(point));
        }
        Ok(match name {
            "success" => Self::Success,
            "errors" if value.ends_with('%') => Self::ErrorShare,
            "errors" => Self::Errors,
            "rate" => Self::Rate,
            "cpu" => Self::Cpu,
            "rss" => Self::Rss,
            _ => {
                let points = POINTS[..6].iter().map(|(name, _)| *name);
                let others = ["service.p99", "success", "errors", "rate", "cpu", "rss"];
                let known: Vec<&str> = points.chain(others).collect();
                return Err(match suggest::nearest(name, known.iter().copied()) {
                    Some(near) => format!("no metric {name:?}; did you mean {near}?"),
                    None => format!("no metric {name:?}; there are {}", known.join(", ")),
                });
            }
        })
    }

    fn is_better_below(self) -> bool {
        !matches!(self, Self::Success | Self::Rate)
    }

    /// The limit in the metric's own unit.
    fn limit(self, text: &str) -> Result<f64, String> {
        let split = text
            .find(|letter: char| letter.is_alphabetic() || letter == '%')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number = number.trim();
        let value: f64 = number
            .parse()
            .map_err(|_| format!("{number:?} is no number"))?;
        if !value.is_finite() || value < 0.0 {
            return Err(format!("{number} is below what can be measured"));
        }
        let units: &[(&str, f64)] = match self {
            Self::Response(_) | Self::Service(_) | Self::Cpu => {
                &[("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)]
            }
            Self::Success | Self::ErrorShare => &[("%", 0.01)],
            Self::Errors => &[("", 1.0)],
            Self::Rate => &[("", 1.0), ("/s", 1.0)],
            Self::Rss => &[
                ("B", 1.0),
                ("KiB", 1_024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
                ("kB", 1e3),
                ("MB", 1e6),
                ("GB", 1e9),
            ],
        };
        let Some((_, factor)) = units.iter().find(|(known, _)| *known == unit.trim()) else {
            let known: Vec<&str> = units
                .iter()
                .map(|(known, _)| *known)
                .filter(|known| !known.is_empty())
                .collect();
            return Err(match (unit, known.as_slice()) {
                ("", known) => format!("needs a unit: {}", known.join(", ")),
                (unit, []) => format!("{unit:?} is no unit here: a number alone is"),
                (unit, known) => format!("{unit:?} is no unit here: {} are", known.join(", ")),
            });
        };
        Ok(value * factor)
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Response(_) | Self::Service(_) | Self::Cpu => units::time(value),
            Self::Success | Self::ErrorShare => units::percent(value),
            Self::Errors => units::count(value as u64),
            Self::Rate => format!("{}/s", units::rate(value)),
            Self::Rss => units::bytes(value),
        }
    }
}

/// The points of a latency, as they are written and as they are kept.
const POINTS: [(&str, &str); 7] = [
    ("p50", "p50"),
    ("p95", "p95"),
    ("p99", "p99"),
    ("p99.9", "p999"),
    ("mean", "mean"),
    ("max", "max"),
    ("p999", "p999"),
];

fn point(name: &str) -> Option<&'static str> {
    POINTS
        .iter()
        .find(|(written, _)| *written == name)
        .map(|(_, point)| *point)
}

fn value(latency: &LatencySummary, point: &str) -> Result<f64, String> {
    match (point, latency.percentile(point)) {
        ("mean", _) => Ok(latency.mean),
        ("max", _) => Ok(latency.max),
        (_, Some(value)) => Ok(value),
        (_, None) => {
            let known = PERCENTILES.iter().find(|(name, ..)| *name == point);
            let needed = units::count(known.map_or(1, |(.., samples)| *samples));
            let seen = units::count(latency.samples);
            Err(format!("too few samples: {seen} of {needed}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RouteSummary, ServerSummary};

    fn summary() -> Summary {
        let latency = |p99| LatencySummary {
            samples: 5_000,
            mean: 900.0,
            p50: Some(800.0),
            p95: Some(2_000.0),
            p99: Some(p99),
            p999: None,
            max: 9_000.0,
            ..LatencySummary::default()
        };
        Summary {
            duration_s: 10.0,
            ended: 5_000,
            success: 0.999,
            response_us: latency(4_000.0),
            service_us: latency(3_000.0),
            server: Some(ServerSummary {
                cpu_us_per_request: 120.0,
                rss_peak_bytes: 20 << 20,
                ..ServerSummary::default()
            }),
            routes: vec![
                RouteSummary {
                    name: "record".to_owned(),
                    ended: 4_000,
                    success: 1.0,
                    response_us: latency(1_000.0),
                    ..RouteSummary::default()
                },
                RouteSummary {
                    name: "never".to_owned(),
                    ..RouteSummary::default()
                },
            ],
            ..Summary::default()
        }
    }

    fn check(text: &str) -> (bool, String) {
        let checked = text.parse::<Threshold>().expect(text).check(&summary());
        (checked.passed, checked.measured)
    }

    #[test]
    fn a_threshold_states_what_passes() {
        let cases = [
            ("p99<5ms", true, "4 ms"),
            ("p99 < 4ms", false, "4 ms"),
            ("p99<=4000us", true, "4 ms"),
            ("p99<2ms for record", true, "1 ms"),
            ("service.p99<3.5ms", true, "3 ms"),
            ("p50<0.0009s", true, "800 µs"),
            ("mean<1ms", true, "900 µs"),
            ("max<5ms", false, "9 ms"),
            ("success>=99.9%", true, "99.9 %"),
            ("success>99.9%", false, "99.9 %"),
            ("success>=100% for record", true, "100 %"),
            ("errors<=0", false, "5"),
            ("errors<0.2%", true, "0.1 %"),
            ("rate>=499", true, "500/s"),
            ("rate>=400 for record", true, "400/s"),
            ("cpu<200us", true, "120 µs"),
            ("rss<64MiB", true, "20 MiB"),
        ];
        for (text, passed, measured) in cases {
            assert_eq!(check(text), (passed, measured.to_owned()), "{text}");
        }
    }

    #[test]
    fn without_samples_a_threshold_is_not_kept() {
        assert_eq!(
            check("p99.9<1s"),
            (false, "too few samples: 5,000 of 10,000".to_owned())
        );
        assert_eq!(
            check("errors<=0 for never"),
            (false, "no samples".to_owned())
        );
        let unseen = "cpu<1ms".parse::<Threshold>().expect("a threshold");
        let unwatched = Summary {
            server: None,
            ..summary()
        };
        assert_eq!(unseen.check(&unwatched).measured, "no server was watched");
        let untold = Summary {
            server: Some(ServerSummary::default()),
            ..summary()
        };
        let checked = unseen.check(&untold);
        assert_eq!(
            (checked.passed, &*checked.measured),
            (false, "not seen on this system")
        );
    }

    #[test]
    fn what_cannot_hold_or_be_read_is_refused() {
        let cases = [
            ("success>100%", "can never hold"),
            ("success>=101%", "can never hold"),
            ("p99<0ms", "can never hold"),
            ("errors<0", "can never hold"),
            ("p99<-1ms", "-1 is below what can be measured"),
            ("rate>inf", "\"\" is no number"),
            ("p99<5", "needs a unit: us, µs, ms, s"),
            ("p99<5min", "\"min\" is no unit here: us, µs, ms, s are"),
            ("errors<=1k", "\"k\" is no unit here: a number alone is"),
            ("success>=0.99", "needs a unit: %"),
            (
                "p99>5ms",
                "a threshold says what passes: p99 is at most something, p99<5ms",
            ),
            (
                "rate<5",
                "a threshold says what passes: rate is at least something, rate>=5",
            ),
            ("p98<5ms", "no metric \"p98\"; did you mean p95?"),
            (
                "latency<5ms",
                "no metric \"latency\"; there are p50, p95, p99, p99.9, mean, max, service.p99, success, errors, rate, cpu, rss",
            ),
            ("p99", "expected METRIC<VALUE or METRIC>VALUE, p99<5ms, say"),
            ("p99=5ms", "compares with <, <=, > or >="),
            (
                "rss<1MiB for record",
                "rss is known of the whole server, not of a route",
            ),
        ];
        for (text, problem) in cases {
            let error = text.parse::<Threshold>().expect_err(text);
            assert_eq!(error.problem, problem, "{text}");
        }
    }

    #[test]
    fn a_threshold_on_what_no_run_shows_is_refused_before_it() {
        let problem = |text: &str, watched| {
            let threshold: Threshold = text.parse().expect(text);
            threshold
                .validate(&["record", "task"], watched)
                .expect_err(text)
                .problem
        };
        assert_eq!(
            problem("p99<1s for recrod", true),
            "no route \"recrod\"; did you mean \"record\"?"
        );
        assert_eq!(
            problem("p99<1s for x", true),
            "no route \"x\"; there are record, task"
        );
        assert!(problem("cpu<1ms", false).contains("--server"));
        "p99<1s for task"
            .parse::<Threshold>()
            .expect("read")
            .validate(&["task"], false)
            .expect("fits");
    }
}
