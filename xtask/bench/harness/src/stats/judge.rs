//! The verdict on a change: what the pairs of each metric say, all metrics considered.

use super::{Interval, PairsError, holm, log_ratios, mean, sign_flip};

/// One metric measured on two sides in turns: `a[i]` and `b[i]` are neighbours in time.
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
    /// The relative change from A to B with its interval: 0.05 for 5 % more. `None` if the pairs cannot be compared.
    pub effect: Option<Interval>,
    /// The p-value of a change beyond the tolerance, adjusted for the number of metrics.
    pub p: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Why there is no effect.
    pub problem: Option<PairsError>,
}

/// Whether a change is for the worse, the better or none, as far as one can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Worse by more than the tolerance: the whole interval lies beyond it, and the adjusted p-value is below `alpha`.
    Regressed,
    /// Better by more than the tolerance, likewise.
    Improved,
    /// The whole interval lies within the tolerance.
    Equal,
    /// Anything else: more pairs or a quieter machine are needed.
    Inconclusive,
}

/// Judges every metric of a comparison, in their order.
pub fn judge(series: &[Paired], alpha: f64, seed: u64) -> Vec<Judgement> {
    let ratios: Vec<_> = series
        .iter()
        .map(|paired| log_ratios(&paired.a, &paired.b))
        .collect();
    let ps: Vec<f64> = ratios
        .iter()
        .zip(series)
        .map(|(ratios, paired)| {
            ratios.as_ref().map_or(1.0, |ratios| {
                let negated: Vec<f64> = ratios.iter().map(|ratio| -ratio).collect();
                let tolerance = paired.tolerance.ln_1p();
                2.0 * sign_flip(ratios, tolerance, seed).min(sign_flip(&negated, tolerance, seed))
            })
        })
        .collect();
    series
        .iter()
        .zip(ratios)
        .zip(holm(&ps))
        .map(|((paired, ratios), p)| {
            let problem = ratios.as_ref().err().copied();
            let effect = ratios
                .ok()
                .and_then(|ratios| mean(&ratios, seed))
                .map(|log| Interval {
                    value: log.value.exp_m1(),
                    low: log.low.exp_m1(),
                    high: log.high.exp_m1(),
                });
            Judgement {
                name: paired.name.clone(),
                verdict: effect.map_or(Verdict::Inconclusive, |effect| {
                    verdict(paired, effect, p < alpha)
                }),
                effect,
                p,
                problem,
            }
        })
        .collect()
}

fn verdict(paired: &Paired, effect: Interval, significant: bool) -> Verdict {
    let (above, below) = if paired.higher_is_better {
        (Verdict::Improved, Verdict::Regressed)
    } else {
        (Verdict::Regressed, Verdict::Improved)
    };
    let tolerance = paired.tolerance;
    if effect.low > tolerance && significant {
        above
    } else if effect.high < -tolerance && significant {
        below
    } else if effect.low >= -tolerance && effect.high <= tolerance {
        Verdict::Equal
    } else {
        Verdict::Inconclusive
    }
}
