//! Probes: values that are pulled from other parts of the service when somebody asks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What one probe reports at one moment: numbers by name.
#[derive(Debug, Default)]
pub struct Sample {
    values: BTreeMap<Cow<'static, str>, f64>,
    dropped: u64,
}

impl Sample {
    /// Reports a value; a second one of the same name replaces the first.
    ///
    /// A value that is not finite is left out, since JSON cannot carry it. A sample holds 64
    /// names; what comes later is left out and counted.
    pub fn gauge(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        let name = name.into();
        let is_room = self.values.len() < MAX_VALUES || self.values.contains_key(&name);
        if value.is_finite() && is_room {
            self.values.insert(name, value);
        } else {
            self.dropped += 1;
        }
    }
}

/// The probes of one monitor.
pub(crate) struct Probes {
    max: usize,
    list: Mutex<Vec<Arc<Probe>>>,
    refused: AtomicU64,
    dropped_values: AtomicU64,
}

struct Probe {
    name: Cow<'static, str>,
    failures: AtomicU64,
    read: Box<dyn Fn(&mut Sample) + Send + Sync>,
}

/// What a probe said when it was read.
pub(crate) struct Reading {
    pub(crate) name: String,
    /// `None` when the probe panicked.
    pub(crate) values: Option<BTreeMap<String, f64>>,
    pub(crate) failures: u64,
}

impl Probes {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            list: Mutex::new(Vec::new()),
            refused: AtomicU64::new(0),
            dropped_values: AtomicU64::new(0),
        }
    }

    pub(crate) fn add(
        &self,
        name: Cow<'static, str>,
        read: impl Fn(&mut Sample) + Send + Sync + 'static,
    ) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let position = list.iter().position(|probe| probe.name == name);
        if position.is_none() && list.len() >= self.max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(probe = %name, max = self.max, "probe refused: too many probes");
            return;
        }
        let probe = Arc::new(Probe {
            name,
            failures: AtomicU64::new(0),
            read: Box::new(read),
        });
        let replaced = match position {
            Some(position) => Some(std::mem::replace(&mut list[position], probe)),
            None => {
                list.push(probe);
                None
            }
        };
        // Foreign code may run when the closure drops, and it may ask for this lock.
        drop(list);
        drop(replaced);
    }

    /// Reads every probe, sorted by name, without holding the lock while foreign code runs.
    pub(crate) fn read(&self) -> Vec<Reading> {
        let list = self
            .list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut readings: Vec<_> = list.iter().map(|probe| self.read_one(probe)).collect();
        readings.sort_by(|a, b| a.name.cmp(&b.name));
        readings
    }

    fn read_one(&self, probe: &Probe) -> Reading {
        let mut sample = Sample::default();
        // A sample that was half written when the probe panicked is thrown away as a whole, so
        // nothing broken is seen after the unwinding.
        let outcome = catch_unwind(AssertUnwindSafe(|| (probe.read)(&mut sample)));
        if outcome.is_err() {
            let failures = probe.failures.fetch_add(1, Ordering::Relaxed) + 1;
            if failures == 1 {
                tracing::warn!(probe = %probe.name, "probe panicked; its values are left out");
            }
        }
        self.dropped_values
            .fetch_add(sample.dropped, Ordering::Relaxed);
        let values = sample
            .values
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value));
        Reading {
            name: probe.name.clone().into_owned(),
            values: outcome.is_ok().then(|| values.collect()),
            failures: probe.failures.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped_values(&self) -> u64 {
        self.dropped_values.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes")
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// The most values of one probe: a probe that lists things instead of counting them is a mistake.
const MAX_VALUES: usize = 64;
