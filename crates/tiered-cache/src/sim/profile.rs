//! The setting of one schedule: how many replicas, which tiers, which policies, how much goes wrong.

use std::time::Duration;

use super::dice::Dice;
use crate::{Capacity, Policy};

#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) replicas: usize,
    pub(super) redis: bool,
    pub(super) disk: bool,
    pub(super) policy: Policy,
    pub(super) steps: u64,
    /// One step in so many changes how servers, lines or disks behave; 0 is never.
    pub(super) fault_every: u64,
    /// One step in so many kills or starts a process; 0 is never.
    pub(super) kill_every: u64,
}

impl Profile {
    pub(super) fn draw(dice: &Dice) -> Self {
        let redis = !dice.one_in(6);
        Self {
            replicas: if redis {
                dice.pick(&[1, 2, 2, 2, 3])
            } else {
                1
            },
            redis,
            disk: dice.one_in(2),
            policy: policy(dice),
            steps: dice.pick(&[20, 20, 30, 30, 40, 80]),
            fault_every: dice.pick(&[0, 3, 6, 6, 12]),
            kill_every: dice.pick(&[0, 0, 20, 40]),
        }
    }
}

fn policy(dice: &Dice) -> Policy {
    let seconds = |some: &[u64]| Duration::from_secs(dice.pick(some));
    Policy {
        ttl: seconds(&[2, 20, 600, 600]),
        memory_ttl: dice.one_in(4).then(|| Duration::from_secs(1)),
        idle_ttl: dice.one_in(6).then(|| Duration::from_secs(2)),
        stale_while_revalidate: seconds(&[0, 0, 5, 60]),
        stale_if_error: seconds(&[0, 0, 60]),
        error_throttle: seconds(&[1, 5]),
        soft_timeout: dice.one_in(3).then(|| Duration::from_millis(50)),
        load_timeout: LOAD_TIMEOUT,
        loads_max: dice.pick(&[2, 64, 64]),
        refresh_ahead: dice.one_in(4).then_some(0.5),
        early_refresh: dice.one_in(4).then_some(1.0),
        negative_ttl: seconds(&[0, 5, 60]),
        error_ttl: seconds(&[0, 0, 1]),
        capacity: Capacity::Entries(dice.pick(&[2, 100, 100])),
        pack_above: dice.one_in(3).then_some(100),
        compress_above: dice.pick(&[64, 1024]),
        ..Policy::default()
    }
}

pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(3);
/// Rows of each of the two caches.
pub(super) const PER_CACHE: usize = 3;
