//! When a slow statement is told, and when its plan is asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is remembered of one statement's slowness. Times are milliseconds since the pool opened, plus one, so that
/// zero means never.
#[derive(Default)]
pub(super) struct Slowness {
    told: AtomicU64,
    untold: AtomicU64,
    hinted: AtomicU64,
    asked: AtomicU64,
    plan: Mutex<Option<Arc<str>>>,
}

impl Slowness {
    /// Whether to tell of a slow run at `now`; with how many were not told since the last time.
    pub(super) fn tell(&self, now: Duration) -> Option<u64> {
        if claim(&self.told, now, TELL_EVERY) {
            Some(self.untold.swap(0, Relaxed))
        } else {
            self.untold.fetch_add(1, Relaxed);
            None
        }
    }

    /// Whether to tell at `now` that it repeats itself.
    pub(super) fn hint(&self, now: Duration) -> bool {
        claim(&self.hinted, now, TELL_EVERY)
    }

    /// Whether to ask for the plan at `now`.
    pub(super) fn ask(&self, now: Duration) -> bool {
        claim(&self.asked, now, ASK_EVERY)
    }

    pub(super) fn set_plan(&self, plan: &str) {
        let plan = Some(plan.into());
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    pub(super) fn plan(&self) -> Option<Arc<str>> {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.clone()
    }
}

/// Of several at the same time one gets `true`, and the next only after `every`.
fn claim(last: &AtomicU64, now: Duration, every: Duration) -> bool {
    let now = u64::try_from(now.as_millis()).map_or(u64::MAX, |now| now.saturating_add(1));
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let before = last.load(Relaxed);
    let due = before == 0 || now.saturating_sub(before) >= every;
    due && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok()
}

const TELL_EVERY: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_statement_is_told_once_a_second_and_its_plan_asked_for_once_an_hour() {
        let slowness = Slowness::default();
        let millis = Duration::from_millis;
        assert_eq!(slowness.tell(millis(0)), Some(0));
        assert_eq!(slowness.tell(millis(400)), None);
        assert_eq!(slowness.tell(millis(999)), None);
        assert_eq!(slowness.tell(millis(1000)), Some(2));
        assert_eq!(slowness.tell(millis(2000)), Some(0));
        assert!(slowness.ask(millis(7)));
        assert!(!slowness.ask(millis(3_600_000)));
        assert!(slowness.ask(millis(3_600_007)));
        assert!(slowness.hint(millis(5)) && !slowness.hint(millis(1004)));
    }
}
