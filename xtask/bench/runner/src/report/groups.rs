//! Results side by side: everybody who was measured at the same thing, ours first, and how ours stands among them.

use std::fmt;

use harness::Metric;

use super::Report;

/// Our service where services are measured; in a micro bench ours is called like its suite.
const OUR_SERVICE: &str = "reference-service";
/// A handler without anything around it.
const BARE_SERVICE: &str = "bare-axum";

/// Everybody's figures for one metric of one bench.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group<'a> {
    pub(crate) suite: &'a str,
    pub(crate) name: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) unit: &'a str,
    /// Ours first, then peers from best to worst.
    pub(crate) rows: Vec<&'a Metric>,
}

/// One bench: the subjects and, for each metric, their figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bench<'a> {
    pub(crate) suite: &'a str,
    pub(crate) name: &'a str,
    /// Ours first, then peers from best to worst by the first metric.
    pub(crate) subjects: Vec<&'a str>,
    /// At least one; the first is the one that the bench is about.
    pub(crate) groups: Vec<Group<'a>>,
}

/// How ours stands beside a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    /// Better, by this factor.
    Better(f64),
    /// Worse, by this factor.
    Worse(f64),
    /// The intervals overlap: no difference can be told.
    Even,
}

/// Whether `subject` is ours.
pub(crate) fn is_ours(suite: &str, subject: &str) -> bool {
    subject == suite || subject == OUR_SERVICE
}

/// Whether `subject` is no peer but what the job costs at the very least, or the goal that ours has: it is shown, and left
/// out of every verdict.
pub(crate) fn is_floor(subject: &str) -> bool {
    subject.starts_with("floor:") || subject == "goal" || subject == BARE_SERVICE
}

/// The results of a report by what was measured, in the order in which that was first measured.
pub(crate) fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for metric in &report.results {
        let key = (
            &*metric.suite,
            &*metric.name,
            &*metric.metric,
            &*metric.unit,
        );
        let known = groups
            .iter_mut()
            .find(|group| (group.suite, group.name, group.metric, group.unit) == key);
        match known {
            Some(group) => group.rows.push(metric),
            None => groups.push(Group {
                suite: key.0,
                name: key.1,
                metric: key.2,
                unit: key.3,
                rows: vec![metric],
            }),
        }
    }
    for group in &mut groups {
        let higher = higher_is_better(group.unit);
        group.rows.sort_by(|a, b| {
            let by_value = if higher {
                b.value.total_cmp(&a.value)
            } else {
                a.value.total_cmp(&b.value)
            };
            let ours = |metric: &Metric| is_ours(&metric.suite, &metric.subject);
            ours(b).cmp(&ours(a)).then(by_value)
        });
    }
    groups
}

/// The results of a report by bench, in the order in which they were first measured.
pub(crate) fn benches(report: &Report) -> Vec<Bench<'_>> {
    let mut benches: Vec<Bench<'_>> = Vec::new();
    for group in groups(report) {
        let place = benches
            .iter()
            .position(|bench| (bench.suite, bench.name) == (group.suite, group.name));
        let place = place.unwrap_or_else(|| {
            benches.push(Bench {
                suite: group.suite,
                name: group.name,
                subjects: Vec::new(),
                groups: Vec::new(),
            });
            benches.len() - 1
        });
        let bench = &mut benches[place];
        for metric in &group.rows {
            if !bench.subjects.contains(&&*metric.subject) {
                bench.subjects.push(&metric.subject);
            }
        }
        bench.groups.push(group);
    }
    benches
}

