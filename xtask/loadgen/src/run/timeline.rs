//! The rows of all threads, merged second by second, so that a long run keeps a few numbers of each second and the
//! histograms of the present ones only.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::TimelineRow;
use crate::outcome::histogram;

/// One second of one thread.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) t: u64,
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    pub(crate) response: Histogram<u64>,
    pub(crate) lag: Histogram<u64>,
    /// No other row follows from its thread.
    pub(crate) is_last: bool,
}

/// Merges the rows of threads, each of which delivers its own in order.
#[derive(Debug)]
pub(super) struct Timeline {
    seconds: Vec<TimelineRow>,
    /// Seconds that some thread has not delivered yet.
    open: BTreeMap<u64, Box<Row>>,
    /// The last second of each thread; the end of time once it is through.
    delivered: Vec<Option<u64>>,
    ended: u64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            t: 0,
            ended: 0,
            failed: 0,
            response: histogram(),
            lag: histogram(),
            is_last: false,
        }
    }
}

impl Row {
    pub(crate) fn clear(&mut self) {
        self.ended = 0;
        self.failed = 0;
        self.response.reset();
        self.lag.reset();
        self.is_last = false;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.response += &other.response;
        self.lag += &other.lag;
    }

    pub(crate) fn second(&self) -> TimelineRow {
        TimelineRow {
            t: self.t,
            ended: self.ended,
            failed: self.failed,
            p50_us: self.response.value_at_quantile(0.5),
            p99_us: self.response.value_at_quantile(0.99),
            send_lag_p99_us: self.lag.value_at_quantile(0.99),
            ..TimelineRow::default()
        }
    }
}

impl Timeline {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            seconds: Vec::new(),
            open: BTreeMap::new(),
            delivered: vec![None; threads],
            ended: 0,
        }
    }

    /// Takes a row and returns one to use again, empty, if there is one.
    pub(super) fn add(&mut self, thread: usize, row: Box<Row>) -> Option<Box<Row>> {
        self.ended += row.ended;
        self.delivered[thread] = Some(if row.is_last { u64::MAX } else { row.t });
        let mut spare = match self.open.get_mut(&row.t) {
            Some(present) => {
                present.add(&row);
                Some(row)
            }
            None => {
                self.open.insert(row.t, row);
                None
            }
        };
        while let Some(first) = self.open.first_entry()
            && self
                .delivered
                .iter()
                .all(|at| at.is_some_and(|at| at >= *first.key()))
        {
            let whole = first.remove();
            self.seconds.push(whole.second());
            spare = Some(whole);
        }
        spare.map(|mut row| {
            row.clear();
            row
        })
    }

    /// Requests that have ended until now.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// All seconds; empty ones after the first `measured` seconds, in which only answers were waited for, are left out.
    pub(super) fn finish(mut self, measured: u64) -> Vec<TimelineRow> {
        self.seconds
            .extend(self.open.values().map(|row| row.second()));
        while self
            .seconds
            .last()
            .is_some_and(|last| last.ended == 0 && last.t >= measured)
        {
            self.seconds.pop();
        }
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(t: u64, times: &[u64]) -> Box<Row> {
        let mut row = Row {
            t,
            ended: times.len() as u64,
            ..Row::default()
        };
        times
            .iter()
            .for_each(|time| row.response.saturating_record(*time));
        Box::new(row)
    }

    #[test]
    fn a_second_is_the_sum_of_its_threads_and_closed_when_all_have_passed_it() {
        let mut timeline = Timeline::new(2);
        assert!(timeline.add(0, row(0, &[10, 10])).is_none());
        assert!(timeline.add(0, row(1, &[50])).is_none());
        assert!(timeline.seconds.is_empty());
        let spare = timeline.add(1, row(0, &[30])).expect("a row to use again");
        assert_eq!((spare.ended, spare.response.len()), (0, 0));
        assert_eq!(timeline.ended(), 4);
        let seconds = timeline.finish(1);
        let numbers: Vec<_> = seconds
            .iter()
            .map(|row| (row.t, row.ended, row.p50_us, row.p99_us))
            .collect();
        assert_eq!(numbers, [(0, 3, 10, 30), (1, 1, 50, 50)]);
    }

    #[test]
    fn a_thread_that_is_through_keeps_no_second_open() {
        let mut timeline = Timeline::new(2);
        let mut last = row(0, &[10]);
        last.is_last = true;
        timeline.add(0, last);
        for second in 0..5 {
            timeline.add(1, row(second, &[20]));
        }
        assert!(timeline.open.is_empty());
        assert_eq!(timeline.finish(5).len(), 5);
    }

    #[test]
    fn empty_seconds_stay_within_the_measurement_and_go_after_it() {
        let mut timeline = Timeline::new(1);
        for second in 0..5 {
            timeline.add(0, row(second, &[]));
        }
        assert_eq!(timeline.finish(3).len(), 3);
    }
}
