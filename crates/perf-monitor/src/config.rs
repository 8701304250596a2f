//! The settings of a monitor, with their bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MonitorError;

/// Settings of a [`Monitor`](crate::Monitor); fill what you need and take the rest from `Default`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// How often the process is sampled in the background; text such as `"60s"` in files.
    ///
    /// Default 60 s, at least 1 s. A scrape or a snapshot takes a fresh sample by itself, at most
    /// once a second, so this bounds only the age of what nobody asks for.
    #[serde(with = "duration_text")]
    pub interval: Duration,
    /// The most HTTP series (method, route, status, outcome) that are kept apart; default 2,000.
    ///
    /// The rest is added up under the route `__other__`. A series costs 0.2 KiB, the first one of
    /// a route and method 4 KiB more.
    pub max_http_series: usize,
    /// The most series that other code may register through the `metrics` facade; default 10,000.
    ///
    /// What comes later is not recorded and counted in `perf_monitor_dropped_series_total`. A
    /// histogram costs about 2 KiB, other series less.
    pub max_facade_series: usize,
    /// The most probes; default 64. Probes beyond it are refused with a warning in the log.
    pub max_probes: usize,
    /// The service's name, a label of `build_info`; empty by default.
    pub service: String,
    /// The service's version, a label of `build_info`; empty by default.
    pub version: String,
    /// The revision the service was built from, a label of `build_info`; empty by default.
    pub revision: String,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            max_http_series: 2_000,
            max_facade_series: 10_000,
            max_probes: 64,
            service: String::new(),
            version: String::new(),
            revision: String::new(),
        }
    }
}

impl MonitorConfig {
    pub(crate) fn validate(&self) -> Result<(), MonitorError> {
        if self.interval < Duration::from_secs(1) || self.interval > MAX_INTERVAL {
            return Err(MonitorError::Config {
                field: "interval",
                value: humantime::format_duration(self.interval).to_string(),
                expected: "1s to 1day",
            });
        }
        at_least_one("max_http_series", self.max_http_series)?;
        at_least_one("max_facade_series", self.max_facade_series)?;
        at_least_one("max_probes", self.max_probes)
    }
}

fn at_least_one(field: &'static str, value: usize) -> Result<(), MonitorError> {
    if value == 0 {
        return Err(MonitorError::Config {
            field,
            value: value.to_string(),
            expected: "1 or more",
        });
    }
    Ok(())
}

/// Longer intervals are mistakes of unit, and would overflow timers far above.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(input)?;
        humantime::parse_duration(&text).map_err(|error| {
            de::Error::custom(format_args!(
                "{text:?} is no duration like \"60s\": {error}"
            ))
        })
    }
}
