//! In which phase an entry is now: a pure decision on its times, how it stands against the floors, and
//! a random draw.

use crate::{coherence::Standing, memory::Times};

/// What may be done with an entry, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freshness {
    /// Answer with it.
    Fresh,
    /// Answer with it, and refresh it in the background: its end is near.
    Due,
    /// Answer with it as stale, and refresh it in the background.
    Revalidate,
    /// Answer with it as stale, and do not ask the loader: it has just failed.
    Throttled,
    /// Load; answer with it as stale if that fails or takes too long.
    Fallback,
    /// It is as if it were not there.
    Gone,
}

impl Freshness {
    /// Whether it counts as stale when it is answered.
    pub(crate) fn is_stale(self) -> bool {
        self > Self::Due
    }
}

/// The phase of an entry that was last read fresh at `read_ms` (0 when nobody counts; a stale read
/// does not count, or it would make an idle entry fresh again); `early` is the beta of XFetch and a draw
/// from 0 (inclusive) to 1 (exclusive).
///
/// As `now` rises phases only get worse, but for the end of a throttle.
#[inline]
pub(crate) fn freshness(
    times: &Times,
    read_ms: u64,
    now: u64,
    standing: Standing,
    early: Option<(f64, f64)>,
) -> Freshness {
    let expires = expires(times, read_ms);
    match standing {
        Standing::Valid if now < expires => {
            let drawn = || early.is_some_and(|(beta, draw)| xfetch(times, now, beta, draw));
            if now >= times.refresh_from || drawn() {
                Freshness::Due
            } else {
                Freshness::Fresh
            }
        }
        Standing::Valid | Standing::Expired => stale(times, expires, now),
        Standing::Removed => Freshness::Gone,
    }
}

/// The phase after the end of freshness. The windows are counted from `expires`; an entry that an
/// invalidation expired before is in its windows at once.
fn stale(times: &Times, expires: u64, now: u64) -> Freshness {
    let after = |end: u64| expires.saturating_add(end.saturating_sub(times.fresh_until));
    // A window of no length must not open for an entry that was expired early.
    let within = |end: u64| end > times.fresh_until && now < after(end);
    if !within(times.keep_until) {
        Freshness::Gone
    } else if throttled(times, now) {
        Freshness::Throttled
    } else if within(times.revalidate_until) {
        Freshness::Revalidate
    } else {
        Freshness::Fallback
    }
}

/// Only re-arming puts `refresh_from` past the end of freshness.
fn throttled(times: &Times, now: u64) -> bool {
    let asked_from = times.refresh_from;
    asked_from > times.fresh_until && asked_from != u64::MAX && now < asked_from
}

/// When its freshness ends, by its TTL or because nobody read it.
#[inline]
fn expires(times: &Times, read_ms: u64) -> u64 {
    if times.idle_ms == 0 {
        return times.fresh_until;
    }
    let loaded = times.filled.saturating_add(u64::from(times.cost_ms));
    let idle = read_ms.max(loaded).saturating_add(times.idle_ms);
    idle.min(times.fresh_until)
}

/// XFetch as published: `now - delta * beta * ln(rand) >= expiry`, with `rand` above 0 and up to 1.
fn xfetch(times: &Times, now: u64, beta: f64, draw: f64) -> bool {
    let gap = times.fresh_until.saturating_sub(now) as f64;
    let ahead = -f64::from(times.cost_ms) * beta * (1.0 - draw).ln();
    // Without a known cost there is nothing to weigh: `0 >= gap` is never so while it is fresh.
    ahead >= gap
}

/// Whether any draw could make the entry due now, so that far from its end none is drawn.
#[inline]
pub(crate) fn may_refresh_early(times: &Times, now: u64, beta: f64) -> bool {
    let gap = times.fresh_until.saturating_sub(now) as f64;
    f64::from(times.cost_ms) * beta * FARTHEST >= gap
}

