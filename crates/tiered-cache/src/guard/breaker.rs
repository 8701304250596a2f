//! The breaker before a tier: a pure state machine that is told what happened, and when.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::error::ConfigError;

/// When a tier that fails is left alone, and when it is tried again; every field has a default.
///
/// *Closed*: every call goes to the tier, and the last ones are counted. *Open*: no call does, so a tier
/// that is down costs nothing. *Half-open*: a few calls go through as probes; if they succeed the breaker
/// closes, if one fails it opens again, for longer.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerConfig {
    /// How long a call counts. Longer notices rarer failures, and forgets old ones later.
    /// Default: 10 s.
    pub window: Duration,
    /// It opens when this share of the calls in the window failed or ran out of time; above 0, at
    /// most 1. Default: 0.5.
    pub failure_rate: f64,
    /// With fewer calls in the window the rate says nothing. Default: 20.
    pub calls_min: u32,
    /// It also opens after so many failures without a success between them, so that a tier with few calls
    /// is left alone as well; 0 turns this off. Default: 5.
    pub failures_in_row: u32,
    /// How long it stays open the first time; doubles each time that a probe fails. Default: 1 s.
    pub open_for: Duration,
    /// The longest it stays open before the next probe. Default: 30 s.
    pub open_for_max: Duration,
    /// Each pause is longer by up to this share of itself, so that the replicas do not probe together;
    /// 0 to 1. Default: 0.2.
    pub jitter: f64,
    /// How many probes may be under way at a time, and how many must succeed for it to close; at
    /// least 1. Default: 2.
    pub probes: u32,
}

/// What a breaker does with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerState {
    /// It goes to the tier.
    Closed,
    /// It does not.
    Open,
    /// It goes to the tier if not enough others are trying it out.
    HalfOpen,
}

/// Leave for one call. Each is given back by [`Breaker::returned`], whatever became of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    /// Which opening this call probes; `None` while closed.
    probes: Option<u64>,
    /// How often it had opened when the call began.
    opened: u64,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// It was cancelled, or the tier says that it did not try: nothing is known.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    window: VecDeque<Slice>,
    in_row: u32,
    /// How often it opened: what a call before an opening tells has no part in what is decided after.
    opened: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open {
        until: Instant,
        pause: Duration,
    },
    HalfOpen {
        pause: Duration,
        under_way: u32,
        succeeded: u32,
    },
}

/// The calls of a tenth of the window.
#[derive(Debug, Clone, Copy)]
struct Slice {
    begun: Instant,
    calls: u32,
    failures: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            failure_rate: 0.5,
            calls_min: 20,
            failures_in_row: 5,
            open_for: Duration::from_secs(1),
            open_for_max: Duration::from_secs(30),
            jitter: 0.2,
            probes: 2,
        }
    }
}

