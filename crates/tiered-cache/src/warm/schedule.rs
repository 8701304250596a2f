//! When a set of keys is warmed again.

use std::time::Duration;

use super::options::WarmOptions;

/// Warming that is repeated, so that what must never be cold never is.
#[derive(Debug, Clone)]
pub struct WarmSchedule {
    /// From the end of one round to the begin of the next; at least a second. Default: 5 minutes.
    pub every: Duration,
    /// Up to this share of `every` is added at random, so that replicas do not warm all at once; 0 to 1.
    /// Default: 0.1.
    pub jitter: f64,
    /// The limits of each round.
    pub options: WarmOptions,
}

impl Default for WarmSchedule {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(300),
            jitter: 0.1,
            options: WarmOptions::default(),
        }
    }
}

impl WarmSchedule {
    /// How long to wait before the next round; `draw` is from 0 to 1.
    pub(crate) fn pause(&self, draw: f64) -> Duration {
        let every = self.every.clamp(EVERY_MIN, EVERY_MAX);
        let jitter = if self.jitter.is_nan() {
            0.0
        } else {
            self.jitter
        };
        every + every.mul_f64(jitter.clamp(0.0, 1.0) * draw.clamp(0.0, 1.0))
    }
}

const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::WarmSchedule;

    #[test]
    fn the_pause_is_the_interval_and_up_to_its_jitter() {
        let schedule = WarmSchedule {
            every: Duration::from_secs(100),
            jitter: 0.2,
            ..WarmSchedule::default()
        };
        let pauses = [0.0, 0.5, 1.0].map(|draw| schedule.pause(draw).as_secs());
        assert_eq!(pauses, [100, 110, 120]);
    }

    #[test]
    fn no_setting_makes_it_spin_or_panic() {
        for jitter in [f64::NAN, -1.0, 1e300] {
            for every in [Duration::ZERO, Duration::MAX] {
                let schedule = WarmSchedule {
                    every,
                    jitter,
                    ..WarmSchedule::default()
                };
                assert!(schedule.pause(0.9) >= Duration::from_secs(1));
            }
        }
    }
}
