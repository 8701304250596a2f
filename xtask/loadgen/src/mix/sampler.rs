//! Weighted choice in constant time.

/// Chooses a number below its length by weights given once: Walker's alias method, two random numbers a choice however
/// many weights there are.
#[derive(Clone, Debug)]
pub(crate) struct Sampler(Box<[Cell]>);

/// One of equally likely cells: with this probability it stands for itself, otherwise for the other one.
#[derive(Clone, Copy, Debug)]
struct Cell {
    probability: f32,
    other: u32,
}

impl Sampler {
    /// `weights` are finite and above 0; there are at least one and at most 2^32.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut cells: Vec<Cell> = (0..weights.len() as u32)
            .map(|other| Cell {
                probability: 1.0,
                other,
            })
            .collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..shares.len()).partition(|&at| shares[at] < 1.0);
        while let (Some(low), Some(&high)) = (poor.pop(), rich.last()) {
            cells[low] = Cell {
                probability: shares[low] as f32,
                other: high as u32,
            };
            shares[high] -= 1.0 - shares[low];
            if shares[high] < 1.0 {
                rich.pop();
                poor.push(high);
            }
        }
        Self(cells.into())
    }

    /// The number k is chosen as often as (k + 1)^-skew says: a few keys are hot, most are cold.
    pub(crate) fn zipf(values: usize, skew: f64) -> Self {
        let weights: Vec<f64> = (1..=values).map(|rank| (rank as f64).powf(-skew)).collect();
        Self::new(&weights)
    }

    pub(crate) fn sample(&self, random: &mut fastrand::Rng) -> usize {
        if let [_] = *self.0 {
            return 0;
        }
        let at = random.usize(..self.0.len());
        let cell = self.0[at];
        if random.f32() < cell.probability {
            at
        } else {
            cell.other as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(sampler: &Sampler, values: usize) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = vec![0.0; values];
        for _ in 0..200_000 {
            counts[sampler.sample(&mut random)] += 1.0 / 200_000.0;
        }
        counts
    }

    #[test]
    fn each_number_comes_as_often_as_its_weight_says() {
        let seen = shares(&Sampler::new(&[9.0, 1.0, 0.5, 4.5]), 4);
        for (seen, expected) in seen.iter().zip([0.6, 1.0 / 15.0, 1.0 / 30.0, 0.3]) {
            assert!((seen - expected).abs() < 0.005, "{seen} beside {expected}");
        }
    }

    #[test]
    fn zipf_halves_from_the_first_to_the_second() {
        let seen = shares(&Sampler::zipf(100, 1.0), 100);
        let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1, 2, 10] {
            let expected = 1.0 / (rank as f64 * harmonic);
            assert!(
                (seen[rank - 1] - expected).abs() < 0.005,
                "rank {rank}: {}",
                seen[rank - 1]
            );
        }
    }

    #[test]
    fn one_weight_is_always_chosen() {
        assert_eq!(
            Sampler::new(&[0.001]).sample(&mut fastrand::Rng::with_seed(1)),
            0
        );
    }
}
