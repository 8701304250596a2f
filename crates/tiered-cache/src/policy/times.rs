//! When a new entry passes from phase to phase: the policy, what the entry has of its own, and a random
//! draw, made into points in time. Every sum saturates, so that no clock and no option overflows.

use std::time::Duration;

use super::{EntryOptions, Policy, validate::LONGEST};
use crate::{clock::millis, memory::Times};

impl Policy {
    /// The times of a value whose fill began at `filled` and took `cost`; `draw` is from 0 to 1.
    ///
    /// Its TTL begins when the fill ends: a load that takes longer than the TTL is of some use too.
    pub(crate) fn times(
        &self,
        options: &EntryOptions,
        filled: u64,
        cost: Duration,
        draw: f64,
    ) -> Times {
        let begins = filled.saturating_add(ms_up(cost));
        let ttl = jittered(options.ttl.unwrap_or(self.ttl), self.ttl_jitter, draw);
        let revalidate = options
            .stale_while_revalidate
            .unwrap_or(self.stale_while_revalidate);
        let fallback = options.stale_if_error.unwrap_or(self.stale_if_error);
        let fresh_until = begins.saturating_add(ttl);
        let revalidate_until = fresh_until.saturating_add(ms(revalidate));
        let refresh_from = self.refresh_ahead.map_or(u64::MAX, |share| {
            begins.saturating_add((ttl as f64 * share) as u64)
        });
        Times {
            filled,
            refresh_from,
            fresh_until,
            revalidate_until,
            keep_until: revalidate_until.max(fresh_until.saturating_add(ms(fallback))),
            idle_ms: self.idle_ttl.map_or(0, ms_up),
            cost_ms: u32::try_from(ms_up(cost)).unwrap_or(u32::MAX),
        }
    }

    /// The times of "there is none": fresh for `negative_ttl` or the entry's own TTL, then gone. They
    /// are over at once when it is not to be remembered.
    pub(crate) fn negative_times(
        &self,
        options: &EntryOptions,
        filled: u64,
        cost: Duration,
        draw: f64,
    ) -> Times {
        let begins = filled.saturating_add(ms_up(cost));
        let ttl = jittered(
            options.ttl.unwrap_or(self.negative_ttl),
            self.ttl_jitter,
            draw,
        );
        let fresh_until = begins.saturating_add(ttl);
        Times {
            filled,
            refresh_from: u64::MAX,
            fresh_until,
            revalidate_until: fresh_until,
            keep_until: fresh_until,
            idle_ms: 0,
            cost_ms: 0,
        }
    }

    /// The times of the copy that memory takes at `now` of an entry that tiers below have too: when
    /// `memory_ttl` is over they are asked, and the copy is at most a fallback, with windows of the
    /// same length.
    pub(crate) fn memory_times(
        &self,
        times: Times,
        options: &EntryOptions,
        now: u64,
        draw: f64,
    ) -> Times {
        let Some(ttl) = options.memory_ttl.or(self.memory_ttl) else {
            return times;
        };
        let until = now.saturating_add(jittered(ttl, self.ttl_jitter, draw));
        if until >= times.revalidate_until {
            return times;
        }
        let earlier = times.fresh_until.saturating_sub(until);
        // A refresh ahead of an end that this copy does not live to see.
        let never = until < times.refresh_from && times.refresh_from <= times.fresh_until;
        Times {
            refresh_from: if never { u64::MAX } else { times.refresh_from },
            fresh_until: times.fresh_until - earlier,
            revalidate_until: until,
            keep_until: times.keep_until.saturating_sub(earlier),
            ..times
        }
    }
}

impl Times {
    /// Whether the entry can serve nobody any more, and is not worth keeping.
    pub(crate) fn over(&self, now: u64) -> bool {
        self.keep_until <= now
    }

    /// For how long a tier below has to keep the entry.
    pub(crate) fn keep_for(&self, now: u64) -> Duration {
        Duration::from_millis(self.keep_until.saturating_sub(now))
    }

    /// After a load failed at `now` while this entry was in hand: for `throttle` no read asks again.
    ///
    /// What an invalidation expired before its time is counted as expired now. The end of the entry
    /// stays where it was, so that failures never prolong it.
    pub(crate) fn rearmed(self, now: u64, throttle: Duration) -> Self {
        self.quiet(now, throttle, self.fresh_until.min(now))
    }

