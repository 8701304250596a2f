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

    /// A machine on which the log-ratio of neighbouring blocks of the same program has the standard deviation `noise`.
    /// A block is log-normal; one in twenty is slower by up to six deviations; all sit on a random walk with a trend.
    struct Machine {
        random: fastrand::Rng,
        deviation: f64,
        trend: f64,
        drift: f64,
    }

    impl Machine {
        fn new(seed: u64, noise: f64) -> Self {
            let mut random = fastrand::Rng::with_seed(seed);
            // Two blocks of variance 1.58 (1 without outliers), and 0.07 for the drift between them.
            let deviation = noise / 3.23_f64.sqrt();
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
            let disturbed = self.random.f64() < 0.05;
            let outlier = if disturbed {
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

        /// Twelve pairs, where B takes `change` times as long as A.
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
            paired(a, b)
        }
    }

    fn paired(a: Vec<f64>, b: Vec<f64>) -> Paired {
        Paired {
            name: "time".to_owned(),
            a,
            b,
            higher_is_better: false,
            tolerance: 0.02,
        }
    }

    fn verdict_of(paired: &Paired) -> Verdict {
        judge(std::slice::from_ref(paired), ALPHA, 1)[0].verdict
    }

    #[test]
    fn fewer_than_2_percent_of_unchanged_comparisons_raise_an_alarm() {
        for noise in [0.01, 0.03, 0.10] {
            let alarms = (0..200).filter(|&comparison| {
                let mut machine = Machine::new(comparison, noise);
                let series: Vec<_> = (0..12).map(|_| machine.pairs(1.0)).collect();
                let calm = [Verdict::Equal, Verdict::Inconclusive];
                let judged = judge(&series, ALPHA, 1);
                judged.iter().any(|judged| !calm.contains(&judged.verdict))
            });
            let alarms = alarms.count();
            assert!(alarms < 4, "{alarms} of 200 at a noise of {noise}");
        }
    }

    #[test]
    fn a_change_of_5_percent_is_found_under_3_percent_of_noise() {
        let of_200 = |change: f64, verdict: Verdict| {
            let found =
                |&seed: &u64| verdict_of(&Machine::new(seed, 0.03).pairs(change)) == verdict;
            (0..200).filter(found).count()
        };
        let slower = of_200(1.05, Verdict::Regressed);
        assert!(slower >= 160, "{slower} of 200");
        let faster = of_200(1.0 / 1.05, Verdict::Improved);
        assert!(faster >= 160, "{faster} of 200");
    }

    #[test]
    fn nothing_changed_is_equal_where_the_machine_is_quiet_and_open_where_it_is_not() {
        let of_100 = |noise: f64, verdict: Verdict| {
            let found = |&seed: &u64| verdict_of(&Machine::new(seed, noise).pairs(1.0)) == verdict;
            (0..100).filter(found).count()
        };
        assert!(of_100(0.01, Verdict::Equal) >= 95);
        assert!(of_100(0.10, Verdict::Inconclusive) >= 95);
    }

    #[test]
    fn the_unit_does_not_matter() {
        for seed in 0..50 {
            let pairs = Machine::new(seed, 0.03).pairs(1.04);
            let mut scaled = pairs.clone();
            for value in scaled.a.iter_mut().chain(&mut scaled.b) {
                *value *= 1000.0;
            }
            assert_eq!(verdict_of(&scaled), verdict_of(&pairs), "{seed}");
        }
    }

    #[test]
    fn the_other_direction_is_the_other_verdict() {
        let opposite = |verdict| match verdict {
            Verdict::Regressed => Verdict::Improved,
            Verdict::Improved => Verdict::Regressed,
            same => same,
        };
        for seed in 0..50 {
            let pairs = Machine::new(seed, 0.03).pairs(1.04);
            let verdict = verdict_of(&pairs);
            let swapped = paired(pairs.b.clone(), pairs.a.clone());
            assert_eq!(verdict_of(&swapped), opposite(verdict), "{seed}");
            let rate = Paired {
                higher_is_better: true,
                ..pairs
            };
            assert_eq!(verdict_of(&rate), opposite(verdict), "{seed}");
        }
    }

    #[test]
    fn an_interval_within_the_tolerance_is_equal_however_significant() {
        let a: Vec<f64> = (1..=12).map(f64::from).collect();
        let b = a.iter().map(|value| value * 1.01).collect();
        let judged = &judge(&[paired(a, b)], ALPHA, 1)[0];
        assert!(judged.p < ALPHA);
        assert_eq!(judged.verdict, Verdict::Equal);
    }

    #[test]
    fn one_metric_of_many_needs_stronger_evidence() {
        let changed = Machine::new(1, 0.01).pairs(1.05);
        let same = paired(vec![1.0; 12], vec![1.0; 12]);
        let mut series = vec![changed.clone()];
        assert_eq!(judge(&series, ALPHA, 1)[0].p, 2.0 / 4096.0);
        series.resize(100, same);
        let judged = &judge(&series, ALPHA, 1)[0];
        assert_eq!(judged.p, 200.0 / 4096.0);
        assert_eq!(judged.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn what_cannot_be_compared_is_inconclusive_and_says_why() {
        let five = || vec![1.0; 5];
        for (a, b) in [
            (vec![], vec![]),
            (five(), vec![1.0; 6]),
            (vec![1.0; 4], vec![1.0; 4]),
            (five(), vec![0.0; 5]),
            (five(), vec![f64::NAN; 5]),
            (five(), vec![f64::INFINITY; 5]),
            (vec![-1.0; 5], five()),
        ] {
            let judged = &judge(&[paired(a, b)], ALPHA, 1)[0];
            assert_eq!(judged.verdict, Verdict::Inconclusive, "{judged:?}");
            assert!(
                judged.effect.is_none() && judged.problem.is_some(),
                "{judged:?}"
            );
        }
        assert!(judge(&[], ALPHA, 1).is_empty());
    }

    #[test]
    fn a_tolerance_that_is_no_number_is_none() {
        for tolerance in [f64::NAN, -0.5, f64::NEG_INFINITY] {
            let same = Paired {
                tolerance,
                ..paired(vec![1.0; 12], vec![1.0; 12])
            };
            assert_eq!(verdict_of(&same), Verdict::Equal, "{tolerance}");
        }
    }
}
