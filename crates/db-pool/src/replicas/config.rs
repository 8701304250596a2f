//! The settings of a set of servers: who they are, how stale a replica may be, and how long to wait for a primary.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ban::Terms;
use crate::config::PoolConfig;
use crate::error::ConfigError;
use crate::url::redact;

/// The settings of [`Replicas`](crate::Replicas): plain data with public fields; made by [`ReplicasConfig::new`].
///
/// In configuration files durations are text, `"off"` switches off what may be off, and unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicasConfig {
    /// The servers in any order, up to 64; nobody has to say which is the primary. No default.
    ///
    /// A URL may name several hosts: `postgres://user@one:5432,two:5432/app`. Two names of one server do no harm.
    pub servers: Vec<Server>,

    /// The settings of every server's pool, where a server has none of its own. Default [`PoolConfig::web`]; its `url`
    /// stays empty, and its `name` becomes `NAME@HOST:PORT` for each server.
    ///
    /// Cost: `max_size` counts for each server, and each has one more connection that watches its role.
    pub pool: PoolConfig,

    /// How often each server is asked for its role and position. Default 1 s.
    ///
    /// Cost: one small statement each time. Danger of a long time: a promotion that nobody ran into is noticed later,
    /// and a request that wrote reads from the primary for longer.
    #[serde(with = "crate::durations")]
    pub probe_interval: Duration,

    /// The longest wait for that answer. Default 1 s. A server that refuses, or answers too late three times in a row,
    /// counts as gone.
    #[serde(with = "crate::durations")]
    pub probe_timeout: Duration,

    /// A replica that is further behind serves no reads. Default 5 s; `None` ("off") lets it be as stale as it is.
    ///
    /// Measured once per `probe_interval`, so a read may be staler by that much. While the primary is gone a replica
    /// ages no further.
    #[serde(with = "crate::durations::or_off")]
    pub max_lag: Option<Duration>,

    /// The same in bytes of the write-ahead log. Default 64 MiB; `None` ("off") sets no bound.
    #[serde(with = "bytes_or_off")]
    pub max_lag_bytes: Option<u64>,

    /// Whether the primary serves reads as well. Default: only where no replica can.
    pub primary_reads: PrimaryReads,

    /// How long a read of a request that wrote waits for a replica that has seen the write, before it goes to the
    /// primary. Default `None` ("off"): it goes there at once.
    ///
    /// Cost: the wait, and a question to each server every few milliseconds meanwhile.
    #[serde(with = "crate::durations::or_off")]
    pub wait_for_write: Option<Duration>,

    /// How long a write waits for a primary while there is none. Default 10 s.
    ///
    /// Danger: longer than the timeout of the request it serves only keeps dead requests waiting; shorter than a
    /// failover turns it into errors.
    #[serde(with = "crate::durations")]
    pub failover_wait: Duration,

    /// The most callers that wait for a primary; the next one is turned away at once. Default 100.
    pub max_waiting: u32,

    /// A read waits so long for a lane of one server before it tries another. Default 500 ms.
    #[serde(with = "crate::durations")]
    pub patience: Duration,

    /// A server that failed a read is left alone for so long, twice as long each time it happens again. Default 1 s.
    #[serde(with = "crate::durations")]
    pub ban_least: Duration,

    /// The longest that it is left alone. Default 1 min. Where all replicas are banned, those that answer serve anyway.
    #[serde(with = "crate::durations")]
    pub ban_most: Duration,
}

/// One server, or several of the same user and database: a URL, or the settings of a pool of its own.
#[derive(Clone, PartialEq, Eq)]
pub enum Server {
    /// A URL; the rest is as in [`ReplicasConfig::pool`].
    Url(String),
    /// All settings of its pool.
    Pool(Box<PoolConfig>),
}

/// Whether the primary serves reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PrimaryReads {
    /// Only those that have to see a write of their own request, when no replica has seen it yet.
    Never,
    /// Also where no replica can serve.
    #[default]
    Fallback,
    /// Always, as one among the replicas.
    Balanced,
}

