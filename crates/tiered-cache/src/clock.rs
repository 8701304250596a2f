//! One clock for all tiers: tokio's (so that tests can pause it), tied once to the calendar, and read at
//! the cost of a load or two.

mod coarse;

use std::{
    cell::Cell,
    fmt,
    sync::{Arc, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
    time::Instant,
};

use coarse::{Coarse, Reading};

/// What the model checker replaces.
mod sync {
    pub(crate) use std::sync::atomic;
}

/// Calendar time that only moves as tokio's clock does; a cheap clone.
///
/// On a multi-threaded runtime it is coarse: a small task, spawned by [`start`](Self::start), notes the
/// time each `precision` and readers load what it noted. The task sleeps while nobody reads, and ends
/// with the last clone. Where no task could be relied on, every reading is exact: outside a runtime, once
/// the runtime is gone, and on a current-thread runtime, which does not tick while one of its tasks runs
/// or while nobody drives it. So time that a test has paused and advanced is exact too.
///
/// A ticker that is held up (all workers are busy) is noticed: each thread's 64th reading is exact and
/// moves the clock for all. Coarse and exact readings may differ by the precision in either direction,
/// so subtract with saturation.
#[derive(Clone)]
pub(crate) struct Clock {
    shared: Arc<Shared>,
}

struct Shared {
    coarse: Coarse,
    started: Instant,
    /// Whole milliseconds, so that the same waits give the same differences in every run.
    started_ms: u64,
    precision: Duration,
    wake: Arc<Notify>,
}

impl Clock {
    /// `precision` zero reads tokio's clock each time, and spawns nothing.
    pub(crate) fn start(precision: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::start_at(millis(now.unwrap_or_default()), precision)
    }

    /// As if the calendar showed `unix_ms` now.
    pub(crate) fn start_at(unix_ms: u64, precision: Duration) -> Self {
        let runtime = Handle::try_current().ok().filter(|runtime| {
            !precision.is_zero() && runtime.runtime_flavor() == RuntimeFlavor::MultiThread
        });
        let shared = Arc::new(Shared {
            coarse: Coarse::new(runtime.is_some()),
            started: Instant::now(),
            started_ms: unix_ms,
            precision,
            wake: Arc::default(),
        });
        if let Some(runtime) = runtime {
            let ticker = Ticker(Arc::downgrade(&shared));
            runtime.spawn(ticker.run(Arc::clone(&shared.wake)));
        }
        Self { shared }
    }

    /// Milliseconds since 1970, at most about `precision` old.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        match self.shared.coarse.read() {
            Reading::At(ms) if !is_check() => ms,
            reading => self.shared.slow(reading),
        }
    }

    /// Milliseconds since 1970; comparable across restarts, as far as the system's clock is.
    pub(crate) fn exact_ms(&self) -> u64 {
        self.shared.exact_ms()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("precision", &self.shared.precision)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn exact_ms(&self) -> u64 {
        self.started_ms
            .saturating_add(millis(self.started.elapsed()))
    }

    #[cold]
    fn slow(&self, reading: Reading) -> u64 {
        let exact = self.exact_ms();
        match reading {
            // Twice, so that a ticker that is only a little late keeps its line to itself.
            Reading::At(seen) if exact.saturating_sub(seen) > 2 * millis(self.precision) => {
                self.coarse.catch_up(seen, exact);
            }
            Reading::Wake => self.wake.notify_one(),
            Reading::At(_) | Reading::Exact => {}
        }
        exact
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The ticker holds no clock; if it sleeps, it learns here that it has none left.
        self.wake.notify_one();
    }
}

/// The task behind a coarse clock.
struct Ticker(Weak<Shared>);

impl Ticker {
    async fn run(self, wake: Arc<Notify>) {
        let mut unread = 0;
        loop {
            let pause = {
                let Some(clock) = self.0.upgrade() else {
                    return;
                };
                let read = clock.coarse.tick(clock.exact_ms());
                unread = if read { 0 } else { unread + 1 };
                if unread >= UNREAD_MAX {
                    clock.coarse.sleep();
                }
                clock.precision
            };
            if unread < UNREAD_MAX {
                tokio::time::sleep(pause).await;
            } else {
                // A reader that came before this line has left its call here.
                wake.notified().await;
                unread = 0;
            }
        }
    }
}

