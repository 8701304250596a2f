//! How long a server usually takes: a moving average that follows time, not the number of samples.

use std::time::Duration;

use tokio::time::Instant;

/// The usual latency of one server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    seconds: f64,
    sampled: Option<Instant>,
}

impl Latency {
    /// Takes a sample in. After a second in which nothing was sampled it counts for a fifth; the first one for all.
    pub(super) fn observe(&mut self, took: Duration, now: Instant) {
        let weight = match self.sampled {
            None => 1.0,
            Some(before) => {
                let since = now.saturating_duration_since(before);
                let forgotten = 1.0 - (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp();
                forgotten.max(LEAST_WEIGHT)
            }
        };
        self.seconds += (took.as_secs_f64() - self.seconds) * weight;
        self.sampled = Some(now);
    }

    /// Whether the last sample is so old that even an unlike one, the watcher's, tells more.
    pub(super) fn is_stale(&self, now: Instant, age: Duration) -> bool {
        self.sampled
            .is_none_or(|before| now.saturating_duration_since(before) >= age)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds.max(SHORTEST)
    }
}

/// What is older has lost two thirds of its weight.
const MEMORY: Duration = Duration::from_secs(5);
/// Many samples at one moment still count: then it is an average of the last twenty.
const LEAST_WEIGHT: f64 = 0.05;
/// A product with the statements under way has to tell servers apart even where latency is next to nothing.
const SHORTEST: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_follows_a_change_within_seconds_and_an_outlier_hardly() {
        let mut latency = Latency::default();
        let mut now = Instant::now();
        let (fast, slow) = (Duration::from_millis(1), Duration::from_millis(100));
        latency.observe(fast, now);
        assert!((latency.seconds() - 0.001).abs() < 1e-9);
        now += Duration::from_millis(10);
        latency.observe(slow, now);
        assert!(latency.seconds() < 0.01);
        for _ in 0..100 {
            now += Duration::from_millis(10);
            latency.observe(slow, now);
        }
        assert!(latency.seconds() > 0.09);
        assert!(!latency.is_stale(now, Duration::from_secs(1)));
        now += Duration::from_secs(30);
        assert!(latency.is_stale(now, Duration::from_secs(1)));
        latency.observe(fast, now);
        assert!(latency.seconds() < 0.002);
    }
}