impl BreakerConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let times = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        let durations = [
            ("breaker.window", self.window),
            ("breaker.open_for", self.open_for),
            ("breaker.open_for_max", self.open_for_max),
        ];
        for (field, value) in durations {
            if !times.contains(&value) {
                return Err(ConfigError::Value {
                    field,
                    value: format!("{value:?}"),
                    expected: "use 1 ms to 1 day",
                });
            }
        }
        let refuse = |field, value: String, expected| {
            Err(ConfigError::Value {
                field,
                value,
                expected,
            })
        };
        if !(self.failure_rate > 0.0 && self.failure_rate <= 1.0) {
            let value = self.failure_rate.to_string();
            return refuse("breaker.failure_rate", value, "use more than 0, at most 1");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return refuse("breaker.jitter", self.jitter.to_string(), "use 0 to 1");
        }
        if self.probes == 0 {
            return refuse("breaker.probes", "0".into(), "use at least 1");
        }
        Ok(())
    }
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed,
            window: VecDeque::with_capacity(SLICES + 1),
            in_row: 0,
            opened: 0,
        }
    }

    /// Leave for a call, or `None`: do not ask the tier.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Leave> {
        if let State::Open { until, pause } = self.state
            && now >= until
        {
            self.state = State::HalfOpen {
                pause,
                under_way: 0,
                succeeded: 0,
            };
        }
        let probes = match &mut self.state {
            State::Closed => None,
            State::Open { .. } => return None,
            State::HalfOpen {
                under_way,
                succeeded,
                ..
            } => {
                if *under_way + *succeeded >= self.config.probes {
                    return None;
                }
                *under_way += 1;
                Some(self.opened)
            }
        };
        Some(Leave {
            probes,
            opened: self.opened,
        })
    }

    /// A call has ended. `draw` (0 to 1) is used if the breaker opens. Returns whether its state changed.
    pub(super) fn returned(
        &mut self,
        leave: Leave,
        verdict: Verdict,
        now: Instant,
        draw: f64,
    ) -> bool {
        if leave.opened != self.opened {
            return false;
        }
        match (&mut self.state, verdict) {
            (State::Closed, Verdict::Unknown) | (State::Open { .. }, _) => false,
            (State::Closed, _) if leave.probes.is_some() => false,
            (State::Closed, verdict) => self.count(verdict == Verdict::Failure, now, draw),
            (State::HalfOpen { under_way, .. }, Verdict::Unknown) => {
                *under_way = under_way.saturating_sub(1);
                false
            }
            (State::HalfOpen { pause, .. }, Verdict::Failure) => {
                let pause = pause.saturating_mul(2).min(self.config.open_for_max);
                self.open(pause, now, draw);
                true
            }
            (
                State::HalfOpen {
                    under_way,
                    succeeded,
                    ..
                },
                Verdict::Success,
            ) => {
                *under_way = under_way.saturating_sub(1);
                *succeeded += 1;
                let closes = *succeeded >= self.config.probes;
                if closes {
                    self.state = State::Closed;
                    self.window.clear();
                    self.in_row = 0;
                }
                closes
            }
        }
    }

    /// `HalfOpen` also when its pause is over and nobody has called since.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until, .. } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn count(&mut self, failed: bool, now: Instant, draw: f64) -> bool {
        let slice = self.slice(now);
        slice.calls = slice.calls.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
        if !failed {
            self.in_row = 0;
            return false;
        }
        self.in_row = self.in_row.saturating_add(1);
        let row = self.config.failures_in_row;
        if row > 0 && self.in_row >= row || self.fails_too_often() {
            self.open(self.config.open_for, now, draw);
            return true;
        }
        false
    }

    fn fails_too_often(&self) -> bool {
        let sum =
            |of: fn(&Slice) -> u32| self.window.iter().map(|slice| u64::from(of(slice))).sum();
        let calls: u64 = sum(|slice| slice.calls);
        let failures: u64 = sum(|slice| slice.failures);
        calls >= u64::from(self.config.calls_min)
            && failures as f64 >= calls as f64 * self.config.failure_rate
    }

    /// The slice of `now`; those that the window has left behind are dropped.
    fn slice(&mut self, now: Instant) -> &mut Slice {
        let length = self.config.window / SLICES as u32;
        while let Some(first) = self.window.front()
            && now.saturating_duration_since(first.begun) >= self.config.window
        {
            self.window.pop_front();
        }
        let current = self
            .window
            .back()
            .is_some_and(|last| now.saturating_duration_since(last.begun) < length);
        if !current {
            self.window.push_back(Slice {
                begun: now,
                calls: 0,
                failures: 0,
            });
        }
        let last = self.window.len() - 1;
        &mut self.window[last]
    }

    fn open(&mut self, pause: Duration, now: Instant, draw: f64) {
        let jitter = pause.mul_f64((self.config.jitter * draw).clamp(0.0, 1.0));
        self.state = State::Open {
            until: now + pause + jitter,
            pause,
        };
        self.opened += 1;
        self.window.clear();
        self.in_row = 0;
    }
}

