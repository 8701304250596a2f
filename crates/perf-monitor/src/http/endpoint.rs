//! One method of one route: its series by status and outcome, and its distribution of durations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::histogram::LogLinear;
use super::method;
use crate::buckets;
use crate::snapshot::RouteSummary;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The whole response was handed over.
    Complete,
    /// The client went away before the head (status 499) or in the middle of the body.
    Aborted,
    /// The service returned an error instead of a response.
    Error,
    /// The body failed after the head had been sent.
    BodyError,
    /// The service or the body panicked.
    Panic,
}

impl Outcome {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Error => "error",
            Self::BodyError => "body_error",
            Self::Panic => "panic",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) route: Box<str>,
    pub(crate) method: usize,
    durations: LogLinear,
    series: RwLock<Vec<Series>>,
}

#[derive(Debug)]
struct Series {
    status: u16,
    outcome: Outcome,
    /// Records by the first bound they do not exceed; the last one is for those beyond all bounds.
    buckets: [AtomicU64; buckets::SECONDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// A copy of one series for the text format, with cumulative buckets.
pub(crate) struct SeriesView {
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) cumulative: [u64; buckets::SECONDS.len() + 1],
    pub(crate) sum_seconds: f64,
}

impl Endpoint {
    pub(crate) fn new(route: &str, method: usize) -> Self {
        Self {
            route: route.into(),
            method,
            durations: LogLinear::new(),
            series: RwLock::default(),
        }
    }

    /// Records a request if its series exists; a new one is made only if `may_grow` says so.
    ///
    /// Returns whether it was recorded.
    pub(crate) fn record(
        &self,
        status: u16,
        outcome: Outcome,
        duration: Duration,
        may_grow: impl FnOnce() -> bool,
    ) -> bool {
        let found = {
            let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
            record_existing(&series, status, outcome, duration)
        };
        if !found {
            let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
            if !record_existing(&series, status, outcome, duration) {
                if !may_grow() {
                    return false;
                }
                series.push(Series::new(status, outcome));
                record_existing(&series, status, outcome, duration);
            }
        }
        self.durations.record(duration);
        true
    }

    /// The series, sorted by status and outcome.
    pub(crate) fn view(&self) -> Vec<SeriesView> {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<_> = series.iter().map(Series::view).collect();
        views.sort_by_key(|view| (view.status, view.outcome));
        views
    }

    /// The sums over all series; `None` while no request has ended.
    pub(crate) fn summary(&self) -> Option<RouteSummary> {
        let views = self.view();
        let sum = |wanted: fn(&SeriesView) -> bool| -> u64 {
            views
                .iter()
                .filter(|view| wanted(view))
                .map(SeriesView::count)
                .sum()
        };
        let [p50, p95, p99] = self.durations.quantiles([0.5, 0.95, 0.99]);
        let count = sum(|_| true);
        (count > 0).then(|| RouteSummary {
            method: method::NAMES[self.method].to_owned(),
            route: self.route.to_string(),
            count,
            errors: sum(SeriesView::is_error),
            aborted: sum(|view| view.outcome == Outcome::Aborted),
            p50,
            p95,
            p99,
        })
    }
}

impl SeriesView {
    pub(crate) fn count(&self) -> u64 {
        self.cumulative[buckets::SECONDS.len()]
    }

    fn is_error(&self) -> bool {
        let failed = [Outcome::Error, Outcome::BodyError, Outcome::Panic].contains(&self.outcome);
        failed || (self.outcome == Outcome::Complete && self.status >= 500)
    }
}

impl Series {
    fn new(status: u16, outcome: Outcome) -> Self {
        Self {
            status,
            outcome,
            buckets: [const { AtomicU64::new(0) }; buckets::SECONDS.len() + 1],
            sum_nanos: AtomicU64::new(0),
        }
    }

    fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = buckets::SECONDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // 2^64 ns are 584 years of requests; wrapping then is a counter reset to a scraper.
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn view(&self) -> SeriesView {
        let mut total = 0;
        let cumulative = std::array::from_fn(|index| {
            total += self.buckets[index].load(Ordering::Relaxed);
            total
        });
        SeriesView {
            status: self.status,
            outcome: self.outcome,
            cumulative,
            sum_seconds: self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

/// Records into the series of this status and outcome; `false` if there is none.
fn record_existing(series: &[Series], status: u16, outcome: Outcome, duration: Duration) -> bool {
    let found = series
        .iter()
        .find(|series| series.status == status && series.outcome == outcome);
    found.inspect(|series| series.record(duration)).is_some()
}