/// How ours stands in all benches, by what each is about: `ours better in 3, even in 1, worse in 0 of 4 benches with
/// peers`.
pub(crate) fn tally(benches: &[Bench<'_>]) -> String {
    let (mut better, mut even, mut worse) = (0, 0, 0);
    for bench in benches {
        // That requests succeed is no merit: without latencies, an invalid run would be even with the others.
        let mut groups = bench
            .groups
            .iter()
            .filter(|group| group.metric != "success");
        match groups.next().and_then(Group::against_best) {
            Some((Standing::Better(_), _)) => better += 1,
            Some((Standing::Even, _)) => even += 1,
            Some((Standing::Worse(_), _)) => worse += 1,
            None => {}
        }
    }
    match better + even + worse {
        0 => "measured alone: no bench with peers".to_owned(),
        1 => format!("beside the best peer: better {better}, even {even}, worse {worse} (1 bench)"),
        all => format!(
            "beside the best peer of each bench: better {better}, even {even}, worse {worse} ({all} benches)"
        ),
    }
}

/// A metric's name for a reader.
pub(crate) fn label(metric: &str) -> String {
    let words: Vec<_> = metric
        .split('_')
        .map(|word| match word {
            "cpu" => "CPU",
            "rss" => "RSS",
            "p999" => "p99.9",
            word => word,
        })
        .collect();
    words.join(" ")
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Better(factor) => write!(f, "{} better", times(*factor)),
            Self::Worse(factor) => write!(f, "{} worse", times(*factor)),
            Self::Even => f.write_str("even"),
        }
    }
}

impl<'a> Group<'a> {
    /// Our figure.
    pub(crate) fn ours(&self) -> Option<&'a Metric> {
        let ours = |metric: &&&Metric| is_ours(&metric.suite, &metric.subject);
        self.rows.iter().find(ours).copied()
    }

    /// The figure of the best peer.
    pub(crate) fn best_peer(&self) -> Option<&'a Metric> {
        let peer = |metric: &&&Metric| {
            !is_ours(&metric.suite, &metric.subject) && !is_floor(&metric.subject)
        };
        self.rows.iter().find(peer).copied()
    }

    /// How ours stands beside `peer`; `None` where a factor means nothing.
    pub(crate) fn standing(&self, ours: &Metric, peer: &Metric) -> Option<Standing> {
        if ours.value <= 0.0 || peer.value <= 0.0 {
            return None;
        }
        if ours.low <= peer.high && peer.low <= ours.high {
            return Some(Standing::Even);
        }
        let more = ours.value > peer.value;
        let factor = if more {
            ours.value / peer.value
        } else {
            peer.value / ours.value
        };
        Some(if more == higher_is_better(self.unit) {
            Standing::Better(factor)
        } else {
            Standing::Worse(factor)
        })
    }

    /// How ours stands beside the best peer, and who that is.
    pub(crate) fn against_best(&self) -> Option<(Standing, &'a str)> {
        let (ours, peer) = (self.ours()?, self.best_peer()?);
        Some((self.standing(ours, peer)?, &peer.subject))
    }

    /// Our place among all: `2 of 5`. Those that are even with ours are not before it.
    pub(crate) fn place(&self) -> String {
        let Some(ours) = self.ours() else {
            return String::new();
        };
        let before =
            |peer: &&&Metric| matches!(self.standing(ours, peer), Some(Standing::Worse(_)));
        let rivals = || self.rows.iter().filter(|metric| !is_floor(&metric.subject));
        let before = rivals().filter(before).count();
        format!("{} of {}", before + 1, rivals().count())
    }

    /// How ours stands beside the best peer in a few words: `2.0× better than moka`; empty without a peer.
    pub(crate) fn verdict(&self) -> String {
        match self.against_best() {
            Some((standing @ Standing::Even, peer)) => format!("{standing} with {peer}"),
            Some((standing, peer)) => format!("{standing} than {peer}"),
            None => String::new(),
        }
    }
}

/// A factor, or a percentage where that is easier to grasp.
fn times(factor: f64) -> String {
    if factor < 1.5 {
        format!("{:.0} %", ((factor - 1.0) * 100.0).max(1.0))
    } else if factor < 10.0 {
        format!("{factor:.1}×")
    } else {
        format!("{factor:.0}×")
    }
}

