//! Collects pairs of blocks: what is measured of one side is measured of the other right after, in random order, so
//! that what disturbs the machine disturbs both alike. How many pairs there will be is settled before the first one
//! counts: looking at figures to decide when to stop would find differences where there are none.

use std::fmt;
use std::time::Duration;

use harness::Metric;
use harness::stats::{ALPHA, pairs_needed};
use loadgen::Stop;

use super::verdict::Key;

/// How long a comparison takes where nobody said.
pub(crate) const USUAL_TIME: Duration = Duration::from_secs(90);
/// More would sharpen nothing that a person acts on.
pub(super) const PAIRS_MAX: usize = 100;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What is compared with: a commit, a baseline.
    A,
    /// Another one, or this tree.
    B,
}

/// What both sides gave, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pair {
    pub(crate) a: Vec<Metric>,
    pub(crate) b: Vec<Metric>,
}

/// How long to collect, and where chance begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The longest time, if somebody set it.
    pub(crate) max_time: Option<Duration>,
    /// Else this time, or longer if a verdict needs it.
    pub(crate) usual_time: Duration,
    pub(crate) seed: u64,
}

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) pairs: Vec<Pair>,
    /// How many pairs were planned.
    pub(crate) planned: usize,
    /// How many a verdict needs at least.
    pub(crate) needed: usize,
    /// How long one pair takes.
    pub(crate) pair_time: Duration,
    /// Why there are fewer than planned.
    pub(crate) ended: Option<Ended>,
}

/// Why collecting ended early.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Ctrl-C.
    Interrupted,
    /// A block could not be measured.
    Failed(anyhow::Error),
    /// Pairs took longer than the first one promised.
    TimeUp,
}

impl Collected {
    /// How many pairs of these blocks a comparison has if nobody limits its time.
    pub(crate) fn usual_pairs(&self) -> usize {
        pairs_planned(Plan::usual(0), self.pair_time, self.needed)
    }
}

impl Plan {
    /// That of a comparison of which nobody limits the time.
    pub(crate) fn usual(seed: u64) -> Self {
        Self {
            max_time: None,
            usual_time: USUAL_TIME,
            seed,
        }
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pair {} of {}", self.pairs.len() + 1, self.planned)
    }
}

/// Collects pairs. `block` measures one side; `elapsed` tells the time since the beginning; `begun` hears how many
/// pairs there will be, then the number of each pair.
///
/// The first pair is thrown away: it warms up files and machine, and tells how many pairs fit into the time.
pub(crate) fn collect(
    plan: Plan,
    stop: &Stop,
    elapsed: impl Fn() -> Duration,
    mut block: impl FnMut(Side) -> anyhow::Result<Vec<Metric>>,
    mut begun: impl FnMut(&Collected),
) -> Collected {
    let mut collected = Collected::default();
    let mut order = fastrand::Rng::with_seed(plan.seed);
    let first = match pair(&mut block, &mut order, stop) {
        Ok(pair) => pair,
        Err(ended) => {
            collected.ended = Some(ended);
            return collected;
        }
    };
    collected.pair_time = elapsed();
    let timed = first.a.iter().filter(|metric| !Key::of(metric).is_exact());
    collected.needed = pairs_needed(timed.count(), ALPHA);
    collected.planned = pairs_planned(plan, collected.pair_time, collected.needed);
    // Half more than planned: a machine that became slow is not waited for without end.
    let limit = collected.pair_time * u32::try_from(collected.planned + 1).unwrap_or(u32::MAX);
    let limit = limit + limit / 2;
    while collected.pairs.len() < collected.planned {
        if elapsed() > limit {
            collected.ended = Some(Ended::TimeUp);
            break;
        }
        begun(&collected);
        match pair(&mut block, &mut order, stop) {
            Ok(pair) => collected.pairs.push(pair),
            Err(ended) => {
                collected.ended = Some(ended);
                break;
            }
        }
    }
    collected
}

/// One block of each side. What an interrupt leaves of a pair is of no use.
fn pair(
    block: &mut impl FnMut(Side) -> anyhow::Result<Vec<Metric>>,
    order: &mut fastrand::Rng,
    stop: &Stop,
) -> Result<Pair, Ended> {
    let sides = if order.bool() {
        [Side::A, Side::B]
    } else {
        [Side::B, Side::A]
    };
    let mut pair = Pair::default();
    for side in sides {
        let measured = block(side);
        if stop.is_stopped() {
            return Err(Ended::Interrupted);
        }
        let measured = measured.map_err(Ended::Failed)?;
        match side {
            Side::A => pair.a = measured,
            Side::B => pair.b = measured,
        }
    }
    Ok(pair)
}

