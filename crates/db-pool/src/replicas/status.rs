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

/// Without its numbers: what an error says of a server.
impl ServerStatus {
    pub(super) fn said(&self) -> String {
        let mut text = format!("{}: {}", self.server, self.role);
        match (&self.silent, &self.banned) {
            (Some(why), _) => text.push_str(&format!(", does not answer now ({why})")),
            (None, Some(why)) => text.push_str(&format!(", banned ({why})")),
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
        if let Some(left) = self.banned_for {
            write!(f, ", {:.1} s more", left.as_secs_f64())?;
        }
        write!(f, "; {:.2} ms", self.latency.as_secs_f64() * 1e3)?;
        write!(
            f,
            ", {} of {} reads under way",
            self.in_flight, self.reads_total
        )
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
