//! What users count: a part for each thread, so that they hardly ever wait for each other, merged when a second closes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::{self, histogram};
use crate::run::timeline::Row;
use crate::schedule::nanoseconds;
use crate::{ErrorClass, RouteOutcome, TimelineRow};

/// An operation that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) route: usize,
    pub(super) response: Duration,
    pub(super) service: Duration,
    /// Only of an open model.
    pub(super) lag: Option<Duration>,
    pub(super) result: Result<(), ErrorClass>,
}

#[derive(Debug)]
pub(super) struct Recorder(Vec<Mutex<Part>>);

#[derive(Debug)]
struct Part {
    routes: Vec<RouteOutcome>,
    lag: Histogram<u64>,
    /// The present one.
    second: Row,
}

impl Recorder {
    pub(super) fn new(parts: usize, routes: &[&str]) -> Self {
        let part = || Part {
            routes: routes
                .iter()
                .map(|name| RouteOutcome::empty(name))
                .collect(),
            lag: histogram(),
            second: Row::default(),
        };
        Self((0..parts).map(|_| Mutex::new(part())).collect())
    }

    pub(super) fn record(&self, user: usize, ended: Ended) {
        let mut part = lock(&self.0[user % self.0.len()]);
        let part = &mut *part;
        let route = &mut part.routes[ended.route];
        let response = microseconds(ended.response);
        route.ended += 1;
        route.response.saturating_record(response);
        route.service.saturating_record(microseconds(ended.service));
        part.second.ended += 1;
        part.second.response.saturating_record(response);
        if let Some(lag) = ended.lag {
            part.lag.saturating_record(microseconds(lag));
            part.second.lag.saturating_record(microseconds(lag));
        }
        match ended.result {
            Ok(()) => route.succeeded += 1,
            Err(class) => {
                *route.errors.entry(class).or_default() += 1;
                part.second.failed += 1;
            }
        }
    }

    /// The second since the last call.
    pub(super) fn close_second(&self, at: usize) -> TimelineRow {
        let mut all = Row {
            t: at as u64,
            ..Row::default()
        };
        for part in &self.0 {
            let row = &mut lock(part).second;
            all.add(row);
            row.clear();
        }
        all.second()
    }

    /// All together, each route, and the lag.
    pub(super) fn sums(&self) -> (RouteOutcome, Vec<RouteOutcome>, Histogram<u64>) {
        let mut lag = histogram();
        let mut routes: Vec<RouteOutcome> = Vec::new();
        for part in &self.0 {
            let part = lock(part);
            lag += &part.lag;
            if routes.is_empty() {
                routes.clone_from(&part.routes);
                continue;
            }
            for (sum, route) in routes.iter_mut().zip(&part.routes) {
                sum.add(route);
            }
        }
        let mut total = RouteOutcome::empty("total");
        routes.iter().for_each(|route| total.add(route));
        (total, routes, lag)
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn microseconds(duration: Duration) -> u64 {
    outcome::microseconds(nanoseconds(duration))
}
