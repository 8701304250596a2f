//! From what a run measured to what is kept of it.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::cap::Signs;
use super::{LatencySummary, RouteSummary, ServerSummary, Summary, Watched, interval};
use crate::outcome::PERCENTILES;
use crate::{Arrivals, Load, Model, Outcome, RouteOutcome};

impl Summary {
    /// What is kept of a run of `load` on `target`, which is a URL or another name.
    pub fn of(outcome: &Outcome, target: &str, load: &Load) -> Self {
        let total = &outcome.total;
        let mut summary = Self {
            target: target.to_owned(),
            model: words(&load.model),
            users: match load.model {
                Model::Closed { users } => Some(users as u64),
                Model::Open(_) => None,
            },
            seed: load.seed,
            duration_s: outcome.elapsed.as_secs_f64(),
            offered_rate: offered_rate(&load.model, load.duration),
            rate: outcome.rate(),
            ended: total.ended,
            success: success(total),
            unsent: outcome.unsent,
            errors: total
                .errors
                .iter()
                .map(|(class, count)| (class.to_string(), *count))
                .collect(),
            statuses: total.statuses.clone(),
            response_us: LatencySummary::of(&total.response),
            service_us: LatencySummary::of(&total.service),
            first_byte_us: LatencySummary::of(&total.first_byte),
            send_lag_us: LatencySummary::of(&outcome.generator.send_lag),
            generator_cpu: outcome.generator.cpu_share,
            invalid: outcome.invalid.iter().map(ToString::to_string).collect(),
            interrupted: outcome.interrupted,
            routes: outcome.routes.iter().map(RouteSummary::of).collect(),
            timeline: outcome.seconds.clone(),
            ..Self::default()
        };
        summary.judge_cap();
        summary
    }

    /// Adds what the server used meanwhile, and judges anew what kept the rate from being higher.
    #[must_use]
    pub fn with_server(mut self, watched: &Watched) -> Self {
        watched.fill(&mut self.timeline);
        let window = watched.from..watched.from + Duration::from_secs_f64(self.duration_s);
        self.server = Some(ServerSummary::of(watched, window, self.ended));
        self.server_cores = Some(watched.cores as u64);
        self.judge_cap();
        self
    }

    /// Adds the share of their time that requests waited for a database connection, as the server itself says it, and
    /// judges anew what kept the rate from being higher. Without a server that was watched this changes nothing.
    #[must_use]
    pub fn with_pool_wait(mut self, share: f64) -> Self {
        if let Some(server) = &mut self.server {
            server.pool_wait_share = Some(share);
        }
        self.judge_cap();
        self
    }

    /// Requests that did not end well.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn judge_cap(&mut self) {
        let server = self.server.as_ref();
        self.capped_by = Signs {
            generator_cpu: self.generator_cpu,
            kept_up: self
                .offered_rate
                .is_some_and(|offered| kept_up(offered * self.duration_s, self.ended, self.unsent)),
            users: self.users,
            server_cores: self.server_cores,
            server_cpu: server.map(|server| server.cpu_share),
            pool_wait: server.and_then(|server| server.pool_wait_share),
        }
        .cap();
    }
}

impl LatencySummary {
    /// Of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let samples = histogram.len();
        let mut summary = Self {
            samples,
            mean: histogram.mean(),
            max: histogram.max() as f64,
            ..Self::default()
        };
        let to = [
            &mut summary.p50,
            &mut summary.p95,
            &mut summary.p99,
            &mut summary.p999,
        ];
        for ((name, quantile, samples_min), to) in PERCENTILES.into_iter().zip(to) {
            if samples >= samples_min {
                *to = Some(histogram.value_at_quantile(quantile) as f64);
                let bounds = interval::quantile_bounds(quantile, samples);
                let values = bounds.map(|bound| histogram.value_at_quantile(bound) as f64);
                summary.intervals.insert(name.to_owned(), values);
            }
        }
        summary
    }
}

impl RouteSummary {
    fn of(route: &RouteOutcome) -> Self {
        Self {
            name: route.name.clone(),
            ended: route.ended,
            success: success(route),
            response_us: LatencySummary::of(&route.response),
            service_us: LatencySummary::of(&route.service),
        }
    }
}

fn success(route: &RouteOutcome) -> f64 {
    match route.ended {
        0 => 0.0,
        ended => route.succeeded as f64 / ended as f64,
    }
}

/// The model as a reader says it.
fn words(model: &Model) -> String {
    let arrivals = match model {
        Model::Closed { users: 1 } => return "closed, 1 user".to_owned(),
        Model::Closed { users } => return format!("closed, {users} users"),
        Model::Open(arrivals) => arrivals,
    };
    match arrivals {
        Arrivals::Constant { rate } => format!("open, constant {rate}/s"),
        Arrivals::Poisson { rate } => format!("open, poisson {rate}/s"),
        Arrivals::Ramp { from, to } => format!("open, ramp {from}/s to {to}/s"),
        Arrivals::Step { rates } => {
            let rates: Vec<String> = rates.iter().map(|rate| format!("{rate}/s")).collect();
            format!("open, steps {}", rates.join(", "))
        }
        Arrivals::Spike {
            base,
            peak,
            at,
            lasts,
        } => {
            format!("open, {base}/s with {peak}/s from {at:?} for {lasts:?}")
        }
        Arrivals::Replay { offsets } => format!("open, replay of {} requests", offsets.len()),
    }
}

