//! The bounded table of all endpoints: looked up once per request, created once per endpoint.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::endpoint::{Endpoint, Outcome};
use super::method;
use crate::buckets;
use crate::snapshot::HttpSummary;
use crate::text::Document;

/// The route of requests that matched none; their path is never a label.
pub(crate) const UNMATCHED: &str = "__unmatched__";

/// The route of everything that found no room in the table.
const OVERFLOW: &str = "__other__";

#[derive(Debug)]
pub(crate) struct Store {
    max_series: u64,
    routes: RwLock<HashMap<Box<str>, Methods>>,
    overflow: Arc<Endpoint>,
    /// Endpoints and series have a budget of the same size each.
    endpoints: AtomicU64,
    series: AtomicU64,
    overflowed: AtomicU64,
    received: AtomicU64,
    active: [AtomicI64; method::COUNT],
}

type Methods = [Option<Arc<Endpoint>>; method::COUNT];

impl Store {
    pub(crate) fn new(max_series: usize) -> Self {
        Self {
            max_series: max_series as u64,
            routes: RwLock::default(),
            overflow: Arc::new(Endpoint::new(OVERFLOW, method::OTHER)),
            endpoints: AtomicU64::new(0),
            series: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            active: [const { AtomicI64::new(0) }; method::COUNT],
        }
    }

    /// Counts a request in and finds its endpoint; nothing is allocated once the endpoint is known.
    pub(crate) fn begin(&self, method: usize, route: &str) -> Arc<Endpoint> {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.active[method].fetch_add(1, Ordering::Relaxed);
        let known = {
            let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
            routes
                .get(route)
                .and_then(|methods| methods[method].clone())
        };
        known.unwrap_or_else(|| self.create(method, route))
    }

    /// Counts a request out; to be called exactly once for each `begin`.
    ///
    /// `method` is that of the request, which the overflow endpoint does not know.
    pub(crate) fn end(
        &self,
        endpoint: &Endpoint,
        method: usize,
        status: u16,
        outcome: Outcome,
        duration: Duration,
    ) {
        let is_overflow = std::ptr::eq(endpoint, Arc::as_ptr(&self.overflow));
        let recorded =
            !is_overflow && endpoint.record(status, outcome, duration, || self.take(&self.series));
        if !recorded {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            // Only the class of the status is kept, so that the overflow itself is bounded:
            // nine classes and five outcomes.
            self.overflow
                .record(status / 100 * 100, outcome, duration, || true);
        }
        self.active[method].fetch_sub(1, Ordering::Relaxed);
    }

    fn create(&self, method: usize, route: &str) -> Arc<Endpoint> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes
            .get(route)
            .and_then(|methods| methods[method].as_ref())
        {
            return Arc::clone(known);
        }
        if !self.take(&self.endpoints) {
            return Arc::clone(&self.overflow);
        }
        let endpoint = Arc::new(Endpoint::new(route, method));
        routes.entry(route.into()).or_default()[method] = Some(Arc::clone(&endpoint));
        endpoint
    }

    /// Takes one out of a budget.
    fn take(&self, used: &AtomicU64) -> bool {
        let grow = |used| (used < self.max_series).then_some(used + 1);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_ok()
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// All endpoints, sorted by route and method.
    fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let mut all: Vec<_> = {
            let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
            routes.values().flatten().flatten().cloned().collect()
        };
        all.push(Arc::clone(&self.overflow));
        all.sort_by(|a, b| {
            (&a.route, method::NAMES[a.method]).cmp(&(&b.route, method::NAMES[b.method]))
        });
        all
    }

    pub(crate) fn summary(&self) -> HttpSummary {
        // A decrement seen before its increment can show -1 for a moment.
        let active: i64 = self
            .active
            .iter()
            .map(|active| active.load(Ordering::Relaxed))
            .sum();
        HttpSummary {
            received: self.received.load(Ordering::Relaxed),
            active: u64::try_from(active).unwrap_or(0),
            routes: self
                .endpoints()
                .iter()
                .filter_map(|endpoint| endpoint.summary())
                .collect(),
        }
    }

    pub(crate) fn write(&self, document: &mut Document) {
        let mut active = document.family(
            "http_server_active_requests",
            "gauge",
            "Requests whose response has not ended.",
        );
        for (name, value) in method::NAMES.iter().zip(&self.active) {
            let value = value.load(Ordering::Relaxed).max(0);
            active.sample("", &[("http_request_method", name)], value);
        }
        document
            .family(
                "perf_monitor_http_received_total",
                "counter",
                "HTTP requests that arrived.",
            )
            .sample("", &[], self.received.load(Ordering::Relaxed));
        self.write_durations(document);
    }

    fn write_durations(&self, document: &mut Document) {
        let mut family = document.family(
            "http_server_request_duration_seconds",
            "histogram",
            "Time from the request's head to the end of the response's body.",
        );
        for endpoint in self.endpoints() {
            for view in endpoint.view() {
                let status = view.status.to_string();
                let labels = [
                    ("http_request_method", method::NAMES[endpoint.method]),
                    ("http_route", &*endpoint.route),
                    ("http_response_status_code", status.as_str()),
                    ("outcome", view.outcome.label()),
                ];
                let [a, b, c, d] = labels;
                let bounds = buckets::SECONDS.iter().map(f64::to_string);
                let bounds = bounds.chain(["+Inf".to_owned()]);
                for (bound, count) in bounds.zip(view.cumulative) {
                    family.sample("_bucket", &[a, b, c, d, ("le", bound.as_str())], count);
                }
                family.sample("_sum", &labels, view.sum_seconds);
                family.sample("_count", &labels, view.count());
            }
        }
    }
}