fn pairs_planned(plan: Plan, pair_time: Duration, needed: usize) -> usize {
    let time = plan
        .max_time
        .unwrap_or(plan.usual_time)
        .saturating_sub(pair_time);
    let fit = (time.as_secs_f64() / pair_time.as_secs_f64().max(1e-3)).floor();
    let planned = (fit as usize).clamp(1, PAIRS_MAX);
    match plan.max_time {
        Some(_) => planned,
        // One more than the least, which would take every single pair to agree.
        None => planned.max(needed + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn metric(value: f64) -> Metric {
        format!("METRIC hello closed-8 ours rate req/s {value} {value} {value} 1")
            .parse()
            .expect("a line")
    }

    /// Collects blocks of half a second each and returns the order of the sides too.
    fn collected(max_time: Option<Duration>, seed: u64) -> (Collected, Vec<Side>) {
        let (sides, clock) = (RefCell::new(Vec::new()), Cell::new(Duration::ZERO));
        let collected = collect(
            Plan {
                max_time,
                ..Plan::usual(seed)
            },
            &Stop::new(),
            || clock.get(),
            |side| {
                clock.set(clock.get() + SECOND / 2);
                sides.borrow_mut().push(side);
                Ok(vec![metric(clock.get().as_secs_f64())])
            },
            |_| {},
        );
        (collected, sides.into_inner())
    }

    #[test]
    fn every_pair_has_both_sides_in_an_order_that_the_seed_decides() {
        let (one, sides) = collected(None, 7);
        assert_eq!(
            one.pairs.len(),
            89,
            "90 s and 1 s for each pair, one of them thrown away"
        );
        let orders: Vec<_> = sides.chunks(2).collect();
        assert!(orders.iter().all(|pair| pair[0] != pair[1]));
        let first = |side| orders.iter().filter(|pair| pair[0] == side).count();
        assert!(first(Side::A) > 20 && first(Side::B) > 20);
        assert_eq!(sides, collected(None, 7).1);
        assert_ne!(sides, collected(None, 8).1);
    }

    #[test]
    fn the_first_pair_counts_only_for_the_plan() {
        let (one, sides) = collected(Some(11 * SECOND), 1);
        assert_eq!((one.planned, one.pairs.len(), sides.len()), (10, 10, 22));
        assert_eq!(one.pair_time, SECOND);
        let values = one.pairs[0].a.iter().chain(&one.pairs[0].b);
        assert!(values.map(|one| one.value).all(|value| value > 1.0));
    }

    #[test]
    fn without_a_limit_there_are_as_many_pairs_as_a_verdict_needs() {
        let planned = |max_time, pair_time| {
            let plan = Plan {
                max_time,
                ..Plan::usual(1)
            };
            pairs_planned(plan, pair_time, 11)
        };
        assert_eq!(planned(None, 20 * SECOND), 12);
        assert_eq!(planned(Some(90 * SECOND), 20 * SECOND), 3);
        assert_eq!(planned(Some(SECOND), 20 * SECOND), 1);
        assert_eq!(planned(None, Duration::ZERO), PAIRS_MAX);
    }

    #[test]
    fn a_block_that_fails_keeps_the_pairs_before_it() {
        let blocks = Cell::new(0);
        let collected = collect(
            Plan::usual(1),
            &Stop::new(),
            || SECOND,
            |_| {
                blocks.set(blocks.get() + 1);
                anyhow::ensure!(blocks.get() < 8, "the server died");
                Ok(vec![metric(1.0)])
            },
            |_| {},
        );
        assert_eq!(collected.pairs.len(), 2);
        let Some(Ended::Failed(error)) = collected.ended else {
            panic!("{collected:?}");
        };
        assert_eq!(error.to_string(), "the server died");
    }

    #[test]
    fn an_interrupt_keeps_whole_pairs_only() {
        let (stop, blocks) = (Stop::new(), Cell::new(0));
        let collected = collect(
            Plan::usual(1),
            &stop,
            || SECOND,
            |_| {
                blocks.set(blocks.get() + 1);
                if blocks.get() == 7 {
                    stop.stop();
                }
                Ok(vec![metric(1.0)])
            },
            |_| {},
        );
        assert_eq!(collected.pairs.len(), 2);
        assert!(matches!(collected.ended, Some(Ended::Interrupted)));
    }

    #[test]
    fn a_machine_that_became_slow_is_not_waited_for() {
        let clock = Cell::new(Duration::ZERO);
        let collected = collect(
            Plan {
                max_time: Some(11 * SECOND),
                ..Plan::usual(1)
            },
            &Stop::new(),
            || clock.get(),
            |_| {
                let slow = if clock.get() < SECOND { 1 } else { 10 };
                clock.set(clock.get() + slow * SECOND / 2);
                Ok(vec![metric(1.0)])
            },
            |_| {},
        );
        assert!(collected.pairs.len() < 4, "{}", collected.pairs.len());
        assert!(matches!(collected.ended, Some(Ended::TimeUp)));
    }
}