/// A call leaves the window at most a tenth of it late.
const SLICES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A breaker and its clock; no draw, so no jitter unless a test asks for it.
    struct Bench {
        breaker: Breaker,
        now: Instant,
    }

    impl Bench {
        fn new(config: BreakerConfig) -> Self {
            Self {
                breaker: Breaker::new(config),
                now: Instant::now(),
            }
        }

        fn wait(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        fn ask(&mut self) -> Option<Leave> {
            self.breaker.ask(self.now)
        }

        fn end(&mut self, leave: Leave, verdict: Verdict) {
            self.breaker.returned(leave, verdict, self.now, 0.0);
        }

        /// Whether the call went to the tier.
        fn call(&mut self, verdict: Verdict) -> bool {
            let leave = self.ask();
            leave.is_some_and(|leave| {
                self.end(leave, verdict);
                true
            })
        }

        fn state(&self) -> BreakerState {
            self.breaker.state(self.now)
        }

        fn opened() -> Self {
            let mut bench = Self::new(BreakerConfig::default());
            while bench.state() == BreakerState::Closed {
                assert!(bench.call(Verdict::Failure));
            }
            bench
        }
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut bench = Bench::new(BreakerConfig::default());
        for _ in 0..4 {
            bench.call(Verdict::Failure);
        }
        bench.call(Verdict::Success);
        for _ in 0..4 {
            bench.call(Verdict::Failure);
            assert_eq!(bench.state(), BreakerState::Closed);
        }
        bench.call(Verdict::Failure);
        assert_eq!(bench.state(), BreakerState::Open);
        assert!(!bench.call(Verdict::Success), "the tier is left alone");
    }

    #[test]
    fn a_share_of_failures_opens_it_once_enough_calls_are_known() {
        let mut bench = Bench::new(BreakerConfig {
            failures_in_row: 0,
            ..BreakerConfig::default()
        });
        for _ in 0..9 {
            bench.call(Verdict::Success);
            bench.call(Verdict::Failure);
        }
        bench.call(Verdict::Success);
        assert_eq!(bench.state(), BreakerState::Closed, "19 calls");
        bench.call(Verdict::Failure);
        assert_eq!(bench.state(), BreakerState::Open);
    }

    #[test]
    fn what_left_the_window_does_not_count() {
        let mut bench = Bench::new(BreakerConfig {
            failures_in_row: 0,
            ..BreakerConfig::default()
        });
        for _ in 0..19 {
            bench.call(Verdict::Failure);
        }
        bench.wait(10_000);
        bench.call(Verdict::Failure);
        assert_eq!(bench.state(), BreakerState::Closed);
    }

    #[test]
    fn after_its_pause_a_few_probes_go_through_and_close_it() {
        let mut bench = Bench::opened();
        bench.wait(999);
        assert_eq!(bench.state(), BreakerState::Open);
        bench.wait(1);
        assert_eq!(bench.state(), BreakerState::HalfOpen);
        let first = bench.ask().expect("a probe");
        let second = bench.ask().expect("a probe");
        assert_eq!(bench.ask(), None, "no third one");
        bench.end(first, Verdict::Success);
        assert_eq!(bench.state(), BreakerState::HalfOpen);
        assert_eq!(bench.ask(), None, "two successes are all it needs");
        bench.end(second, Verdict::Success);
        assert_eq!(bench.state(), BreakerState::Closed);
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_its_limit() {
        let mut bench = Bench::opened();
        for pause in [2, 4, 8, 16, 30, 30] {
            bench.wait(30_000);
            assert!(bench.call(Verdict::Failure), "a probe");
            bench.wait(pause * 1000 - 1);
            assert_eq!(bench.state(), BreakerState::Open, "{pause} s");
            bench.wait(1);
            assert_eq!(bench.state(), BreakerState::HalfOpen, "{pause} s");
        }
    }

    #[test]
    fn a_pause_is_longer_by_the_share_that_was_drawn() {
        let mut bench = Bench::new(BreakerConfig {
            failures_in_row: 1,
            jitter: 0.5,
            ..BreakerConfig::default()
        });
        let leave = bench.ask().expect("closed");
        let now = bench.now;
        assert!(bench.breaker.returned(leave, Verdict::Failure, now, 0.5));
        bench.wait(1249);
        assert_eq!(bench.state(), BreakerState::Open);
        bench.wait(1);
        assert_eq!(bench.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_cancelled_probe_makes_room_for_another() {
        let mut bench = Bench::opened();
        bench.wait(1000);
        for _ in 0..10 {
            assert!(bench.call(Verdict::Unknown));
        }
        assert!(bench.call(Verdict::Success));
        assert!(bench.call(Verdict::Success));
        assert_eq!(bench.state(), BreakerState::Closed);
    }

    #[test]
    fn a_cancelled_call_is_neither_success_nor_failure() {
        let mut bench = Bench::new(BreakerConfig::default());
        for _ in 0..4 {
            bench.call(Verdict::Failure);
        }
        bench.call(Verdict::Unknown);
        assert_eq!(bench.state(), BreakerState::Closed);
        bench.call(Verdict::Failure);
        assert_eq!(bench.state(), BreakerState::Open, "the row was not broken");
    }

    #[test]
    fn what_calls_of_before_an_opening_tell_is_not_heard() {
        let mut bench = Bench::new(BreakerConfig::default());
        let late = bench.ask().expect("closed");
        let other = bench.ask().expect("closed");
        for _ in 0..5 {
            bench.call(Verdict::Failure);
        }
        bench.wait(1000);
        let probe = bench.ask().expect("a probe");
        bench.end(late, Verdict::Failure);
        assert_eq!(bench.state(), BreakerState::HalfOpen);
        bench.end(other, Verdict::Success);
        bench.end(probe, Verdict::Success);
        assert_eq!(bench.state(), BreakerState::HalfOpen, "one of two");
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let check = |config: BreakerConfig, field: &str| {
            let error = config.validate().expect_err("it cannot work");
            assert!(error.to_string().starts_with(field), "{error}");
        };
        let sound = BreakerConfig::default;
        assert!(sound().validate().is_ok());
        check(
            BreakerConfig {
                window: Duration::ZERO,
                ..sound()
            },
            "breaker.window",
        );
        check(
            BreakerConfig {
                failure_rate: f64::NAN,
                ..sound()
            },
            "breaker.failure_rate",
        );
        check(
            BreakerConfig {
                jitter: -0.1,
                ..sound()
            },
            "breaker.jitter",
        );
        check(
            BreakerConfig {
                probes: 0,
                ..sound()
            },
            "breaker.probes",
        );
        check(
            BreakerConfig {
                open_for: Duration::MAX,
                ..sound()
            },
            "breaker.open_for",
        );
    }
}
