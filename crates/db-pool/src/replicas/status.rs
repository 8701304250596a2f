//! What a set of servers looks like at one moment: for people, for machines, and inside errors.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::answer::Role;
use super::servers::Servers;
use crate::lsn::Lsn;
use crate::status::Status;

/// The state of a set of servers at one moment; prints as a line for the whole and one for each server.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ReplicasStatus {
    /// The name of the set.
    pub name: String,
    /// The server that takes writes now.
    pub primary: Option<String>,
    /// Several servers of the same timeline claim to be the primary, so none of them gets writes.
    pub split: bool,
    /// Whether some server can serve a read now.
    pub readable: bool,
    /// How often another server became the primary.
    pub failovers_total: u64,
    /// Callers waiting for a primary.
    pub waiting: usize,
    /// All servers, in the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServerStatus {
    /// `HOST:PORT`.
    pub server: String,
    /// What it was when it last answered.
    pub role: ServerRole,
    /// The end of the log on a primary; what has been replayed on a replica.
    #[serde(serialize_with = "shown")]
    pub position: Option<Lsn>,
    /// How many bytes of the log a replica is behind.
    pub lag_bytes: Option<u64>,
    /// How long a replica is behind.
    #[serde(rename = "lag_seconds", serialize_with = "maybe_seconds")]
    pub lag: Option<Duration>,
    /// Whether it is too far behind to serve reads.
    pub stale: bool,
    /// How long a statement usually takes.
    #[serde(rename = "latency_seconds", serialize_with = "seconds")]
    pub latency: Duration,
    /// Lanes lent.
    pub in_flight: u32,
    /// Lanes lent since the start.
    pub reads_total: u64,
    /// Why it does not answer.
    pub silent: Option<String>,
    /// Why it is left alone.
    pub banned: Option<String>,
    /// How much longer at least.
    #[serde(rename = "banned_for_seconds", serialize_with = "maybe_seconds")]
    pub banned_for: Option<Duration>,
    /// How often it was banned since the start.
    pub bans_total: u64,
    /// Its pool; `None` while it has never answered.
    pub pool: Option<Status>,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerRole {
    /// It has not answered yet.
    Unknown,
    /// It claims to take writes, and no other does with a later claim.
    Primary,
    /// It claims to be a primary, but another one was promoted after it.
    LeftBehind,
    /// A primary set to `default_transaction_read_only`.
    ReadOnly,
    /// It follows a primary.
    Replica,
}

impl Servers {
    pub(super) fn server_status(&self, server: usize, name: &str, now: Instant) -> ServerStatus {
        let this = &self.all[server];
        let lag = self.lag(server);
        let ban = this.ban.reason(now);
        ServerStatus {
            server: name.to_owned(),
            role: self.role(server),
            position: this.answer.as_ref().map(|answer| answer.position),
            lag_bytes: lag.map(|lag| lag.bytes),
            lag: lag.map(|lag| lag.time),
            stale: lag.is_some_and(|lag| !self.is_within_bounds(lag)),
            latency: Duration::from_secs_f64(this.latency.seconds()),
            in_flight: this.in_flight,
            reads_total: this.reads,
            silent: this.silence.as_ref().map(|silence| silence.why.clone()),
            banned: ban.map(|(why, _)| why.to_owned()),
            banned_for: ban.map(|(_, left)| left),
            bans_total: this.bans,
            pool: None,
        }
    }

    fn role(&self, server: usize) -> ServerRole {
        match self.all[server].answer.as_ref().map(|answer| &answer.role) {
            None => ServerRole::Unknown,
            Some(Role::Standby { .. }) => ServerRole::Replica,
            Some(Role::Primary { .. }) if self.is_left_behind(server) => ServerRole::LeftBehind,
            Some(Role::Primary {
                writable: false, ..
            }) => ServerRole::ReadOnly,
            Some(Role::Primary { .. }) => ServerRole::Primary,
        }
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "never answered",
            Self::Primary => "primary",
            Self::LeftBehind => "primary left behind by a later promotion",
            Self::ReadOnly => "primary that only reads",
            Self::Replica => "replica",
        })
    }
}

