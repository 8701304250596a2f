//! When requests arrive in an open model: pure arithmetic from rates and a seed to moments, one at a time, so that a
//! schedule takes the same few bytes however long it is and however high its rate.

use std::sync::Arc;
use std::time::Duration;

use crate::Arrivals;

/// Moments in nanoseconds from the start of the warm-up, ascending. The measurement begins where the warm-up ends, and
/// its moments are the same whatever the warm-up was.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// The warm-up, then the measurement.
    parts: [Part; 2],
    present: usize,
}

/// Moments within one span.
#[derive(Debug)]
struct Part {
    /// Where it begins, in nanoseconds; its moments lie in `[0, length)` after that.
    begin: u64,
    length: u64,
    moments: Moments,
}

#[derive(Debug)]
enum Moments {
    Rates(Rates),
    Recorded {
        offsets: Arc<[Duration]>,
        next: usize,
    },
}

/// Arrivals by a rate that changes over time: the n-th comes when the area under the rate has reached its share.
#[derive(Debug)]
struct Rates {
    pieces: Vec<Piece>,
    present: usize,
    /// Arrivals expected before the present piece: the area under all pieces before it.
    before: f64,
    /// Time before the present piece, in seconds.
    elapsed: f64,
    /// The area at which the next arrival comes.
    area: f64,
    gaps: Gaps,
}

/// A span in which the rate changes linearly.
#[derive(Clone, Copy, Debug)]
struct Piece {
    seconds: f64,
    from: f64,
    to: f64,
}

/// The area between one arrival and the next.
#[derive(Debug)]
enum Gaps {
    /// One; the first arrival comes at once.
    Even,
    /// One on average, exponentially distributed: a Poisson process.
    Exponential(fastrand::Rng),
}

impl Schedule {
    /// Arrivals have to be [valid](crate::Load::validate); others give some schedule, perhaps an empty one.
    pub(crate) fn new(
        arrivals: &Arrivals,
        warmup: Duration,
        duration: Duration,
        seed: u64,
    ) -> Self {
        let warmup_ns = nanoseconds(warmup);
        Self {
            parts: [
                Part {
                    begin: 0,
                    length: warmup_ns,
                    moments: Moments::new(&beginning(arrivals), warmup, !seed),
                },
                Part {
                    begin: warmup_ns,
                    length: nanoseconds(duration),
                    moments: Moments::new(arrivals, duration, seed),
                },
            ],
            present: 0,
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while let Some(part) = self.parts.get_mut(self.present) {
            if let Some(offset) = part.moments.next().filter(|offset| *offset < part.length) {
                return Some(part.begin + offset);
            }
            self.present += 1;
        }
        None
    }
}

impl Moments {
    fn new(arrivals: &Arrivals, span: Duration, seed: u64) -> Self {
        let span = span.as_secs_f64();
        let flat = |rate: f64, seconds: f64| Piece {
            seconds,
            from: rate,
            to: rate,
        };
        let mut gaps = Gaps::Even;
        let pieces = match arrivals {
            Arrivals::Constant { rate } => vec![flat(*rate, span)],
            Arrivals::Poisson { rate } => {
                gaps = Gaps::Exponential(fastrand::Rng::with_seed(seed));
                vec![flat(*rate, span)]
            }
            Arrivals::Ramp { from, to } => vec![Piece {
                seconds: span,
                from: *from,
                to: *to,
            }],
            Arrivals::Step { rates } => {
                let seconds = span / rates.len() as f64;
                rates.iter().map(|rate| flat(*rate, seconds)).collect()
            }
            Arrivals::Spike {
                base,
                peak,
                at,
                lasts,
            } => {
                let (at, lasts) = (at.as_secs_f64(), lasts.as_secs_f64());
                vec![
                    flat(*base, at),
                    flat(*peak, lasts),
                    flat(*base, span - at - lasts),
                ]
            }
            Arrivals::Replay { offsets } => {
                return Self::Recorded {
                    offsets: Arc::clone(offsets),
                    next: 0,
                };
            }
        };
        let mut rates = Rates {
            pieces,
            present: 0,
            before: 0.0,
            elapsed: 0.0,
            area: 0.0,
            gaps,
        };
        if matches!(rates.gaps, Gaps::Exponential(_)) {
            rates.step();
        }
        Self::Rates(rates)
    }

    fn next(&mut self) -> Option<u64> {
        match self {
            Self::Rates(rates) => rates.next(),
            Self::Recorded { offsets, next } => {
                let offset = offsets.get(*next)?;
                *next += 1;
                Some(nanoseconds(*offset))
            }
        }
    }
}

impl Rates {
    fn next(&mut self) -> Option<u64> {
        while let Some(piece) = self.pieces.get(self.present) {
            let within = self.area - self.before;
            if within < piece.area() {
                let moment = self.elapsed + piece.seconds_until(within);
                self.step();
                return Some((moment * 1e9) as u64);
            }
            self.before += piece.area();
            self.elapsed += piece.seconds;
            self.present += 1;
        }
        None
    }

    fn step(&mut self) {
        self.area += match &mut self.gaps {
            Gaps::Even => 1.0,
            // `f64()` may be 0 and is never 1.
            Gaps::Exponential(random) => -(1.0 - random.f64()).ln(),
        };
    }
}

impl Piece {
    /// Arrivals expected within it.
    fn area(&self) -> f64 {
        self.seconds.max(0.0) * (self.from + self.to) / 2.0
    }

