//! The one source of randomness: seeded by the system in service, by the test in a simulation, so that
//! a failing schedule can be played again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::{mix, unique};

/// A sequence of random numbers, shared by all who draw from it (SplitMix64).
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    pub(crate) fn from_system() -> Self {
        Self(AtomicU64::new(unique()))
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn draw(&self) -> u64 {
        // Each draw is a number of its own; nothing else is ordered by it.
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }

    /// A number from 0 (inclusive) to 1 (exclusive).
    pub(crate) fn unit(&self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