impl ReplicasConfig {
    /// These servers, with the settings of a service that answers requests.
    pub fn new<S: Into<Server>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Checks every field without opening anything.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.pools()?;
        let durations = [
            ("probe_interval", Some(self.probe_interval)),
            ("probe_timeout", Some(self.probe_timeout)),
            ("max_lag", self.max_lag),
            ("wait_for_write", self.wait_for_write),
            ("failover_wait", Some(self.failover_wait)),
            ("patience", Some(self.patience)),
            ("ban_least", Some(self.ban_least)),
            ("ban_most", Some(self.ban_most)),
        ];
        for (field, value) in durations {
            let Some(value) = value else { continue };
            let shown = humantime::format_duration(value);
            if value < Duration::from_millis(1) {
                return Err(ConfigError::new(field, shown, "is shorter than 1ms"));
            }
            if value > LONGEST {
                return Err(ConfigError::new(field, shown, "is longer than a day"));
            }
        }
        if self.ban_most < self.ban_least {
            let shown = humantime::format_duration(self.ban_most);
            return Err(ConfigError::new(
                "ban_most",
                shown,
                "is shorter than ban_least",
            ));
        }
        Ok(())
    }

    pub(super) fn ban_terms(&self) -> Terms {
        Terms {
            least: self.ban_least,
            most: self.ban_most,
        }
    }

    /// The settings of each server's pool, with the server's name.
    pub(super) fn pools(&self) -> Result<Vec<(String, PoolConfig)>, ConfigError> {
        let template = &self.pool;
        if !template.url.is_empty() {
            let problem = "is set; the servers have URLs of their own";
            return Err(ConfigError::new("pool.url", redact(&template.url), problem));
        }
        let mut pools: Vec<(String, PoolConfig)> = Vec::new();
        for server in &self.servers {
            let config = match server {
                Server::Pool(config) => (**config).clone(),
                Server::Url(url) => PoolConfig {
                    url: url.clone(),
                    ..template.clone()
                },
            };
            for (server, url) in hosts(&config.url)? {
                if pools.iter().any(|(other, _)| *other == server) {
                    return Err(ConfigError::new("servers", server, "is named twice"));
                }
                let name = format!("{}@{server}", config.name);
                let config = PoolConfig {
                    url,
                    name,
                    ..config.clone()
                };
                config.validate()?;
                pools.push((server, config));
            }
        }
        match pools.len() {
            0 => Err(ConfigError::new(
                "servers",
                "[]",
                "is empty; name all servers",
            )),
            count if count > MOST_SERVERS => {
                Err(ConfigError::new("servers", count, "are more than 64"))
            }
            _ => Ok(pools),
        }
    }
}

/// Splits a URL of several hosts into a URL for each, with `HOST:PORT` as its name.
fn hosts(url: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let bad = |problem| ConfigError::new("servers", redact(url), problem);
    let (scheme, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))
        .ok_or_else(|| bad("holds no PostgreSQL URL; only PostgreSQL has replicas here"))?;
    if rest.contains("target_session_attrs") {
        return Err(bad(
            "sets target_session_attrs; roles are discovered, so leave it out",
        ));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let named = hosts.split(',').map(|host| {
        if host.is_empty() {
            return Err(bad("names no host"));
        }
        // Behind the bracket that ends an IPv6 address.
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let server = if has_port {
            host.to_owned()
        } else {
            format!("{host}:5432")
        };
        Ok((server, format!("{scheme}://{user}{host}{tail}")))
    });
    named.collect()
}

impl Default for ReplicasConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            pool: PoolConfig::default(),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(1),
            max_lag: Some(Duration::from_secs(5)),
            max_lag_bytes: Some(64 * 1024 * 1024),
            primary_reads: PrimaryReads::Fallback,
            wait_for_write: None,
            failover_wait: Duration::from_secs(10),
            max_waiting: 100,
            patience: Duration::from_millis(500),
            ban_least: Duration::from_secs(1),
            ban_most: Duration::from_secs(60),
        }
    }
}

impl From<&str> for Server {
    fn from(url: &str) -> Self {
        Self::Url(url.to_owned())
    }
}

impl From<String> for Server {
    fn from(url: String) -> Self {
        Self::Url(url)
    }
}

impl From<PoolConfig> for Server {
    fn from(config: PoolConfig) -> Self {
        Self::Pool(Box::new(config))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.debug_tuple("Url").field(&redact(url)).finish(),
            Self::Pool(config) => f.debug_tuple("Pool").field(config).finish(),
        }
    }
}

impl Serialize for Server {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Url(url) => to.serialize_str(&redact(url)),
            Self::Pool(config) => config.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ServerVisitor)
    }
}

/// By hand, so that an error in a table of settings names the setting.
struct ServerVisitor;

impl<'de> Visitor<'de> for ServerVisitor {
    type Value = Server;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or the settings of a pool")
    }

    fn visit_str<E>(self, url: &str) -> Result<Server, E> {
        Ok(url.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Server, A::Error> {
        PoolConfig::deserialize(MapAccessDeserializer::new(map)).map(Server::from)
    }
}

/// A number of bytes, or "off".
mod bytes_or_off {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Bytes(u64),
        Word(String),
    }

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => to.serialize_u64(*bytes),
            None => to.serialize_str("off"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        match Text::deserialize(from)? {
            Text::Bytes(bytes) => Ok(Some(bytes)),
            Text::Word(word) if word.trim().eq_ignore_ascii_case("off") => Ok(None),
            Text::Word(word) => Err(serde::de::Error::custom(format!(
                "`{word}` is no number of bytes; \"off\" sets no bound"
            ))),
        }
    }
}

const MOST_SERVERS: usize = 64;
const LONGEST: Duration = Duration::from_secs(24 * 3600);
