//! How long our service's requests waited for a database connection, from what it says about itself.

/// How long all requests waited until now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Waits {
    pub(super) seconds: f64,
}

impl Waits {
    /// From the text of `/metrics`; `None` if the series is not there.
    pub(super) fn parse(metrics: &str) -> Option<Self> {
        let sums: Vec<f64> = metrics
            .lines()
            .filter(|line| line.starts_with("db_pool_acquire_seconds_sum"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
            .collect();
        (!sums.is_empty()).then(|| Self {
            seconds: sums.iter().sum(),
        })
    }

    /// The share of the time of `requests` that were answered in `mean_us` each, which was waiting since `before`.
    pub(super) fn share_since(self, before: Self, requests: u64, mean_us: f64) -> Option<f64> {
        let all = requests as f64 * mean_us / 1e6;
        (all > 0.0).then(|| ((self.seconds - before.seconds) / all).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE db_pool_acquire_seconds histogram
db_pool_acquire_seconds_bucket{pool=\"main\",le=\"+Inf\"} 12
db_pool_acquire_seconds_sum{pool=\"main\"} 0.5
db_pool_acquire_seconds_count{pool=\"main\"} 12
db_pool_acquire_seconds_sum{pool=\"other\"} 0.25
";

    #[test]
    fn the_waiting_of_all_pools_is_summed() {
        assert_eq!(Waits::parse(METRICS), Some(Waits { seconds: 0.75 }));
        assert_eq!(Waits::parse("up 1\n"), None);
    }

    #[test]
    fn waiting_is_a_share_of_the_time_that_requests_took() {
        let (before, after) = (Waits { seconds: 1.0 }, Waits { seconds: 1.5 });
        assert_eq!(after.share_since(before, 1_000, 1_000.0), Some(0.5));
        assert_eq!(
            before.share_since(after, 1_000, 1_000.0),
            Some(0.0),
            "restarted meanwhile"
        );
        assert_eq!(after.share_since(before, 0, 0.0), None);
    }
}
