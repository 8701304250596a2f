//! The monitor itself: what users hold, and the two views (text and snapshot) that are made of it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::config::MonitorConfig;
use crate::error::MonitorError;
use crate::facade::Facade;
use crate::families;
use crate::probe::{Probes, Sample};
use crate::process::ProcessCache;
use crate::snapshot::{HttpSummary, OwnHealth, ServiceInfo, Snapshot};
use crate::tasks;
use crate::text::Document;

/// Collects what a service measures and shows it; a cheap clone over shared state.
///
/// Nothing here panics on what it is given, and everything that grows has a bound in
/// [`MonitorConfig`].
#[derive(Clone)]
pub struct Monitor {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: MonitorConfig,
    pub(crate) facade: Arc<Facade>,
    pub(crate) process: ProcessCache,
    probes: Probes,
    started: Instant,
    #[cfg(feature = "http")]
    http: Arc<crate::http::Store>,
}

impl Monitor {
    /// Builds a monitor and makes it the process's recorder of the `metrics` facade.
    ///
    /// Call it first thing in `main`: a handle of the facade that was made before there is a
    /// recorder does nothing for ever. Two tasks are spawned on the current tokio runtime: one
    /// drains histograms every 5 s, one samples the process each [`MonitorConfig::interval`].
    /// They hold the monitor weakly and end by themselves when its last clone is gone or the
    /// runtime shuts down. The recorder stays installed for the life of the process.
    ///
    /// # Errors
    ///
    /// [`MonitorError::AlreadyInstalled`] if there is a recorder already,
    /// [`MonitorError::NoRuntime`] outside of a tokio runtime, [`MonitorError::Config`] for a
    /// value that cannot work. Nothing is installed or spawned then.
    pub fn install(config: MonitorConfig) -> Result<Self, MonitorError> {
        let monitor = Self::build(config)?;
        let runtime = Handle::try_current().map_err(|_| MonitorError::NoRuntime)?;
        metrics::set_global_recorder(Arc::clone(&monitor.inner.facade))
            .map_err(|_| MonitorError::AlreadyInstalled)?;
        tasks::spawn(&runtime, &monitor.inner);
        Ok(monitor)
    }

    /// Builds a monitor that is not the process's recorder, as tests need it.
    ///
    /// The HTTP layer, probes and process metrics work as after [`Monitor::install`]; what goes
    /// through the `metrics` facade arrives only inside of [`Monitor::with`] and
    /// [`Monitor::enter`]. Inside of a tokio runtime the two tasks are spawned; outside of one
    /// there are none, and histograms are drained by whoever records the 65,536th sample.
    ///
    /// # Errors
    ///
    /// [`MonitorError::Config`] for a value that cannot work.
    pub fn new(config: MonitorConfig) -> Result<Self, MonitorError> {
        let monitor = Self::build(config)?;
        if let Ok(runtime) = Handle::try_current() {
            tasks::spawn(&runtime, &monitor.inner);
        }
        Ok(monitor)
    }

    fn build(config: MonitorConfig) -> Result<Self, MonitorError> {
        config.validate()?;
        let inner = Inner {
            facade: Arc::new(Facade::new(config.max_facade_series)),
            process: ProcessCache::default(),
            probes: Probes::new(config.max_probes),
            started: Instant::now(),
            #[cfg(feature = "http")]
            http: Arc::new(crate::http::Store::new(config.max_http_series)),
            config,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Runs `work` with this monitor as the recorder of the `metrics` facade on this thread.
    ///
    /// Handles made inside stay bound to this monitor afterwards.
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.inner.facade, work)
    }