/// Above `-ln(2^-53)`: 2^-53 is the smallest number that `1 - draw` can be.
const FARTHEST: f64 = 37.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Freshness, freshness, may_refresh_early};
    use crate::{chance::Chance, coherence::Standing, memory::Times};

    /// Filled at 100, due from 180, fresh to 200, revalidated to 250, a fallback to 300.
    const TIMES: Times = Times {
        filled: 100,
        refresh_from: 180,
        fresh_until: 200,
        revalidate_until: 250,
        keep_until: 300,
        idle_ms: 0,
        cost_ms: 10,
    };

    fn at(times: &Times, now: u64, standing: Standing) -> Freshness {
        freshness(times, 0, now, standing, None)
    }

    #[test]
    fn each_phase_begins_when_the_one_before_ends() {
        let phases = [100, 179, 180, 199, 200, 249, 250, 299, 300, u64::MAX]
            .map(|now| at(&TIMES, now, Standing::Valid));
        use Freshness::{Due, Fallback, Fresh, Gone, Revalidate};
        assert_eq!(
            phases,
            [
                Fresh, Fresh, Due, Due, Revalidate, Revalidate, Fallback, Fallback, Gone, Gone
            ]
        );
    }

    #[test]
    fn an_expired_entry_is_stale_at_once_and_a_removed_one_gone() {
        assert_eq!(at(&TIMES, 101, Standing::Expired), Freshness::Revalidate);
        assert_eq!(at(&TIMES, 260, Standing::Expired), Freshness::Fallback);
        assert_eq!(at(&TIMES, 101, Standing::Removed), Freshness::Gone);
        let no_windows = Times {
            revalidate_until: 200,
            keep_until: 200,
            ..TIMES
        };
        assert_eq!(at(&no_windows, 101, Standing::Expired), Freshness::Gone);
        let only_fallback = Times {
            revalidate_until: 200,
            ..TIMES
        };
        assert_eq!(
            at(&only_fallback, 101, Standing::Expired),
            Freshness::Fallback
        );
    }

    #[test]
    fn an_entry_that_is_read_lives_on_and_one_that_is_not_expires_with_its_windows() {
        let sliding = Times {
            idle_ms: 20,
            refresh_from: u64::MAX,
            ..TIMES
        };
        let at = |read, now| freshness(&sliding, read, now, Standing::Valid, None);
        assert_eq!(
            at(0, 129),
            Freshness::Fresh,
            "counted from the end of the load"
        );
        assert_eq!(at(0, 130), Freshness::Revalidate);
        assert_eq!(at(119, 138), Freshness::Fresh, "counted from the last read");
        assert_eq!(at(119, 139 + 50), Freshness::Fallback);
        assert_eq!(at(119, 139 + 100), Freshness::Gone);
        assert_eq!(
            at(199, 200),
            Freshness::Revalidate,
            "the TTL is the hard cap"
        );
    }

    #[test]
    fn after_a_failed_load_the_loader_rests_and_the_entry_ends_when_it_would_have() {
        let rearmed = TIMES.rearmed(260, Duration::from_millis(20));
        let phases = [260, 279, 280, 299, 300].map(|now| at(&rearmed, now, Standing::Valid));
        use Freshness::{Fallback, Gone, Throttled};
        assert_eq!(phases, [Throttled, Throttled, Fallback, Fallback, Gone]);
        // While it is revalidated it goes on to be, after the rest.
        let rearmed = TIMES.rearmed(210, Duration::from_millis(20));
        assert_eq!(at(&rearmed, 229, Standing::Valid), Throttled);
        assert_eq!(at(&rearmed, 230, Standing::Valid), Freshness::Revalidate);
        assert_eq!(rearmed.keep_until, TIMES.keep_until);
    }

    #[test]
    fn a_failed_refresh_of_a_fresh_entry_rests_too_and_leaves_it_fresh() {
        let rearmed = TIMES.rearmed_fresh(180, Duration::from_millis(10));
        let early = |now| freshness(&rearmed, 0, now, Standing::Valid, Some((1.0, 0.999)));
        let phases = [180, 189, 190, 199, 200].map(early);
        use Freshness::{Due, Fresh, Revalidate};
        assert_eq!(phases, [Fresh, Fresh, Due, Due, Revalidate]);
        let rearmed = TIMES.rearmed_fresh(195, Duration::from_millis(10));
        assert_eq!(at(&rearmed, 204, Standing::Valid), Freshness::Throttled);
        assert_eq!(at(&rearmed, 205, Standing::Valid), Revalidate);
    }

    #[test]
    fn an_expired_entry_that_was_rearmed_counts_its_windows_from_then() {
        let rearmed = TIMES.rearmed(120, Duration::from_millis(20));
        let phases =
            [120, 139, 140, 169, 170, 219, 220].map(|now| at(&rearmed, now, Standing::Expired));
        use Freshness::{Fallback, Gone, Revalidate, Throttled};
        assert_eq!(
            phases,
            [
                Throttled, Throttled, Revalidate, Revalidate, Fallback, Fallback, Gone
            ]
        );
    }

    /// Method: 100,000 seeded draws at each gap; the share that is due must lie within five standard
    /// deviations of exp(-gap / (beta * delta)), which a right formula misses once in 1.7 million.
    #[test]
    fn xfetch_refreshes_with_the_published_probability() {
        let chance = Chance::seeded(7);
        let times = Times {
            refresh_from: u64::MAX,
            fresh_until: 1_000_000,
            revalidate_until: 1_000_000,
            keep_until: 1_000_000,
            cost_ms: 400,
            ..TIMES
        };
        let draws = 100_000;
        for (beta, gap) in [
            (1.0, 1),
            (1.0, 100),
            (1.0, 400),
            (1.0, 2_000),
            (2.0, 800),
            (0.5, 600),
        ] {
            let now = times.fresh_until - gap;
            let due = (0..draws)
                .filter(|_| {
                    let early = Some((beta, chance.unit()));
                    freshness(&times, 0, now, Standing::Valid, early) == Freshness::Due
                })
                .count() as f64;
            let expected = (-(gap as f64) / (beta * 400.0)).exp();
            let deviation = (expected * (1.0 - expected) / f64::from(draws)).sqrt();
            let share = due / f64::from(draws);
            assert!(
                (share - expected).abs() <= 5.0 * deviation,
                "beta {beta}, gap {gap} ms: {share} of {expected}"
            );
        }
    }

    fn any_times() -> impl Strategy<Value = Times> {
        let ends = any::<[u64; 4]>().prop_map(|mut ends| {
            ends.sort_unstable();
            ends
        });
        (ends, any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
            |([filled, fresh_until, revalidate_until, keep_until], refresh, idle_ms, cost_ms)| {
                Times {
                    filled,
                    refresh_from: if refresh <= fresh_until {
                        refresh
                    } else {
                        u64::MAX
                    },
                    fresh_until,
                    revalidate_until,
                    keep_until,
                    idle_ms,
                    cost_ms,
                }
            },
        )
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        prop_oneof![
            Just(Standing::Valid),
            Just(Standing::Expired),
            Just(Standing::Removed)
        ]
    }

    proptest! {
        #[test]
        fn phases_never_get_better_with_time(
            times in any_times(),
            read in any::<u64>(),
            standing in any_standing(),
            draw in 0.0..1.0_f64,
            beta in proptest::option::of(0.001..100.0_f64),
            mut nows in any::<[u64; 2]>(),
        ) {
            nows.sort_unstable();
            let at = |now| freshness(&times, read, now, standing, beta.map(|beta| (beta, draw)));
            prop_assert!(at(nows[0]) <= at(nows[1]));
        }

        #[test]
        fn a_worse_standing_never_gives_a_better_phase(
            times in any_times(), read in any::<u64>(), now in any::<u64>(),
        ) {
            let of = |standing| freshness(&times, read, now, standing, None);
            prop_assert!(of(Standing::Valid) <= of(Standing::Expired));
            prop_assert!(of(Standing::Expired) > Freshness::Due);
            prop_assert_eq!(of(Standing::Removed), Freshness::Gone);
        }

        #[test]
        fn rearming_never_prolongs_and_always_rests(
            times in any_times(), now in any::<u64>(), throttle in any::<Duration>(),
            standing in any_standing(), then in any::<u64>(),
        ) {
            let before = freshness(&times, 0, now, standing, None);
            prop_assume!(before != Freshness::Gone);
            let rearmed = times.rearmed(now, throttle);
            prop_assert!(rearmed.keep_until <= times.keep_until);
            prop_assert!(rearmed.fresh_until <= now);
            let later = freshness(&rearmed, 0, now.max(then), standing, None);
            prop_assert!(later.is_stale(), "what was rearmed is not fresh: {later:?}");
            if now.max(then) < rearmed.refresh_from.min(rearmed.keep_until) && now > rearmed.filled {
                prop_assert!(matches!(later, Freshness::Throttled | Freshness::Gone));
            }
        }

        #[test]
        fn where_no_draw_could_make_it_due_none_does(
            gap in 1..10_000_000_u64, cost_ms in 0..100_000_u32, beta in 0.001..100.0_f64,
        ) {
            let times = Times {
                refresh_from: u64::MAX,
                fresh_until: 20_000_000,
                cost_ms,
                ..TIMES
            };
            let now = times.fresh_until - gap;
            let luckiest = 1.0 - f64::EPSILON / 2.0;
            let phase = freshness(&times, 0, now, Standing::Valid, Some((beta, luckiest)));
            if !may_refresh_early(&times, now, beta) {
                prop_assert_eq!(phase, Freshness::Fresh);
            }
        }
    }
}
