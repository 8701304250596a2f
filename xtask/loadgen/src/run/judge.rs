//! Whether a run can be believed: pure, from what it measured.

use crate::outcome::PERCENTILES;
use crate::{Invalid, Outcome};

/// Above this share of its core a generator is late so often that an open model's times are its own.
pub(crate) const BUSY_OPEN: f64 = 0.85;

/// Above this share a closed model measures how fast the generator is. Below it the thread still had to wait for
/// answers, so that the rate is the target's.
pub(crate) const BUSY_CLOSED: f64 = 0.95;

/// Least lag that is worth a word, in microseconds.
const LAG_MIN: u64 = 1000;

/// An interrupted run has no time to send what waits: up to this share of its requests says nothing about the target.
const UNSENT_INTERRUPTED: f64 = 0.01;

/// A queue that empties within this share of the measurement after its end, at least [`GRACE_MIN`], is chance; one that
/// does not is a rate that the target cannot take.
const GRACE_SHARE: u64 = 100;
const GRACE_MIN: u64 = 100_000_000;

/// How long after a measurement of `duration` what was due within it may still be sent, in nanoseconds.
pub(crate) fn grace(duration: u64) -> u64 {
    GRACE_MIN.max(duration / GRACE_SHARE)
}

/// Why the run says nothing about its target.
pub(crate) fn judge(outcome: &Outcome, open: bool) -> Vec<Invalid> {
    let mut reasons = Vec::new();
    let ended = outcome.total.ended;
    if outcome.total.succeeded == 0 {
        reasons.push(Invalid::NothingSucceeded);
    }
    let cpu_share = outcome.generator.cpu_share;
    if cpu_share > if open { BUSY_OPEN } else { BUSY_CLOSED } {
        reasons.push(Invalid::GeneratorBusy { cpu_share });
    }
    let lag = &outcome.generator.send_lag;
    // The 99th, or the highest percentile that so few requests tell: one of a hundred is late on any machine.
    let told = PERCENTILES[..3].iter().rfind(|told| lag.len() >= told.2);
    let (percentile, quantile, _) = told.unwrap_or(&PERCENTILES[0]);
    let lag_us = lag.value_at_quantile(*quantile);
    let limit_us = LAG_MIN.max(outcome.total.response.value_at_quantile(0.5) / 10);
    if lag_us > limit_us {
        reasons.push(Invalid::SendLag {
            percentile,
            lag_us,
            limit_us,
        });
    }
    let excused = if outcome.interrupted {
        ended as f64 * UNSENT_INTERRUPTED
    } else {
        0.0
    };
    if outcome.unsent as f64 > excused {
        reasons.push(Invalid::Unsent {
            requests: outcome.unsent,
        });
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::outcome::{Generator, RouteOutcome, histogram};

    /// A thousand requests of one millisecond, then `change`.
    fn check(open: bool, change: impl FnOnce(&mut Outcome), expected: &[Invalid]) {
        let mut total = RouteOutcome::empty("total");
        (total.ended, total.succeeded) = (1000, 1000);
        total.response.record_n(1000, 1000).expect("within bounds");
        let generator = Generator {
            threads: 1,
            cpu_share: 0.5,
            send_lag: histogram(),
        };
        let mut outcome = Outcome {
            began: Instant::now(),
            elapsed: Duration::from_secs(1),
            total,
            routes: Vec::new(),
            seconds: Vec::new(),
            generator,
            unsent: 0,
            invalid: Vec::new(),
            interrupted: false,
        };
        change(&mut outcome);
        assert_eq!(judge(&outcome, open), expected);
    }

    #[test]
    fn a_generator_with_time_to_spare_is_believed() {
        check(true, |_| {}, &[]);
        check(false, |_| {}, &[]);
    }

    #[test]
    fn a_busy_generator_spoils_times_sooner_than_the_highest_rate() {
        let busy = |cpu_share| move |outcome: &mut Outcome| outcome.generator.cpu_share = cpu_share;
        check(
            true,
            busy(0.9),
            &[Invalid::GeneratorBusy { cpu_share: 0.9 }],
        );
        check(false, busy(0.9), &[]);
        check(
            false,
            busy(0.99),
            &[Invalid::GeneratorBusy { cpu_share: 0.99 }],
        );
    }

    #[test]
    fn lag_counts_from_a_millisecond_or_a_tenth_of_the_median() {
        let lag = |lag, response| {
            move |outcome: &mut Outcome| {
                outcome
                    .generator
                    .send_lag
                    .record_n(lag, 1000)
                    .expect("within bounds");
                outcome.total.response.reset();
                outcome
                    .total
                    .response
                    .record_n(response, 1000)
                    .expect("within bounds");
            }
        };
        check(true, lag(900, 100), &[]);
        check(
            true,
            lag(1500, 100),
            &[Invalid::SendLag {
                percentile: "p99",
                lag_us: 1500,
                limit_us: 1000,
            }],
        );
        check(true, lag(1500, 20_000), &[]);
    }

    #[test]
    fn of_few_requests_one_may_be_late() {
        let late = |samples: u64| {
            move |outcome: &mut Outcome| {
                let lag = &mut outcome.generator.send_lag;
                lag.record_n(100, samples - samples / 20 - 1)
                    .expect("within bounds");
                lag.record_n(5000, samples / 20 + 1).expect("within bounds");
            }
        };
        // One more than a twentieth is late: beyond the 95th percentile, which only 200 requests have.
        check(true, late(100), &[]);
        check(
            true,
            late(200),
            &[Invalid::SendLag {
                percentile: "p95",
                lag_us: 5003,
                limit_us: 1000,
            }],
        );
    }

    #[test]
    fn what_was_never_sent_counts_unless_an_interrupt_left_no_time_for_it() {
        let unsent = |unsent, interrupted| {
            move |outcome: &mut Outcome| {
                (outcome.unsent, outcome.interrupted) = (unsent, interrupted);
            }
        };
        check(true, unsent(1, false), &[Invalid::Unsent { requests: 1 }]);
        check(true, unsent(5, true), &[]);
        check(true, unsent(50, true), &[Invalid::Unsent { requests: 50 }]);
    }

    #[test]
    fn a_run_in_which_everything_failed_says_so() {
        check(
            false,
            |outcome| outcome.total.succeeded = 0,
            &[Invalid::NothingSucceeded],
        );
    }
}
