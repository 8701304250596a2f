//! Everything random of a schedule, drawn from one seed.

use crate::chance::Chance;

/// Draws; shared by reference, because what is drawn next depends on nothing but how often was drawn.
#[derive(Debug)]
pub(super) struct Dice(Chance);

impl Dice {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(Chance::seeded(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }

    /// Dice of their own, so that one part's draws do not shift another's.
    pub(super) fn fork(&self) -> Self {
        Self(Chance::seeded(self.0.draw()))
    }

    pub(super) fn number(&self) -> u64 {
        self.0.draw()
    }

    /// From 0 to `n - 1`.
    pub(super) fn below(&self, n: u64) -> u64 {
        self.0.draw() % n.max(1)
    }

    pub(super) fn index(&self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub(super) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&self, among: &[T]) -> T {
        among[self.index(among.len())]
    }

    /// One of them, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&self, among: &[(u64, T)]) -> T {
        let mut left = self.below(among.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in among {
            if left < *weight {
                return *one;
            }
            left -= weight;
        }
        among[0].1
    }
}
