//! The settings of backups: where copies go, how many stay, and which programs PostgreSQL needs.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::manifest::Backup;

/// The settings of [`Backups`](crate::Backups): plain data, durations as text, unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BackupConfig {
    /// The folder of the copies; made when the first is taken. No default.
    ///
    /// Danger: on the disk of the database it dies with the database.
    pub folder: PathBuf,

    /// The most copies that stay. Default 7, at least 1.
    ///
    /// Cost: disk, each about as large as the database.
    #[serde(default = "keep")]
    pub keep: usize,

    /// Older copies go as well, but never the newest one. Default `None` ("off"): only `keep` counts.
    #[serde(default, with = "crate::durations::or_off")]
    pub keep_for: Option<Duration>,

    /// The longest that taking or restoring a copy may take. Default 1 h.
    #[serde(default = "limit", with = "crate::durations")]
    pub limit: Duration,

    /// PostgreSQL: the folder of `pg_dump` and `pg_restore`. Default `None`: those on `PATH`, else the newest in
    /// `/usr/lib/postgresql`.
    ///
    /// Danger: a `pg_dump` older than the server refuses to work.
    #[serde(default)]
    pub programs: Option<PathBuf>,
}

impl BackupConfig {
    /// The defaults, with the copies in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            keep: keep(),
            keep_for: None,
            limit: limit(),
            programs: None,
        }
    }

    pub(super) fn validate(&self) -> Result<(), BackupError> {
        let bad = |field, problem| Err(BackupError::Config { field, problem });
        if self.folder.as_os_str().is_empty() {
            return bad("folder", "is empty; name a folder");
        }
        if self.keep == 0 {
            return bad("keep", "is 0; at least one copy stays");
        }
        if self.limit.is_zero() {
            return bad("limit", "is zero; nothing is copied in no time");
        }
        if self.keep_for.is_some_and(|time| time.is_zero()) {
            return bad("keep_for", "is zero; \"off\" keeps copies of any age");
        }
        Ok(())
    }

    /// Which of `copies`, the newest first, are no longer to be kept.
    ///
    /// One of the future was taken before the clock was set back, so it counts as older than those that are not.
    pub(super) fn doomed<'a>(&self, copies: &'a [Backup], now: SystemTime) -> Vec<&'a Backup> {
        let (future, past): (Vec<_>, Vec<_>) =
            copies.iter().partition(|copy| copy.taken_at() > now);
        let too_old = |copy: &Backup| {
            self.keep_for.is_some_and(|limit| {
                now.duration_since(copy.taken_at())
                    .is_ok_and(|age| age > limit)
            })
        };
        past.into_iter()
            .chain(future)
            .enumerate()
            // The newest is never removed, however old.
            .skip(1)
            .filter(|(at, copy)| *at >= self.keep || too_old(copy))
            .map(|(_, copy)| copy)
            .collect()
    }
}

fn keep() -> usize {
    7
}

fn limit() -> Duration {
    Duration::from_secs(3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(ages: &[u64], now: SystemTime) -> Vec<Backup> {
        ages.iter()
            .map(|age| Backup::for_tests(now - Duration::from_secs(*age)))
            .collect()
    }

    #[test]
    fn copies_beyond_the_number_and_the_age_go_but_never_the_newest() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut config = BackupConfig::new("copies");
        config.keep = 2;
        let doomed =
            |config: &BackupConfig, ages: &[u64]| config.doomed(&copies(ages, now), now).len();
        assert_eq!(doomed(&config, &[]), 0);
        assert_eq!(doomed(&config, &[10, 20]), 0);
        assert_eq!(doomed(&config, &[10, 20, 30, 40]), 2);
        config.keep_for = Some(Duration::from_secs(15));
        assert_eq!(doomed(&config, &[10, 20]), 1);
        assert_eq!(doomed(&config, &[20]), 0, "the newest stays");
        config.keep = 1;
        assert_eq!(doomed(&config, &[20, 21, 22]), 2);
    }

    #[test]
    fn after_the_clock_was_set_back_copies_of_the_future_go_first() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |seconds| Backup::for_tests(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let all = [at(3_000_000), at(2_000_000), at(999_990), at(999_980)];
        let mut config = BackupConfig::new("copies");
        for (keep, doomed) in [(3, vec![1]), (2, vec![0, 1]), (1, vec![3, 0, 1])] {
            config.keep = keep;
            let expected: Vec<_> = doomed.into_iter().map(|at: usize| &all[at]).collect();
            assert_eq!(config.doomed(&all, now), expected, "{keep}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (change, field) in [
            (
                (|config| config.folder = PathBuf::new()) as fn(&mut BackupConfig),
                "folder",
            ),
            (|config| config.keep = 0, "keep"),
            (|config| config.limit = Duration::ZERO, "limit"),
            (|config| config.keep_for = Some(Duration::ZERO), "keep_for"),
        ] {
            let mut config = BackupConfig::new("copies");
            assert!(config.validate().is_ok());
            change(&mut config);
            let error = config.validate().expect_err("cannot work").to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
