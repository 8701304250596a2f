//! When to open the next connection: the pure core of growth, which takes `now` and opens nothing itself.
//!
//! Few connects run at once, none begins that nobody needs, failures are followed by growing pauses, and after several
//! in a row a single probe at a time finds out whether the database is back.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::ConnectError;

pub(crate) struct Growth {
    /// The most connects at once.
    concurrency: u32,
    connecting: u32,
    /// Failures since the last success.
    failures: u32,
    not_before: Option<Instant>,
    last_error: Option<ConnectError>,
    random: fastrand::Rng,
}

/// What is wanted and what there is, as of now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Callers that wait for a connection, and idle connections that are missing.
    pub(crate) wanted: usize,
    /// Connections that are open and believed alive.
    pub(crate) open: usize,
    /// The most that may be open.
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Open one; it counts as being opened already.
    Start,
    /// Ask again at that time, unless asked before.
    Wait(Instant),
    Enough,
}

impl Growth {
    pub(crate) fn new(concurrency: u32, random: fastrand::Rng) -> Self {
        Self {
            concurrency: concurrency.max(1),
            connecting: 0,
            failures: 0,
            not_before: None,
            last_error: None,
            random,
        }
    }

    pub(crate) fn next(&mut self, now: Instant, demand: Demand) -> Step {
        let connecting = self.connecting as usize;
        if demand.wanted <= connecting || demand.open + connecting >= demand.limit {
            return Step::Enough;
        }
        self.next_regardless(now)
    }

    /// The same for a connection that is wanted whatever else there is, such as a replacement.
    pub(crate) fn next_regardless(&mut self, now: Instant) -> Step {
        if self.connecting >= self.most_at_once() {
            return Step::Enough;
        }
        match self.not_before {
            Some(at) if now < at => return Step::Wait(at),
            _ => {}
        }
        self.connecting += 1;
        Step::Start
    }

    fn most_at_once(&self) -> u32 {
        if self.is_tripped() {
            1
        } else {
            self.concurrency
        }
    }

    pub(crate) fn opened(&mut self) {
        self.connecting = self.connecting.saturating_sub(1);
        self.failures = 0;
        self.not_before = None;
        self.last_error = None;
    }

    pub(crate) fn failed(&mut self, now: Instant, error: ConnectError) {
        self.connecting = self.connecting.saturating_sub(1);
        self.failures = self.failures.saturating_add(1);
        let pause = SHORTEST_PAUSE * 2_u32.pow((self.failures - 1).min(MOST_DOUBLINGS));
        let pause = pause.min(LONGEST_PAUSE).mul_f64(0.5 + self.random.f64());
        // Of several that failed together, the longest pause holds.
        self.not_before = self.not_before.max(Some(now + pause));
        self.last_error = Some(error);
    }