    /// As [`rearmed`](Self::rearmed), when the entry was fresh and the load was only ahead of time.
    pub(crate) fn rearmed_fresh(self, now: u64, throttle: Duration) -> Self {
        self.quiet(now, throttle, self.fresh_until)
    }

    /// After a load in the background failed in a way that no old value may hide: from now on it no
    /// longer serves at once, so that the next caller meets the error.
    pub(crate) fn not_revalidated(self, now: u64) -> Self {
        Self {
            fresh_until: self.fresh_until.min(now),
            revalidate_until: self.revalidate_until.min(now),
            ..self
        }
    }

    fn quiet(self, now: u64, throttle: Duration, fresh_until: u64) -> Self {
        let earlier = self.fresh_until - fresh_until;
        Self {
            refresh_from: now.saturating_add(ms_up(throttle)).min(u64::MAX - 1),
            fresh_until,
            revalidate_until: self.revalidate_until.saturating_sub(earlier),
            keep_until: self.keep_until.saturating_sub(earlier),
            // XFetch rests until the next load, or it would ask all the same.
            cost_ms: 0,
            ..self
        }
    }
}

/// Up to the share `jitter` less than `ttl`, and never nothing of something.
fn jittered(ttl: Duration, jitter: f64, draw: f64) -> u64 {
    let whole = ms_up(ttl);
    let less = (whole as f64 * jitter * draw) as u64;
    whole.saturating_sub(less).max(whole.min(1))
}

fn ms(duration: Duration) -> u64 {
    // What an entry has of its own was checked by nobody: "for ever" is ten years.
    millis(duration.min(LONGEST))
}