    /// Makes this monitor the recorder of the `metrics` facade on this thread until the guard drops.
    ///
    /// The guard may be held across an await only on a current-thread runtime: on another one the
    /// task moves to threads that know nothing of it.
    #[must_use = "the recorder is taken away when the guard drops"]
    pub fn enter(&self) -> LocalGuard<'_> {
        LocalGuard {
            _guard: metrics::set_default_local_recorder(&self.inner.facade),
        }
    }

    /// A tower layer that measures every request; clones share this monitor's table.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn layer(&self) -> crate::http::PerfLayer {
        crate::http::PerfLayer::new(Arc::clone(&self.inner.http))
    }

    /// Registers a closure that reports values whenever somebody takes a snapshot or scrapes.
    ///
    /// It runs on the thread that asks and must be cheap: read counters, do not wait. If it
    /// panics, its values are left out and `perf_monitor_probe_failures_total` counts it. A
    /// second probe of a name replaces the first. Beyond [`MonitorConfig::max_probes`] a probe is
    /// refused with a warning in the log. A probe that owns a clone of the monitor keeps the
    /// monitor alive for ever; let it own what it reads instead.
    pub fn probe(
        &self,
        name: impl Into<Cow<'static, str>>,
        read: impl Fn(&mut Sample) + Send + Sync + 'static,
    ) {
        self.inner.probes.add(name.into(), read);
    }

    /// Everything in the Prometheus text format, sorted by family and series.
    ///
    /// Serve it as [`PROMETHEUS_CONTENT_TYPE`](crate::PROMETHEUS_CONTENT_TYPE). It takes time in
    /// proportion to the number of series: call it from a blocking thread, as the router of the
    /// feature `axum` does.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let inner = &self.inner;
        let mut document = Document::default();
        families::write_build(&mut document, &inner.config);
        families::write_probes(&mut document, &inner.probes.read());
        families::write_own_health(&mut document, &self.own_health());
        families::write_pending(&mut document, inner.facade.pending_samples());
        if let Some(process) = inner.process.recent() {
            families::write_process(&mut document, &process);
        }
        #[cfg(feature = "http")]
        inner.http.write(&mut document);
        document.merge(&inner.facade.render());
        document.finish()
    }

    /// Everything as plain data, for JSON.
    ///
    /// Like [`Monitor::prometheus`] it belongs on a blocking thread when there are many routes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let inner = &self.inner;
        let readings = inner.probes.read();
        let mut monitor = self.own_health();
        monitor.probe_failures = readings.iter().map(|reading| reading.failures).sum();
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Snapshot {
            schema_version: SCHEMA_VERSION,
            taken_at: since_epoch.unwrap_or_default().as_secs_f64(),
            uptime: inner.started.elapsed().as_secs_f64(),
            service: ServiceInfo {
                name: inner.config.service.clone(),
                version: inner.config.version.clone(),
                revision: inner.config.revision.clone(),
            },
            process: inner.process.recent(),
            http: self.http_summary(),
            probes: readings
                .into_iter()
                .filter_map(|reading| reading.values.map(|values| (reading.name, values)))
                .collect(),
            monitor,
        }
    }

    #[cfg(feature = "http")]
    fn http_summary(&self) -> HttpSummary {
        self.inner.http.summary()
    }

    #[cfg(not(feature = "http"))]
    fn http_summary(&self) -> HttpSummary {
        HttpSummary::default()
    }

    #[cfg(feature = "http")]
    fn http_overflow(&self) -> u64 {
        self.inner.http.overflow()
    }

    #[cfg(not(feature = "http"))]
    fn http_overflow(&self) -> u64 {
        0
    }

    fn own_health(&self) -> OwnHealth {
        OwnHealth {
            http_overflow: self.http_overflow(),
            dropped_series: self.inner.facade.dropped(),
            refused_probes: self.inner.probes.refused(),
            dropped_probe_values: self.inner.probes.dropped_values(),
            probe_failures: 0,
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// Keeps a monitor the recorder of the current thread; made by [`Monitor::enter`].
pub struct LocalGuard<'a> {
    _guard: metrics::LocalRecorderGuard<'a>,
}

impl fmt::Debug for LocalGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalGuard").finish_non_exhaustive()
    }
}

const SCHEMA_VERSION: u32 = 1;