    /// Somebody else found the database to be back: no pause is left.
    #[cfg(feature = "postgres")]
    pub(crate) fn try_now(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// A connect was given up without a result.
    pub(crate) fn abandoned(&mut self) {
        self.connecting = self.connecting.saturating_sub(1);
    }

    pub(crate) fn connecting(&self) -> u32 {
        self.connecting
    }

    /// Why the last attempt failed; `None` after a success.
    pub(crate) fn last_error(&self) -> Option<&ConnectError> {
        self.last_error.as_ref()
    }

    /// Whether so many attempts failed that only one at a time is made.
    pub(crate) fn is_tripped(&self) -> bool {
        self.failures >= TRIPS_AFTER
    }

    /// The reason why nobody can get a new connection before `deadline`, if there is one: the last attempt failed for
    /// good, or the next one comes too late.
    pub(crate) fn hopeless(&self, now: Instant, deadline: Instant) -> Option<&ConnectError> {
        let error = self.last_error.as_ref()?;
        let next = self.not_before.filter(|at| *at > now)?;
        let in_vain = self.connecting == 0 && next >= deadline;
        (error.is_permanent() || in_vain).then_some(error)
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const MOST_DOUBLINGS: u32 = 8;
const TRIPS_AFTER: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConnectErrorKind;

    fn growth() -> Growth {
        Growth::new(2, fastrand::Rng::with_seed(7))
    }

    fn demand(wanted: usize, open: usize) -> Demand {
        Demand {
            wanted,
            open,
            limit: 10,
        }
    }

    fn error(kind: ConnectErrorKind) -> ConnectError {
        ConnectError::new(kind, "db")
    }

    #[test]
    fn few_connects_run_at_once_and_none_that_nobody_needs() {
        let (mut growth, now) = (growth(), Instant::now());
        assert_eq!(growth.next(now, demand(0, 0)), Step::Enough);
        assert_eq!(growth.next(now, demand(1, 0)), Step::Start);
        assert_eq!(
            growth.next(now, demand(1, 0)),
            Step::Enough,
            "one is on its way"
        );
        assert_eq!(growth.next(now, demand(50, 0)), Step::Start);
        assert_eq!(growth.next(now, demand(50, 0)), Step::Enough, "two at once");
        growth.opened();
        assert_eq!(
            growth.next(now, demand(1, 9)),
            Step::Enough,
            "the other one comes"
        );
        assert_eq!(
            growth.next(now, demand(50, 9)),
            Step::Enough,
            "ten, with the other one"
        );
        growth.abandoned();
        assert_eq!(growth.next(now, demand(50, 9)), Step::Start);
    }

    #[test]
    fn pauses_grow_with_each_failure_up_to_a_bound_and_end_with_a_success() {
        let (mut growth, mut now) = (growth(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(growth.next(now, demand(9, 0)), Step::Start);
            growth.failed(now, error(ConnectErrorKind::NotReady));
            let Step::Wait(at) = growth.next(now, demand(9, 0)) else {
                panic!("no pause")
            };
            pauses.push(at - now);
            now = at;
        }
        for (failures, pause) in (0..).zip(&pauses) {
            let usual = Duration::from_millis(50 * (1 << failures)).min(Duration::from_secs(5));
            assert!(*pause >= usual / 2 && *pause <= usual * 3 / 2, "{pauses:?}");
        }
        growth.next(now, demand(9, 0));
        growth.opened();
        assert!(growth.last_error().is_none());
        assert_eq!(growth.next(now, demand(9, 1)), Step::Start);
        assert_eq!(growth.next(now, demand(9, 1)), Step::Start);
    }

    #[test]
    fn after_five_failures_one_probe_at_a_time_finds_out() {
        let (mut growth, mut now) = (growth(), Instant::now());
        for _ in 0..5 {
            assert!(!growth.is_tripped());
            now += Duration::from_secs(10);
            assert_eq!(growth.next(now, demand(9, 0)), Step::Start);
            growth.failed(now, error(ConnectErrorKind::Unreachable));
        }
        now += Duration::from_secs(10);
        assert_eq!(growth.next(now, demand(9, 0)), Step::Start);
        assert_eq!(
            growth.next(now, demand(9, 0)),
            Step::Enough,
            "the probe is on its way"
        );
        growth.opened();
        assert_eq!(growth.next(now, demand(9, 1)), Step::Start);
        assert_eq!(growth.next(now, demand(9, 1)), Step::Start);
    }

    #[test]
    fn waiting_is_hopeless_when_the_cause_is_permanent_or_the_next_attempt_comes_too_late() {
        let (mut growth, now) = (growth(), Instant::now());
        let later = now + Duration::from_secs(60);
        assert!(growth.hopeless(now, later).is_none());
        growth.failed(now, error(ConnectErrorKind::NotReady));
        assert!(
            growth.hopeless(now, later).is_none(),
            "the next one may succeed"
        );
        assert!(
            growth
                .hopeless(now, now + Duration::from_millis(1))
                .is_some()
        );
        growth.failed(now, error(ConnectErrorKind::Authentication));
        assert!(growth.hopeless(now, later).is_some());
        assert!(growth.hopeless(later, later).is_none(), "time to try again");
    }
}