/// Its line without numbers of no use to somebody who reads an error.
impl ServerStatus {
    pub(super) fn said(&self) -> String {
        let mut text = format!("{}: {}", self.server, self.role);
        match (&self.silent, &self.banned) {
            (Some(why), _) if self.role == ServerRole::Unknown => {
                text.push_str(&format!(" ({why})"));
            }
            (Some(why), _) => text.push_str(&format!(", does not answer now ({why})")),
            (None, Some(why)) => {
                let left = self.banned_for.unwrap_or_default().as_secs_f64();
                text.push_str(&format!(", left alone for {left:.1} s more ({why})"));
            }
            (None, None) => {}
        }
        if let (Some(bytes), Some(time)) = (self.lag_bytes, self.lag)
            && self.stale
        {
            text.push_str(&format!(", too far behind ({})", lag(bytes, time)));
        }
        text
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.said())?;
        if let (Some(bytes), Some(time)) = (self.lag_bytes, self.lag)
            && !self.stale
        {
            match bytes {
                0 => f.write_str(", up to date")?,
                _ => write!(f, ", {} behind", lag(bytes, time))?,
            }
        }
        if self.role != ServerRole::Unknown {
            write!(f, "; {:.2} ms", self.latency.as_secs_f64() * 1e3)?;
            write!(
                f,
                ", {} of {} reads running",
                self.in_flight, self.reads_total
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ReplicasStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.primary {
            Some(primary) => write!(f, "{name}: {primary} takes writes")?,
            None if self.split => {
                write!(
                    f,
                    "{name}: no writes, as several servers claim to be the primary"
                )?;
            }
            None => write!(f, "{name}: no primary")?,
        }
        if self.waiting > 0 {
            write!(f, ", {} waiting", self.waiting)?;
        }
        match self.failovers_total {
            0 => {}
            1 => f.write_str(", 1 failover")?,
            many => write!(f, ", {many} failovers")?,
        }
        for server in &self.servers {
            write!(f, "\n  {server}")?;
        }
        Ok(())
    }
}

fn lag(bytes: u64, time: Duration) -> String {
    let time = time.as_secs_f64();
    match bytes {
        0..1024 => format!("{bytes} B, {time:.1} s"),
        1024..1_048_576 => format!("{} KiB, {time:.1} s", bytes / 1024),
        _ => format!("{} MiB, {time:.1} s", bytes / 1_048_576),
    }
}

fn seconds<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn maybe_seconds<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value.as_secs_f64()).serialize(to)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn shown<S: Serializer>(value: &Option<Lsn>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value.to_string()).serialize(to)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::answer::tests::{primary, standby};
    use super::super::ban::Terms;
    use super::super::config::PrimaryReads;
    use super::super::servers::Rules;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_status_reads_well_and_serialises_in_seconds() {
        let now = Instant::now();
        let rules = Rules {
            max_lag: Some(Duration::from_secs(5)),
            max_lag_bytes: None,
            primary_reads: PrimaryReads::Fallback,
            ban: Terms {
                least: Duration::from_secs(1),
                most: Duration::from_secs(60),
            },
            probe_interval: Duration::from_secs(1),
        };
        let mut servers = Servers::new(6, rules, fastrand::Rng::with_seed(1));
        let mut answers = [
            primary(now, 1, 900),
            primary(now, 2, 5_000_000),
            standby(now, 4_999_000),
            standby(now, 5_000_000),
            standby(now, 100),
        ];
        answers[0].started = "earlier".into();
        for (server, answer) in answers.into_iter().enumerate() {
            servers.all[server].opened = true;
            servers.answered(server, answer, now);
        }
        let later = now + Duration::from_secs(9);
        servers.answered(1, primary(later, 2, 5_000_100), later);
        servers.failed(3, "the connection was closed".into(), later);
        servers.silent(5, "connection refused".into(), true);
        let names = ["a:5432", "b:5432", "c:5432", "d:5432", "e:5432", "f:5432"];
        let all = names.iter().enumerate();
        let status = ReplicasStatus {
            name: "main".into(),
            primary: servers.writer().map(|server| names[server].into()),
            split: servers.is_split(),
            readable: true,
            failovers_total: servers.failovers,
            waiting: 2,
            servers: all
                .map(|(server, name)| servers.server_status(server, name, later))
                .collect(),
        };
        expect![[r#"
            main: b:5432 takes writes, 2 waiting, 1 failover
              a:5432: primary left behind by a later promotion; 1.00 ms, 0 of 0 reads running
              b:5432: primary; 1.00 ms, 0 of 0 reads running
              c:5432: replica, too far behind (1 KiB, 9.0 s); 1.00 ms, 0 of 0 reads running
              d:5432: replica, left alone for 1.0 s more (the connection was closed), too far behind (100 B, 9.0 s); 1.00 ms, 0 of 0 reads running
              e:5432: replica, too far behind (4 MiB, 9.0 s); 1.00 ms, 0 of 0 reads running
              f:5432: never answered (connection refused)"#]].assert_eq(&status.to_string());
        let text = serde_json::to_string(&status.servers[2]).expect("plain data");
        expect![[r#"{"server":"c:5432","role":"replica","position":"0/4C4758","lag_bytes":1100,"lag_seconds":9.0,"stale":true,"latency_seconds":0.001,"in_flight":0,"reads_total":0,"silent":null,"banned":null,"banned_for_seconds":null,"bans_total":0,"pool":null}"#]].assert_eq(&text);
    }
}