/// Requests per second that an open model asks for, on average over `duration`.
fn offered_rate(model: &Model, duration: Duration) -> Option<f64> {
    let Model::Open(arrivals) = model else {
        return None;
    };
    let seconds = duration.as_secs_f64().max(f64::EPSILON);
    Some(match arrivals {
        Arrivals::Constant { rate } | Arrivals::Poisson { rate } => *rate,
        Arrivals::Ramp { from, to } => f64::midpoint(*from, *to),
        Arrivals::Step { rates } => rates.iter().sum::<f64>() / rates.len().max(1) as f64,
        Arrivals::Spike {
            base,
            peak,
            at,
            lasts,
        } => {
            let burst = lasts.min(&duration.saturating_sub(*at)).as_secs_f64();
            base + (peak - base) * burst / seconds
        }
        Arrivals::Replay { offsets } => {
            offsets.iter().filter(|offset| **offset < duration).count() as f64 / seconds
        }
    })
}

/// Whether an open model got what it asked for: arrivals at random may be fewer by chance (four standard deviations),
/// and the last ones may still be under way (2 %).
fn kept_up(expected: f64, ended: u64, unsent: u64) -> bool {
    unsent == 0 && ended as f64 + 4.0 * expected.sqrt() >= 0.98 * expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds");
        values
            .into_iter()
            .for_each(|value| histogram.saturating_record(value));
        histogram
    }

    #[test]
    fn a_percentile_needs_samples_to_mean_anything() {
        let known = |count: u64| {
            let latency = LatencySummary::of(&histogram(1..=count));
            let names = ["p50", "p95", "p99", "p999"];
            let known: Vec<_> = names
                .into_iter()
                .filter(|name| latency.percentile(name).is_some())
                .collect();
            assert!(
                known
                    .iter()
                    .all(|name| latency.intervals.contains_key(*name))
            );
            known
        };
        assert!(known(0).is_empty());
        assert_eq!(known(199), ["p50"]);
        assert_eq!(known(999), ["p50", "p95"]);
        assert_eq!(known(10_000), ["p50", "p95", "p99", "p999"]);
    }

    #[test]
    fn the_interval_of_a_percentile_encloses_it() {
        let latency = LatencySummary::of(&histogram(1..=10_000));
        let [low, high] = latency.intervals["p99"];
        let p99 = latency.p99.expect("enough samples");
        assert!((p99 - 9_900.0).abs() <= 10.0, "{p99}");
        // 10,000 values: the ranks are 9,880 and 9,920.
        assert!(
            (low - 9_880.0).abs() <= 10.0 && (high - 9_920.0).abs() <= 10.0,
            "{low} {high}"
        );
    }

    #[test]
    fn the_offered_rate_of_a_shape_is_its_mean() {
        let ten = Duration::from_secs(10);
        let rate = |arrivals| offered_rate(&Model::Open(arrivals), ten).expect("an open model");
        let (at, lasts) = (Duration::from_secs(8), Duration::from_secs(4));
        let offsets = [0, 1, 9, 10, 11].map(Duration::from_secs);
        assert_eq!(rate(Arrivals::Constant { rate: 7.0 }), 7.0);
        assert_eq!(
            rate(Arrivals::Ramp {
                from: 10.0,
                to: 20.0
            }),
            15.0
        );
        assert_eq!(
            rate(Arrivals::Step {
                rates: vec![1.0, 2.0, 6.0]
            }),
            3.0
        );
        assert_eq!(
            rate(Arrivals::Spike {
                base: 10.0,
                peak: 60.0,
                at,
                lasts
            }),
            20.0
        );
        assert_eq!(
            rate(Arrivals::Replay {
                offsets: offsets.into()
            }),
            0.3
        );
        assert_eq!(offered_rate(&Model::Closed { users: 1 }, ten), None);
    }

    #[test]
    fn random_arrivals_may_be_fewer_by_chance() {
        assert!(kept_up(10_000.0, 9_650, 0));
        assert!(!kept_up(10_000.0, 9_300, 0));
        assert!(!kept_up(10_000.0, 10_000, 1));
    }

    #[test]
    fn models_have_words() {
        let open = |arrivals| words(&Model::Open(arrivals));
        assert_eq!(words(&Model::Closed { users: 1 }), "closed, 1 user");
        assert_eq!(
            open(Arrivals::Poisson { rate: 2e3 }),
            "open, poisson 2000/s"
        );
        let spike = Arrivals::Spike {
            base: 1.5,
            peak: 9.0,
            at: Duration::from_secs(3),
            lasts: Duration::from_millis(500),
        };
        assert_eq!(open(spike), "open, 1.5/s with 9/s from 3s for 500ms");
    }
}
