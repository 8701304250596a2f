//! The open model among tasks: a thread lets operations become due to the moment, users take them in order.

use std::iter::Peekable;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::ClockId;
use tokio::sync::Semaphore;

use crate::Load;
use crate::run::machine::cpu_time;
use crate::schedule::{Schedule, nanoseconds};

/// Operations that become due. How many are waiting is a number, so that a backlog takes no memory.
#[derive(Debug)]
pub(super) struct Arrivals {
    due: Semaphore,
    /// When the next one to be taken was due; `None` once nobody may take any.
    moments: Mutex<Option<Peekable<Schedule>>>,
    /// The same moments, for the thread that lets them become due.
    pacing: Mutex<Schedule>,
}

impl Arrivals {
    pub(super) fn new(arrivals: &crate::Arrivals, load: &Load) -> Self {
        let schedule = || Schedule::new(arrivals, load.warmup, load.duration, load.seed);
        Self {
            due: Semaphore::new(0),
            moments: Mutex::new(Some(schedule().peekable())),
            pacing: Mutex::new(schedule()),
        }
    }

    /// Waits for the next operation and says when it was due, from the start of the run; `None` after
    /// [`close`](Self::close).
    pub(super) async fn next(&self) -> Option<Duration> {
        self.due.acquire().await.ok()?.forget();
        self.moments().as_mut()?.next().map(Duration::from_nanos)
    }

    /// Lets operations become due until there are none left or nobody takes them any longer. Returns the CPU time that
    /// it took.
    pub(super) fn pace(&self, began: Instant) -> Duration {
        precise_sleep();
        let mut moments = self.pacing.lock().unwrap_or_else(PoisonError::into_inner);
        for moment in &mut *moments {
            let due = began + Duration::from_nanos(moment);
            loop {
                let left = due.saturating_duration_since(Instant::now());
                if self.due.is_closed() {
                    return cpu_time(ClockId::ThreadCPUTime);
                }
                if left.is_zero() {
                    break;
                }
                thread::sleep(left.min(LOOK_EVERY));
            }
            self.due.add_permits(1);
        }
        cpu_time(ClockId::ThreadCPUTime)
    }

    /// Whether all have been taken.
    pub(super) fn are_taken(&self) -> bool {
        let mut moments = self.moments();
        moments
            .as_mut()
            .is_none_or(|moments| moments.peek().is_none())
    }

    /// From now on nothing is due. Returns how many of the moments in `from..=until` have not been taken.
    pub(super) fn close(&self, from: Duration, until: Duration) -> u64 {
        self.due.close();
        let left = self.moments().take();
        let (from, until) = (nanoseconds(from), nanoseconds(until));
        let due = left
            .into_iter()
            .flatten()
            .take_while(|moment| *moment <= until);
        due.filter(|moment| *moment >= from).count() as u64
    }

    fn moments(&self) -> MutexGuard<'_, Option<Peekable<Schedule>>> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system lets sleepers oversleep by 50 µs to wake several at once; not this thread.
fn precise_sleep() {
    #[cfg(target_os = "linux")]
    // At worst the pacing is as coarse as elsewhere, which the lag shows.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

const LOOK_EVERY: Duration = Duration::from_millis(50);