/// Rounded up, so that a fraction of a millisecond is not "never".
fn ms_up(duration: Duration) -> u64 {
    ms(duration.saturating_add(Duration::from_nanos(999_999)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::{
        coherence::Standing,
        memory::Times,
        policy::{EntryOptions, Freshness, Policy, freshness},
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ordered(times: &Times) -> bool {
        times.filled <= times.fresh_until
            && times.fresh_until <= times.revalidate_until
            && times.revalidate_until <= times.keep_until
    }

    #[test]
    fn a_value_lives_from_the_end_of_its_load() {
        let policy = Policy {
            ttl: seconds(100),
            stale_while_revalidate: seconds(10),
            stale_if_error: seconds(50),
            refresh_ahead: Some(0.8),
            idle_ttl: Some(seconds(5)),
            ..Policy::default()
        };
        let times = policy.times(&EntryOptions::default(), 1_000, seconds(2), 0.0);
        assert_eq!(
            times,
            Times {
                filled: 1_000,
                refresh_from: 83_000,
                fresh_until: 103_000,
                revalidate_until: 113_000,
                keep_until: 153_000,
                idle_ms: 5_000,
                cost_ms: 2_000,
            }
        );
        let times = policy.times(&EntryOptions::default(), 1_000, seconds(2), 1.0);
        assert_eq!(times.fresh_until, 98_000, "five percent less");
        assert_eq!(
            times.refresh_from, 79_000,
            "the jitter moves the refresh too"
        );
    }

    #[test]
    fn what_an_entry_says_comes_before_the_policy() {
        let policy = Policy::default();
        let options = EntryOptions {
            ttl: Some(seconds(1)),
            stale_while_revalidate: Some(seconds(2)),
            stale_if_error: Some(seconds(1)),
            ..EntryOptions::default()
        };
        let times = policy.times(&options, 0, Duration::ZERO, 0.0);
        let ends = (times.fresh_until, times.revalidate_until, times.keep_until);
        assert_eq!(ends, (1_000, 3_000, 3_000));
    }

    #[test]
    fn a_ttl_of_zero_is_kept_only_for_its_windows() {
        let policy = Policy::default();
        let mut options = EntryOptions {
            ttl: Some(Duration::ZERO),
            ..EntryOptions::default()
        };
        assert!(policy.times(&options, 7, Duration::ZERO, 0.5).over(7));
        options.stale_if_error = Some(seconds(1));
        let times = policy.times(&options, 7, Duration::ZERO, 0.5);
        assert!(!times.over(7));
        let phase = freshness(&times, 0, 7, Standing::Valid, None);
        assert_eq!(phase, Freshness::Fallback);
    }

    #[test]
    fn absence_is_remembered_for_its_own_time_and_is_never_stale() {
        let mut policy = Policy {
            stale_if_error: seconds(100),
            ..Policy::default()
        };
        let options = EntryOptions::default();
        assert!(
            policy
                .negative_times(&options, 7, Duration::ZERO, 0.0)
                .over(7)
        );
        policy.negative_ttl = seconds(30);
        let times = policy.negative_times(&options, 7, Duration::ZERO, 0.0);
        let at = |now| freshness(&times, 0, now, Standing::Valid, None);
        assert_eq!(at(30_006), Freshness::Fresh);
        assert_eq!(at(30_007), Freshness::Gone);
        let expired = freshness(&times, 0, 8, Standing::Expired, None);
        assert_eq!(expired, Freshness::Gone);
    }

    #[test]
    fn after_its_ttl_the_copy_in_memory_is_at_most_a_fallback() {
        let policy = Policy {
            ttl: seconds(100),
            ttl_jitter: 0.0,
            memory_ttl: Some(seconds(10)),
            stale_while_revalidate: seconds(20),
            stale_if_error: seconds(50),
            refresh_ahead: Some(0.5),
            ..Policy::default()
        };
        let options = EntryOptions::default();
        let below = policy.times(&options, 0, Duration::ZERO, 0.0);
        let memory = |now| policy.memory_times(below, &options, now, 0.0);
        let at = |times: &Times, now| freshness(times, 0, now, Standing::Valid, None);
        let copy = memory(30_000);
        assert_eq!(at(&copy, 39_999), Freshness::Fresh);
        assert_eq!(at(&copy, 40_000), Freshness::Fallback);
        assert_eq!(at(&copy, 90_000), Freshness::Gone);
        // A copy that is due keeps its time, one of a stale entry its shorter window.
        assert_eq!(at(&memory(45_000), 50_000), Freshness::Due);
        let stale = memory(105_000);
        assert_eq!(at(&stale, 114_999), Freshness::Revalidate);
        assert_eq!(at(&stale, 115_000), Freshness::Fallback);
        assert_eq!(memory(140_000), below);
    }

    proptest! {
        #[test]
        fn nothing_overflows_and_phases_are_in_order(
            durations in any::<[Duration; 6]>(),
            own in any::<[Option<Duration>; 4]>(),
            filled in any::<u64>(),
            now in any::<u64>(),
            cost in any::<Duration>(),
            draw in 0.0..1.0_f64,
            share in proptest::option::of(0.001..0.999_f64),
            jitter in 0.0..=0.5_f64,
        ) {
            let [ttl, revalidate, fallback, negative, idle, memory] = durations;
            let policy = Policy {
                ttl,
                ttl_jitter: jitter,
                memory_ttl: Some(memory),
                idle_ttl: Some(idle),
                stale_while_revalidate: revalidate,
                stale_if_error: fallback,
                negative_ttl: negative,
                refresh_ahead: share,
                ..Policy::default()
            };
            let options = EntryOptions {
                ttl: own[0],
                memory_ttl: own[1],
                stale_while_revalidate: own[2],
                stale_if_error: own[3],
                ..EntryOptions::default()
            };
            let times = policy.times(&options, filled, cost, draw);
            prop_assert!(ordered(&times), "{times:?}");
            prop_assert!(times.refresh_from <= times.fresh_until || times.refresh_from == u64::MAX);
            prop_assert!(ordered(&policy.negative_times(&options, filled, cost, draw)));
            let copy = policy.memory_times(times, &options, now, draw);
            prop_assert!(copy.fresh_until <= times.fresh_until && copy.keep_until <= times.keep_until);
            prop_assert!(copy.fresh_until <= copy.revalidate_until, "{copy:?}");
            prop_assert!(copy.refresh_from <= copy.fresh_until || copy.refresh_from == u64::MAX);
            prop_assert!(copy.revalidate_until <= copy.keep_until, "{copy:?}");
            let again = copy.rearmed(now, cost);
            prop_assert!(again.fresh_until <= again.revalidate_until);
            prop_assert!(again.revalidate_until <= again.keep_until);
        }

        #[test]
        fn jitter_only_shortens_and_by_no_more_than_its_share(
            ttl in 1_u64..=super::LONGEST.as_millis() as u64,
            jitter in 0.0..=0.5_f64,
            draw in 0.0..1.0_f64,
        ) {
            let got = super::jittered(Duration::from_millis(ttl), jitter, draw);
            prop_assert!(got <= ttl && got >= 1);
            prop_assert!(got as f64 >= ttl as f64 * (1.0 - jitter) - 1.0);
        }
    }
}
