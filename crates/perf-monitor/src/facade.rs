//! The recorder behind the `metrics` facade: the Prometheus exporter with bounds put around it.
//!
//! The exporter alone keeps every sample of a histogram until somebody drains them, and every
//! series that anybody ever registers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::buckets;
use crate::text;

pub(crate) struct Facade {
    recorder: PrometheusRecorder,
    max_series: usize,
    counters: Known,
    gauges: Known,
    histograms: Known,
    series: AtomicU64,
    dropped: AtomicU64,
    samples: Arc<Samples>,
}

type Known = RwLock<HashSet<Key>>;

impl Facade {
    pub(crate) fn new(max_series: usize) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&buckets::SECONDS)
            .and_then(|builder| {
                let bytes = Matcher::Suffix("_bytes".to_owned());
                builder.set_buckets_for_metric(bytes, &buckets::BYTES)
            })
            .expect("the lists of bounds are not empty, which is the only error")
            .build_recorder();
        let handle = recorder.handle();
        Self {
            recorder,
            max_series,
            counters: Known::default(),
            gauges: Known::default(),
            histograms: Known::default(),
            series: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            samples: Arc::new(Samples {
                handle,
                pending: AtomicU64::new(0),
            }),
        }
    }

    /// The exporter's text, in the exporter's order.
    pub(crate) fn render(&self) -> String {
        self.samples.pending.store(0, Ordering::Relaxed);
        self.samples.handle.render()
    }

    /// Moves the samples of all histograms into their buckets.
    pub(crate) fn drain(&self) {
        self.samples.drain();
    }

    /// Samples recorded since the last drain.
    pub(crate) fn pending_samples(&self) -> u64 {
        self.samples.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether a series may be recorded: known, or new and within the bound.
    fn admits(&self, known: &Known, key: &Key) -> bool {
        if known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(key)
        {
            return true;
        }
        if text::is_reserved(key.name()) || !self.reserve(known, key) {
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    metric = key.name(),
                    max = self.max_series,
                    "series not recorded: its name is the monitor's own or there are too many"
                );
            }
            return false;
        }
        true
    }

    fn reserve(&self, known: &Known, key: &Key) -> bool {
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains(key) {
            return true;
        }
        let max = self.max_series as u64;
        let grow = |series| (series < max).then_some(series + 1);
        if self
            .series
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_err()
        {
            return false;
        }
        known.insert(key.to_retained())
    }
}

impl Recorder for Facade {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_gauge(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(name, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if self.admits(&self.counters, key) {
            self.recorder.register_counter(key, metadata)
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if self.admits(&self.gauges, key) {
            self.recorder.register_gauge(key, metadata)
        } else {
            Gauge::noop()
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if !self.admits(&self.histograms, key) {
            return Histogram::noop();
        }
        let inner = self.recorder.register_histogram(key, metadata);
        Histogram::from_arc(Arc::new(Bounded {
            inner,
            samples: Arc::clone(&self.samples),
        }))
    }
}

/// What all histograms share: how many samples wait, and the way to drain them.
struct Samples {
    handle: PrometheusHandle,
    pending: AtomicU64,
}

impl Samples {
    fn drain(&self) {
        // Reset first: a sample that arrives meanwhile is counted again, never forgotten.
        self.pending.store(0, Ordering::Relaxed);
        self.handle.run_upkeep();
    }
}

/// A histogram that drains when too many samples wait, so that memory is bounded even when the
/// upkeep task is late or there is no runtime to run it.
struct Bounded {
    inner: Histogram,
    samples: Arc<Samples>,
}

impl HistogramFn for Bounded {
    fn record(&self, value: f64) {
        self.inner.record(value);
        // Exactly one recording thread sees the limit and pays for the drain.
        if self.samples.pending.fetch_add(1, Ordering::Relaxed) + 1 == MAX_PENDING {
            self.samples.drain();
        }
    }
}

/// 65,536 samples of 16 bytes are 1 MiB; a drain of them takes a few milliseconds.
const MAX_PENDING: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_never_pile_up_beyond_the_limit_without_any_upkeep() {
        let facade = Facade::new(10);
        metrics::with_local_recorder(&facade, || {
            let seconds = metrics::histogram!("work_seconds");
            for _ in 0..3 * MAX_PENDING {
                seconds.record(0.003);
                assert!(facade.pending_samples() < MAX_PENDING);
            }
        });
        assert!(
            facade
                .render()
                .contains(&format!("work_seconds_count {}", 3 * MAX_PENDING))
        );
    }

    #[test]
    fn a_series_beyond_the_limit_is_refused_and_the_known_ones_go_on() {
        let facade = Facade::new(2);
        metrics::with_local_recorder(&facade, || {
            for user in 0..1000 {
                metrics::counter!("calls_total", "user" => user.to_string()).increment(1);
            }
            metrics::counter!("calls_total", "user" => "1").increment(1);
        });
        let text = facade.render();
        assert!(text.contains("calls_total{user=\"1\"} 2"), "{text}");
        assert_eq!(text.matches("calls_total{").count(), 2);
        assert_eq!(facade.dropped(), 998);
    }
}
