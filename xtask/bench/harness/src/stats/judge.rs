//! The verdict on a change: what the pairs of each metric say, all metrics considered.

use super::pairs::centre;
use super::{Interval, PairsError, holm, log_ratios, signed_rank};

/// The probability of a false alarm in a comparison that [`judge`] is usually asked for.
pub const ALPHA: f64 = 0.02;

/// One metric measured on two sides in turns: `a[i]` and `b[i]` are neighbours in time, which of them came first is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    /// What is compared, for the caller to recognise it.
    pub name: String,
    /// The side before the change.
    pub a: Vec<f64>,
    /// The side after the change.
    pub b: Vec<f64>,
    /// Whether more of it is better: true for rates, false for times.
    pub higher_is_better: bool,
    /// The relative change that does not matter: 0.02 for 2 %.
    pub tolerance: f64,
}

/// What the pairs of one metric say.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// As in [`Paired`].
    pub name: String,
    /// The relative change from A to B with its interval: 0.05 for 5 % more.
    pub effect: Option<Interval>,
    /// Why there is no effect; the verdict is `Inconclusive` then.
    pub problem: Option<PairsError>,
    /// The p-value of "nothing changed", adjusted for the number of metrics.
    pub p: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// Whether a change is for the worse, for the better or none, as far as one can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Worse: the whole interval lies beyond the tolerance, and the p-value is below `alpha`.
    Regressed,
    /// Better, likewise.
    Improved,
    /// The whole interval lies within the tolerance.
    Equal,
    /// Neither: more pairs or a quieter machine would tell.
    Inconclusive,
}

/// Judges every metric of a comparison, in their order. `alpha` bounds the probability that any of them is called
/// `Regressed` or `Improved` although nothing changed. A tolerance that is negative or no number counts as 0.
pub fn judge(series: &[Paired], alpha: f64, seed: u64) -> Vec<Judgement> {
    let ratios: Vec<_> = series
        .iter()
        .map(|paired| log_ratios(&paired.a, &paired.b))
        .collect();
    let p = |ratios: &Result<Vec<f64>, _>| ratios.as_deref().map_or(1.0, signed_rank);
    let adjusted = holm(&ratios.iter().map(p).collect::<Vec<_>>());
    let judged = series.iter().zip(ratios).zip(adjusted);
    judged
        .map(|((paired, ratios), p)| {
            let effect = ratios.and_then(|ratios| centre(&ratios, seed));
            Judgement {
                name: paired.name.clone(),
                problem: effect.err(),
                effect: effect.ok().map(|Interval { value, low, high }| Interval {
                    value: value.exp_m1(),
                    low: low.exp_m1(),
                    high: high.exp_m1(),
                }),
                p,
                verdict: effect.map_or(Verdict::Inconclusive, |effect| {
                    verdict(effect, paired.tolerance, p < alpha, paired.higher_is_better)
                }),
            }
        })
        .collect()
}

/// `effect` is logarithmic, so that A against B and B against A are judged alike.
fn verdict(effect: Interval, tolerance: f64, significant: bool, higher_is_better: bool) -> Verdict {
    let tolerance = tolerance.max(0.0).ln_1p();
    let (more, less) = if higher_is_better {
        (Verdict::Improved, Verdict::Regressed)
    } else {
        (Verdict::Regressed, Verdict::Improved)
    };
    if effect.low > tolerance && significant {
        more
    } else if effect.high < -tolerance && significant {
        less
    } else if effect.low >= -tolerance && effect.high <= tolerance {
        Verdict::Equal
    } else {
        Verdict::Inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise of a block: log-normal, one block in twenty up to six times as far off, on a random walk with a trend.
    struct Machine {
        random: fastrand::Rng,
        deviation: f64,
        trend: f64,
        drift: f64,
    }

    impl Machine {
        fn new(seed: u64, deviation: f64) -> Self {
            let mut random = fastrand::Rng::with_seed(seed);
            let trend = (random.f64() - 0.5) * 0.3 * deviation;
            Self {
                random,
                deviation,
                trend,
                drift: 0.0,
            }
        }

        fn block(&mut self, value: f64) -> f64 {
            self.drift += self.trend + 0.25 * self.deviation * self.normal();
            let outlier = if self.random.f64() < 0.05 {
                6.0 * self.random.f64()
            } else {
                0.0
            };
            value * (self.drift + self.deviation * (self.normal() + outlier)).exp()
        }

        fn normal(&mut self) -> f64 {
            let radius = (-2.0 * (1.0 - self.random.f64()).ln()).sqrt();
            radius * (std::f64::consts::TAU * self.random.f64()).cos()
        }

        /// Twelve pairs; B is `change` times A.
        fn pairs(&mut self, change: f64) -> Paired {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for _ in 0..12 {
                if self.random.bool() {
                    a.push(self.block(100.0));
                    b.push(self.block(100.0 * change));
                } else {
                    b.push(self.block(100.0 * change));
                    a.push(self.block(100.0));
                }
            }
            Paired {
                name: "time".to_owned(),
                a,
                b,
                higher_is_better: false,
                tolerance: 0.02,
            }
        }
    }

    #[test]
    fn fewer_than_2_percent_of_unchanged_comparisons_raise_an_alarm() {
        for deviation in [0.01, 0.03, 0.10] {
            let alarms = (0..200).filter(|comparison| {
                let mut machine = Machine::new(*comparison, deviation);
                let series: Vec<_> = (0..12).map(|_| machine.pairs(1.0)).collect();
                let calm = [Verdict::Equal, Verdict::Inconclusive];
                judge(&series, ALPHA, 1)
                    .iter()
                    .any(|judged| !calm.contains(&judged.verdict))
            });
            let alarms = alarms.count();
            assert!(alarms < 4, "{alarms} of 200 at {deviation}");
        }
    }
}
