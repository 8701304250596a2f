//! The rows of all threads, merged second by second, so that a long run keeps a few numbers of each second and the
//! histograms of the present ones only.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::Second;
use crate::outcome::histogram;

/// One second of one thread.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) at_s: u64,
    pub(super) ended: u64,
    pub(super) failed: u64,
    pub(super) response: Histogram<u64>,
    pub(super) lag: Histogram<u64>,
}

/// Merges the rows of threads, each of which delivers its own in order.
#[derive(Debug)]
pub(super) struct Timeline {
    seconds: Vec<Second>,
    /// Seconds that some thread has not delivered yet.
    open: BTreeMap<u64, Box<Row>>,
    /// The last second of each thread.
    delivered: Vec<Option<u64>>,
    ended: u64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            at_s: 0,
            ended: 0,
            failed: 0,
            response: histogram(),
            lag: histogram(),
        }
    }
}

impl Row {
    fn clear(&mut self) {
        self.ended = 0;
        self.failed = 0;
        self.response.reset();
        self.lag.reset();
    }

    fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.response += &other.response;
        self.lag += &other.lag;
    }

    fn second(&self) -> Second {
        Second {
            at_s: self.at_s,
            ended: self.ended,
            failed: self.failed,
            p50_us: self.response.value_at_quantile(0.5),
            p99_us: self.response.value_at_quantile(0.99),
            send_lag_p99_us: self.lag.value_at_quantile(0.99),
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
        self.delivered[thread] = Some(row.at_s);
        let mut spare = match self.open.get_mut(&row.at_s) {
            Some(present) => {
                present.add(&row);
                Some(row)
            }
            None => {
                self.open.insert(row.at_s, row);
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
    pub(super) fn finish(mut self, measured: u64) -> Vec<Second> {
        self.seconds
            .extend(self.open.values().map(|row| row.second()));
        while self
            .seconds
            .last()
            .is_some_and(|last| last.ended == 0 && last.at_s >= measured)
        {
            self.seconds.pop();
        }
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_s: u64, times: &[u64]) -> Box<Row> {
        let mut row = Row {
            at_s,
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
            .map(|row| (row.at_s, row.ended, row.p50_us, row.p99_us))
            .collect();
        assert_eq!(numbers, [(0, 3, 10, 30), (1, 1, 50, 50)]);
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
