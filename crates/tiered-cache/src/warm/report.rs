//! `WarmReport`: what a warming came to.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::stats::{Grouped, seconds};

/// What was warmed, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct WarmReport {
    /// Keys whose value was brought into memory, from the loader or from a lower tier.
    pub warmed: usize,
    /// Keys whose value was in memory already.
    pub present: usize,
    /// Keys of which the loader said that there is no value.
    pub absent: usize,
    /// Keys whose load failed.
    pub failures: usize,
    /// The first of these failures, at most 32.
    pub failed: Vec<WarmFailure>,
    /// Keys that were not tried or not finished, because time ran out or too many loads failed in a row.
    pub skipped: usize,
    /// How long it took; in JSON, seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

/// One key that could not be warmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WarmFailure {
    /// The key's text; of several caches, with the cache's name before it.
    pub key: String,
    /// Why, with the causes.
    pub error: String,
}

impl WarmReport {
    /// Whether every key is in memory now, or known not to exist.
    pub fn is_complete(&self) -> bool {
        self.failures == 0 && self.skipped == 0
    }

    /// Notes the failure of a key.
    pub(crate) fn fail(&mut self, key: String, error: String) {
        self.failures += 1;
        if self.failed.len() < FAILED_MAX {
            self.failed.push(WarmFailure { key, error });
        }
    }

    /// Adds what another cache, whose name is `cache`, came to.
    pub(crate) fn add(&mut self, cache: &str, other: Self) {
        self.warmed += other.warmed;
        self.present += other.present;
        self.absent += other.absent;
        self.failures += other.failures;
        self.skipped += other.skipped;
        self.took += other.took;
        let room = FAILED_MAX - self.failed.len();
        let named = other.failed.into_iter().map(|failure| WarmFailure {
            key: format!("{cache}/{}", failure.key),
            ..failure
        });
        self.failed.extend(named.take(room));
    }
}

impl fmt::Display for WarmReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} warmed in {:.1?}",
            Grouped(self.warmed as u64),
            self.took
        )?;
        let rest = [
            (self.present, "there already"),
            (self.absent, "absent"),
            (self.failures, "failed"),
            (self.skipped, "skipped"),
        ];
        for (count, what) in rest.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {} {what}", Grouped(*count as u64))?;
        }
        for failure in self.failed.iter().take(FAILED_SHOWN) {
            write!(f, "\n  {}: {}", failure.key, failure.error)?;
        }
        if self.failures > FAILED_SHOWN {
            write!(f, "\n  and {} more", self.failures - FAILED_SHOWN)?;
        }
        Ok(())
    }
}

const FAILED_MAX: usize = 32;
const FAILED_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::WarmReport;

    #[test]
    fn a_report_says_what_was_warmed_and_shows_the_first_failures() {
        let mut users = WarmReport {
            warmed: 1_250,
            skipped: 3,
            took: Duration::from_millis(2_340),
            ..WarmReport::default()
        };
        (0..40).for_each(|key| users.fail(key.to_string(), "the loader failed".into()));
        let mut all = WarmReport::default();
        expect!["0 warmed in 0.0ns"].assert_eq(&all.to_string());
        assert!(all.is_complete());
        all.add("users", users);
        expect![[r#"
            1,250 warmed in 2.3s, 40 failed, 3 skipped
              users/0: the loader failed
              users/1: the loader failed
              users/2: the loader failed
              users/3: the loader failed
              users/4: the loader failed
              and 35 more"#]]
        .assert_eq(&all.to_string());
        assert_eq!((all.failures, all.failed.len()), (40, 32));
        assert!(!all.is_complete());
    }
}