impl Drop for Ticker {
    /// The runtime drops its tasks when it shuts down: nobody will tick again.
    fn drop(&mut self) {
        if let Some(clock) = self.0.upgrade() {
            clock.coarse.end();
        }
    }
}

/// Whether this reading of this thread must look at the exact clock.
#[inline]
fn is_check() -> bool {
    READS.with(|reads| {
        let count = reads.get().wrapping_add(1);
        reads.set(count);
        count.is_multiple_of(CHECK_EACH)
    })
}

thread_local! {
    static READS: Cell<u32> = const { Cell::new(0) };
}

/// Whole milliseconds, `u64::MAX` for more than there are.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A reading of tokio's clock costs about 25 ns, so a check in 64 readings adds less than one.
const CHECK_EACH: u32 = 64;
/// The ticker sleeps after so many ticks that nobody read.
const UNREAD_MAX: u32 = 100;
/// What a service needs: far below any TTL, and cheap to keep up.
pub(crate) const PRECISION: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads until the ticker has answered, at most for some seconds.
    async fn coarse_reading(clock: &Clock) -> Reading {
        for _ in 0..5000 {
            let reading = clock.shared.coarse.read();
            match reading {
                Reading::At(_) => return reading,
                Reading::Wake => clock.shared.wake.notify_one(),
                Reading::Exact => {}
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Reading::Exact
    }

    #[test]
    fn a_clock_made_outside_a_runtime_is_exact() {
        let clock = Clock::start_at(1000, PRECISION);
        assert_eq!(clock.shared.coarse.read(), Reading::Exact);
        assert!(clock.now_ms() >= 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn advanced_time_is_seen_by_the_next_reading() {
        let clock = Clock::start_at(1000, PRECISION);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now_ms(), 61_000);
        assert_eq!(clock.exact_ms(), 61_000);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_ticker_that_is_read_goes_on() {
        let clock = Clock::start_at(1000, Duration::from_millis(1));
        let Reading::At(first) = coarse_reading(&clock).await else {
            panic!("the ticker never ticked");
        };
        let mut now = first;
        while now == first {
            tokio::time::sleep(Duration::from_millis(1)).await;
            now = clock.now_ms();
        }
        assert!(now > first);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_ticker_that_nobody_reads_sleeps_until_the_next_reader() {
        let clock = Clock::start_at(1000, Duration::from_millis(1));
        coarse_reading(&clock).await;
        while clock.shared.coarse.is_ticking() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = clock.exact_ms();
        assert!(
            clock.now_ms() >= before,
            "the reader that wakes it is exact"
        );
        assert!(matches!(coarse_reading(&clock).await, Reading::At(_)));
    }

    #[test]
    fn a_clock_whose_runtime_is_gone_is_exact() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("a runtime");
        let clock = runtime.block_on(async {
            let clock = Clock::start_at(1000, Duration::from_millis(1));
            coarse_reading(&clock).await;
            clock
        });
        drop(runtime);
        assert_eq!(clock.shared.coarse.read(), Reading::Exact);
    }

    #[test]
    fn a_ticker_that_is_held_up_is_noticed_within_64_readings() {
        let clock = Clock::start_at(1_000_000, Duration::from_millis(10));
        // As if a ticker had been here 100 s ago, and nobody since.
        let shared = Arc::into_inner(clock.shared).expect("one clock");
        let mut shared = shared;
        shared.coarse = Coarse::new(true);
        shared.coarse.tick(900_000);
        let clock = Clock {
            shared: Arc::new(shared),
        };
        assert!((0..CHECK_EACH).any(|_| clock.now_ms() >= 1_000_000));
        assert!(clock.now_ms() >= 1_000_000, "for all readers");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_ticker_ends_with_the_last_clock() {
        let clock = Clock::start_at(1000, Duration::from_millis(1));
        let wake = Arc::clone(&clock.shared.wake);
        drop(clock);
        // The ticker holds the other one.
        while Arc::strong_count(&wake) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(Arc::strong_count(&wake), 1);
    }
}
