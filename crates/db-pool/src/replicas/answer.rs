//! What a server says when it is asked for its role: the question, and how its answer reads.

use std::time::Duration;

use tokio::time::Instant;

use crate::lsn::Lsn;

/// One round trip; every function in it is open to everybody. Works on a primary and on a standby.
///
/// The first eight digits of the name of the current log file are the timeline; the control file would show the new
/// one only after the first checkpoint that follows a promotion.
pub(super) const QUESTION: &str = "SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, \
    CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END, \
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), \
    current_setting('transaction_read_only'), \
    (SELECT system_identifier FROM pg_control_system()), \
    pg_postmaster_start_time()";

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// When the question was sent: what was committed before is behind `position`.
    pub(super) asked: Instant,
    /// How long the answer took.
    pub(super) took: Duration,
    pub(super) role: Role,
    /// The end of the log on a primary; what has been replayed on a standby.
    pub(super) position: Lsn,
    /// Common to a primary and all its copies.
    pub(super) system: String,
    /// When this server process started, to the microsecond: tells apart two servers from one server of two names.
    pub(super) started: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Role {
    Primary {
        timeline: u32,
        /// Not set to `default_transaction_read_only`.
        writable: bool,
    },
    Standby {
        /// How long ago the last replayed transaction was committed, by the clocks of two servers.
        behind: Option<Duration>,
    },
}

impl Answer {
    /// Reads a row of [`QUESTION`]; `None` if it is none.
    pub(super) fn read(columns: &[Option<&str>], asked: Instant, took: Duration) -> Option<Self> {
        let &[
            Some(recovering),
            position,
            file,
            behind,
            Some(read_only),
            Some(system),
            Some(started),
        ] = columns
        else {
            return None;
        };
        let role = if recovering == "t" {
            let seconds = behind.and_then(|text| text.parse::<f64>().ok());
            let behind =
                seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
            Role::Standby { behind }
        } else {
            Role::Primary {
                timeline: u32::from_str_radix(file?.get(..8)?, 16).ok()?,
                writable: read_only == "off",
            }
        };
        // A standby that has replayed nothing yet says nothing.
        let position = position
            .map_or_else(|| Ok(Lsn::default()), str::parse)
            .ok()?;
        Some(Self {
            asked,
            took,
            role,
            position,
            system: system.to_owned(),
            started: started.to_owned(),
        })
    }

    pub(super) fn is_standby(&self) -> bool {
        matches!(self.role, Role::Standby { .. })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::replicas) fn primary(asked: Instant, timeline: u32, position: u64) -> Answer {
        let role = Role::Primary {
            timeline,
            writable: true,
        };
        answer(asked, role, position)
    }

    pub(in crate::replicas) fn standby(asked: Instant, position: u64) -> Answer {
        answer(asked, Role::Standby { behind: None }, position)
    }

    fn answer(asked: Instant, role: Role, position: u64) -> Answer {
        Answer {
            asked,
            took: Duration::from_millis(1),
            role,
            position: Lsn::new(position),
            system: "7".into(),
            started: "2026-01-01".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_both_roles_are_read() {
        let (now, took) = (Instant::now(), Duration::from_millis(3));
        let row = [
            Some("f"),
            Some("0/4AF3028"),
            Some("0000000A0000000000000004"),
            None,
            Some("off"),
            Some("7"),
            Some("then"),
        ];
        let answer = Answer::read(&row, now, took).expect("a primary");
        let role = Role::Primary {
            timeline: 10,
            writable: true,
        };
        assert_eq!((answer.role, answer.position), (role, Lsn::new(0x4AF_3028)));
        let row = [
            Some("t"),
            Some("0/10"),
            None,
            Some("2.5"),
            Some("on"),
            Some("7"),
            Some("then"),
        ];
        let answer = Answer::read(&row, now, took).expect("a standby");
        let behind = Some(Duration::from_millis(2500));
        assert_eq!(answer.role, Role::Standby { behind });
        for odd in [&row[..6], &[Some("f"); 7]] {
            assert_eq!(Answer::read(odd, now, took), None);
        }
    }
}
