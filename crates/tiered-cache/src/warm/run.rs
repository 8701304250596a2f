//! The warming itself: so many at once, so many in a second, until it is done or its time is up.

use std::{pin::pin, time::Duration};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    options::{WarmOptions, WarmProgress},
    report::WarmReport,
};

/// What became of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warmed {
    Loaded,
    Present,
    Absent,
    /// The key's text and the error's.
    Failed(String, String),
}

/// Warms each key by `one` within the limits of the options.
///
/// CANCEL: it owns all its work, so dropping it begins nothing more; loads that were begun are flights
/// of their own, which go on and are kept.
pub(crate) async fn warm<K, F: Future<Output = Warmed>>(
    keys: Vec<K>,
    options: &WarmOptions,
    one: impl Fn(K) -> F,
) -> WarmReport {
    let began = Instant::now();
    let until = began + options.within();
    let mut course = Course::new(keys.len(), options);
    let mut waiting = keys.into_iter();
    let mut pace = Pace::new(began, options.per_second);
    let mut running = FuturesUnordered::new();
    let work = async {
        while !course.over() && Instant::now() < until {
            let room = running.len() < options.concurrency.max(1) && waiting.len() > 0;
            if !room {
                course.note(running.next().await);
            } else if pace.next > Instant::now() {
                let turn = pin!(sleep_until(pace.next));
                if running.is_empty() {
                    turn.await;
                } else if let Either::Left((outcome, _)) = select(running.next(), turn).await {
                    course.note(outcome);
                }
            } else if let Some(key) = waiting.next() {
                pace.step(Instant::now());
                running.push(one(key));
            }
        }
    };
    // Too late is no failure: the report says what was skipped.
    let _ = timeout_at(until, work).await;
    course.finish(began.elapsed())
}

/// When the next load may begin.
struct Pace {
    next: Instant,
    apart: Duration,
}

impl Pace {
    fn new(now: Instant, per_second: u32) -> Self {
        let apart = match per_second {
            0 => Duration::ZERO,
            count => Duration::from_secs(1) / count,
        };
        Self { next: now, apart }
    }

    /// One begins now. Time in which none could begin is not made up for beyond a tenth of a second:
    /// timers are coarse, but a slow origin is no reason for a burst.
    fn step(&mut self, now: Instant) {
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = self.next.max(earliest) + self.apart;
    }
}

/// What has been reached so far.
struct Course<'a> {
    options: &'a WarmOptions,
    report: WarmReport,
    total: usize,
    done: usize,
    failures_in_a_row: usize,
}

impl<'a> Course<'a> {
    fn new(total: usize, options: &'a WarmOptions) -> Self {
        Self {
            options,
            report: WarmReport::default(),
            total,
            done: 0,
            failures_in_a_row: 0,
        }
    }

    fn over(&self) -> bool {
        let limit = self.options.failures_in_a_row;
        self.done == self.total || (limit > 0 && self.failures_in_a_row >= limit)
    }

    /// One key is done; `None` cannot be, while some are left.
    fn note(&mut self, outcome: Option<Warmed>) {
        let Some(outcome) = outcome else { return };
        self.done += 1;
        self.failures_in_a_row = match outcome {
            Warmed::Failed(..) => self.failures_in_a_row + 1,
            Warmed::Loaded | Warmed::Present | Warmed::Absent => 0,
        };
        match outcome {
            Warmed::Loaded => self.report.warmed += 1,
            Warmed::Present => self.report.present += 1,
            Warmed::Absent => self.report.absent += 1,
            Warmed::Failed(key, error) => self.report.fail(key, error),
        }
        self.options.watch.tell(WarmProgress {
            done: self.done,
            total: self.total,
            failed: self.report.failures,
        });
    }

    fn finish(mut self, took: Duration) -> WarmReport {
        self.report.skipped = self.total - self.done;
        self.report.took = took;
        self.report
    }
}

const CATCH_UP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio::time::{Instant, sleep};

    use super::{Warmed, warm};
    use crate::warm::{WarmOptions, WarmWatch};

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_once_than_asked_for() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let options = WarmOptions {
            concurrency: 3,
            per_second: 0,
            ..WarmOptions::default()
        };
        let report = warm((0..20).collect(), &options, async |_: u32| {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            sleep(10 * MS).await;
            running.set(running.get() - 1);
            Warmed::Loaded
        })
        .await;
        assert_eq!((report.warmed, most.get()), (20, 3));
        assert_eq!(report.took, 70 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_begin_in_a_second_than_asked_for() {
        let began = Instant::now();
        let begins = RefCell::new(Vec::new());
        let options = WarmOptions {
            per_second: 100,
            ..WarmOptions::default()
        };
        let report = warm((0..250).collect(), &options, async |_: u32| {
            begins.borrow_mut().push(began.elapsed());
            Warmed::Present
        })
        .await;
        assert_eq!(report.present, 250);
        assert_eq!(report.took, 2_490 * MS);
        let begins = begins.into_inner();
        let pairs = begins.windows(2).map(|pair| pair[1] - pair[0]);
        assert_eq!(pairs.min(), Some(10 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_done_in_time_is_skipped() {
        let options = WarmOptions {
            concurrency: 2,
            per_second: 0,
            within: 25 * MS,
            ..WarmOptions::default()
        };
        let report = warm((0..10).collect(), &options, async |key: u32| {
            sleep(if key == 3 { 60_000 * MS } else { 10 * MS }).await;
            Warmed::Absent
        })
        .await;
        // 0, 1 and 2 end at 10 and 20 ms; 3 hangs, and 4 is under way.
        assert_eq!(
            (report.absent, report.skipped, report.took),
            (3, 7, 25 * MS)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_is_down_ends_it() {
        let options = WarmOptions {
            concurrency: 1,
            failures_in_a_row: 5,
            ..WarmOptions::default()
        };
        let report = warm((0..100).collect(), &options, async |key: u32| match key {
            0..4 | 5.. => Warmed::Failed(key.to_string(), "no answer".into()),
            4 => Warmed::Loaded,
        })
        .await;
        assert_eq!((report.warmed, report.failures, report.skipped), (1, 9, 90));
        assert_eq!(report.failed[8].key, "9");
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_begins_nothing_more() {
        let begun = Cell::new(0);
        let options = WarmOptions::default();
        let warming = warm((0..100).collect(), &options, async |_: u32| {
            begun.set(begun.get() + 1);
            sleep(10 * MS).await;
            Warmed::Loaded
        });
        let ended = tokio::time::timeout(5 * MS, warming).await;
        ended.expect_err("it takes longer");
        let then = begun.get();
        sleep(1_000 * MS).await;
        assert_eq!((then, begun.get()), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_sees_each_key_done() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let watch = {
            let seen = Arc::clone(&seen);
            WarmWatch::new(move |progress| {
                let mut seen = seen.lock().expect("nobody panics");
                seen.push((progress.done, progress.total, progress.failed));
            })
        };
        let options = WarmOptions {
            watch,
            ..WarmOptions::default()
        };
        warm(vec![1, 2], &options, async |key: u32| match key {
            1 => Warmed::Failed("1".into(), "no answer".into()),
            _ => Warmed::Loaded,
        })
        .await;
        assert_eq!(*seen.lock().expect("nobody panics"), [(1, 2, 1), (2, 2, 1)]);
    }
}