    /// When the area under the rate reaches `area`: the root of `from·t + (to - from)·t²/(2·seconds) = area`, in the form
    /// that loses no digits when the rate hardly changes.
    fn seconds_until(&self, area: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        if area > 0.0 {
            2.0 * area / (self.from + root)
        } else {
            0.0
        }
    }
}

/// The arrivals of the warm-up: as at the beginning of the measurement.
fn beginning(arrivals: &Arrivals) -> Arrivals {
    match arrivals {
        Arrivals::Ramp { from: rate, .. } | Arrivals::Spike { base: rate, .. } => {
            Arrivals::Constant { rate: *rate }
        }
        Arrivals::Step { rates } => Arrivals::Constant {
            rate: rates.first().copied().unwrap_or_default(),
        },
        other => other.clone(),
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;
    const TEN: Duration = Duration::from_secs(10);

    fn offsets(arrivals: &Arrivals, seed: u64) -> Vec<u64> {
        Schedule::new(arrivals, NONE, TEN, seed).collect()
    }

    /// Arrivals in each second.
    fn each_second(arrivals: &Arrivals) -> Vec<usize> {
        let mut counts = vec![0; 10];
        for offset in offsets(arrivals, 1) {
            counts[usize::try_from(offset / 1_000_000_000).expect("small")] += 1;
        }
        counts
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_exactly_as_many_as_asked_for() {
        let moments = offsets(&Arrivals::Constant { rate: 1000.0 }, 1);
        assert_eq!(moments.len(), 10_000);
        for (index, moment) in moments.iter().enumerate() {
            assert!(
                moment.abs_diff(index as u64 * 1_000_000) <= 1,
                "{index}: {moment}"
            );
        }
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_deviation_of_an_exponential_distribution() {
        let moments = offsets(&Arrivals::Poisson { rate: 10_000.0 }, 3);
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64 / 1e3)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // 100,000 gaps of 100 µs: the standard error of the mean is 0.3 µs.
        assert!((mean - 100.0).abs() < 2.0, "{mean}");
        assert!((variance.sqrt() - 100.0).abs() < 4.0, "{}", variance.sqrt());
        let short = gaps.iter().filter(|gap| **gap < 10.0).count() as f64 / gaps.len() as f64;
        assert!((short - 0.0952).abs() < 0.005, "{short}");
    }

    #[test]
    fn a_ramp_grows_linearly_and_may_fall() {
        // The area of second k under a rate from 0 to 1000 is 50 + 100·k.
        for (second, count) in each_second(&Arrivals::Ramp {
            from: 0.0,
            to: 1000.0,
        })
        .iter()
        .enumerate()
        {
            assert!(count.abs_diff(50 + 100 * second) <= 1, "{second}: {count}");
        }
        for (second, count) in each_second(&Arrivals::Ramp {
            from: 1000.0,
            to: 0.0,
        })
        .iter()
        .enumerate()
        {
            assert!(count.abs_diff(950 - 100 * second) <= 1, "{second}: {count}");
        }
    }

    #[test]
    fn steps_share_the_time_and_a_spike_is_where_it_was_asked_for() {
        let steps = each_second(&Arrivals::Step {
            rates: vec![100.0, 0.0, 300.0, 200.0, 50.0],
        });
        assert_eq!(steps, [100, 100, 0, 0, 300, 300, 200, 200, 50, 50]);
        let spike = each_second(&Arrivals::Spike {
            base: 10.0,
            peak: 500.0,
            at: Duration::from_secs(3),
            lasts: Duration::from_secs(2),
        });
        assert_eq!(spike, [10, 10, 10, 500, 500, 10, 10, 10, 10, 10]);
    }

    #[test]
    fn a_replay_is_the_recording_until_the_time_is_over() {
        let recorded = [5, 5, 9_999, 10_000, 20_000].map(Duration::from_millis);
        let moments = offsets(
            &Arrivals::Replay {
                offsets: recorded.into(),
            },
            1,
        );
        assert_eq!(moments, [5_000_000, 5_000_000, 9_999_000_000]);
    }

    #[test]
    fn the_same_seed_gives_the_same_moments_and_another_gives_others() {
        let poisson = Arrivals::Poisson { rate: 500.0 };
        assert_eq!(offsets(&poisson, 4), offsets(&poisson, 4));
        assert_ne!(offsets(&poisson, 4), offsets(&poisson, 5));
    }

    #[test]
    fn a_warmup_has_the_first_rate_and_leaves_the_measurement_as_it_is() {
        let warmup = Duration::from_secs(2);
        for (arrivals, expected) in [
            (Arrivals::Constant { rate: 50.0 }, 100),
            (
                Arrivals::Ramp {
                    from: 20.0,
                    to: 90.0,
                },
                40,
            ),
            (
                Arrivals::Step {
                    rates: vec![30.0, 70.0],
                },
                60,
            ),
            (
                Arrivals::Replay {
                    offsets: [0, 1_999, 2_000].map(Duration::from_millis).into(),
                },
                2,
            ),
            (
                Arrivals::Poisson { rate: 50.0 },
                Schedule::new(&Arrivals::Poisson { rate: 50.0 }, warmup, NONE, 9).count(),
            ),
        ] {
            let both: Vec<u64> = Schedule::new(&arrivals, warmup, TEN, 9).collect();
            let (before, after) =
                both.split_at(both.partition_point(|moment| *moment < 2_000_000_000));
            assert_eq!(before.len(), expected, "{arrivals:?}");
            let alone = offsets(&arrivals, 9);
            assert_eq!(
                after
                    .iter()
                    .map(|moment| moment - 2_000_000_000)
                    .collect::<Vec<_>>(),
                alone
            );
        }
    }
}