fn higher_is_better(unit: &str) -> bool {
    matches!(unit, "req/s" | "ratio")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn metric(subject: &str, unit: &str, value: f64, half: f64) -> Metric {
        Metric {
            suite: "cache".into(),
            name: "hit".into(),
            subject: subject.into(),
            metric: "time".into(),
            unit: unit.into(),
            value,
            low: value - half,
            high: value + half,
            samples: 10,
        }
    }

    fn verdict(unit: &str, ours: (f64, f64), peer: (f64, f64)) -> String {
        let ours = metric("cache", unit, ours.0, ours.1);
        let peer = metric("peer", unit, peer.0, peer.1);
        let group = Group {
            suite: "cache",
            name: "hit",
            metric: "time",
            unit,
            rows: vec![&ours, &peer],
        };
        group.verdict()
    }

    #[test]
    fn less_time_is_better_and_more_requests_are() {
        assert_eq!(
            verdict("ns", (50.0, 1.0), (100.0, 1.0)),
            "2.0× better than peer"
        );
        assert_eq!(
            verdict("ns", (110.0, 1.0), (100.0, 1.0)),
            "10 % worse than peer"
        );
        assert_eq!(
            verdict("req/s", (50.0, 1.0), (700.0, 1.0)),
            "14× worse than peer"
        );
    }

    #[test]
    fn a_floor_is_shown_but_judged_beside_nobody() {
        let ours = metric("cache", "ns", 50.0, 1.0);
        let peer = metric("moka", "ns", 100.0, 1.0);
        let floor = metric("floor:HashMap", "ns", 5.0, 1.0);
        let group = Group {
            suite: "cache",
            name: "hit",
            metric: "time",
            unit: "ns",
            rows: vec![&ours, &floor, &peer],
        };
        assert_eq!(group.verdict(), "2.0× better than moka");
        assert_eq!(group.place(), "1 of 2");
    }

    #[test]
    fn overlapping_intervals_are_even_and_zero_has_no_factor() {
        assert_eq!(verdict("ns", (50.0, 2.0), (53.0, 2.0)), "even with peer");
        assert_eq!(verdict("count", (0.0, 0.0), (3.0, 0.0)), "");
    }

    #[test]
    fn our_place_counts_only_those_that_are_surely_before() {
        let values = [(50.0, 2.0), (53.0, 2.0), (40.0, 2.0), (90.0, 2.0)];
        let subjects = ["cache", "even", "better", "worse"];
        let metrics: Vec<_> = std::iter::zip(subjects, values)
            .map(|(subject, (value, half))| metric(subject, "ns", value, half))
            .collect();
        let group = Group {
            suite: "cache",
            name: "hit",
            metric: "time",
            unit: "ns",
            rows: metrics.iter().collect(),
        };
        assert_eq!(group.place(), "2 of 4");
    }

    #[test]
    fn an_invalid_run_of_ours_counts_nowhere() {
        let mut report = sample();
        report.results.retain(|metric| metric.name == "open-50");
        for metric in &mut report.results {
            metric.subject = metric.subject.replace("bare-axum", "peer");
        }
        assert!(tally(&benches(&report)).contains("(1 bench)"));
        report
            .results
            .retain(|metric| metric.subject != "reference-service");
        let mut success = report.results[..2].to_vec();
        for (metric, subject) in success.iter_mut().zip(["reference-service", "peer"]) {
            (metric.metric, metric.subject) = ("success".into(), subject.into());
        }
        report.results.splice(..0, success);
        assert!(tally(&benches(&report)).contains("no bench with peers"));
    }

    #[test]
    fn ours_comes_first_and_peers_from_best_to_worst() {
        let report = sample();
        for group in groups(&report) {
            let peers: Vec<_> = group
                .rows
                .iter()
                .skip(1)
                .map(|metric| metric.value)
                .collect();
            assert!(is_ours(group.suite, &group.rows[0].subject), "{group:?}");
            let mut sorted = peers.clone();
            sorted.sort_by(f64::total_cmp);
            if higher_is_better(group.unit) {
                sorted.reverse();
            }
            assert_eq!(peers, sorted);
        }
    }
}
