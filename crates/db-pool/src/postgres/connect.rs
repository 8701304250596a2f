//! Opening a PostgreSQL connection: which places to try, TLS, login, session settings, and what a failure means.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;

use super::cancel::Cancel;
use super::connection::PgConnection;
use super::dial::{Place, resolve, targets};
use super::driver::{AbortOnDrop, Connection, Driver};
use super::lane;
use super::settings::Settings;
use super::stream::Followed;
use super::tls::{FromUrl, Tls, Trust};
use super::wire::Wire;
use crate::backend::Role;
use crate::config::PoolConfig;
use crate::error::{ConfigError, ConnectError, ConnectErrorKind};
use crate::replicas::Line;
use crate::shared::OpenToken;

/// Everything that connecting needs; made once, so that a bad URL shows before anything is opened.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
pub struct Connector {
    session: Session,
    lane: Session,
    tls: Tls,
    shown_url: String,
    connect_timeout: Duration,
    settings: Arc<Settings>,
    plans: Arc<AtomicU64>,
}

/// What is asked of the server at login.
struct Session {
    config: tokio_postgres::Config,
    /// The same for a Unix socket, which needs no TLS and has none.
    local_config: tokio_postgres::Config,
    /// How long the server may owe an answer.
    patience: Option<Duration>,
}

impl Session {
    fn new(config: tokio_postgres::Config, limit: Option<Duration>) -> Self {
        let mut local_config = config.clone();
        local_config.ssl_mode(SslMode::Disable);
        Self {
            config,
            local_config,
            patience: limit.map(|limit| limit + ANSWER_GRACE),
        }
    }
}

impl Connector {
    pub(crate) fn new(config: &PoolConfig) -> Result<Self, ConfigError> {
        let shown_url = config.shown_url();
        let bad = |problem| ConfigError::new("url", &shown_url, problem);
        let from_url = FromUrl::new(&config.url);
        let mut parsed: tokio_postgres::Config = from_url
            .url
            .parse()
            .map_err(|_| bad("is no PostgreSQL URL, or has a parameter that is not supported"))?;
        if parsed.get_hosts().is_empty() && parsed.get_hostaddrs().is_empty() {
            return Err(bad("names no host"));
        }
        if parsed.get_application_name().is_none() {
            parsed.application_name(&config.name);
        }
        let own_options = parsed.get_options().map(str::to_owned);
        let has_own_limit = own_options
            .as_ref()
            .is_some_and(|options| options.contains("statement_timeout"));
        let options = session_options(config, own_options.as_deref());
        let mut lane = parsed.clone();
        // PgBouncer turns away who asks for settings that it does not keep for each client.
        if !config.pgbouncer {
            if !options.is_empty() {
                parsed.options(&options);
            }
            lane.options(format!("{options} {}", lane::session_options(config)));
        }
        let tls = Tls::new(config, &from_url)?;
        if tls.trust == Trust::Anybody && parsed.get_ssl_mode() == SslMode::Require {
            tracing::warn!(
                pool = %config.name,
                "sslmode=require encrypts and verifies nobody; use verify-full, or name root_certificates"
            );
        }
        let limit = config.statement_timeout.filter(|_| !has_own_limit);
        Ok(Self {
            session: Session::new(parsed, limit),
            lane: Session::new(lane, Some(config.lane_statement_timeout)),
            tls,
            shown_url,
            connect_timeout: config.connect_timeout,
            settings: Arc::new(Settings::new(config)),
            plans: Arc::default(),
        })
    }

    /// Connects and sets the session up. The caller bounds it; dropping the future closes the socket.
    pub(super) async fn connect(
        &self,
        role: Role,
        token: OpenToken,
    ) -> Result<PgConnection, ConnectError> {
        let session = match role {
            Role::Writer | Role::Reader => &self.session,
            Role::Lane => &self.lane,
        };
        let login = self.log_in(session).await?;
        self.set_up(login, role, token).await
    }

    /// A connection beside the pool for somebody who watches the server; bare, without any set-up.
    pub(crate) async fn line(&self) -> Result<Line, ConnectError> {
        let Login {
            client, connection, ..
        } = self.log_in(&self.session).await?;
        let driver = tokio::spawn(async move {
            // Its end shows to whoever asks next.
            let _ = connection.await;
        });
        Ok(Line {
            client,
            driver: driver.abort_handle(),
        })
    }

    /// The same, for somebody who listens: the payload of each notification goes to `heard`, which closes when the
    /// connection ends or nobody keeps up.
    #[cfg(feature = "query-cache")]
    pub(crate) async fn listener(
        &self,
        heard: tokio::sync::mpsc::Sender<String>,
    ) -> Result<Line, ConnectError> {
        use tokio_postgres::AsyncMessage;

        let Login {
            client,
            mut connection,
            ..
        } = self.log_in(&self.session).await?;
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|cx| connection.poll_message(cx)).await
            {
                if let AsyncMessage::Notification(note) = message
                    && heard.try_send(note.payload().to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Ok(Line {
            client,
            driver: driver.abort_handle(),
        })
    }

    /// Tries one place after another, looked up anew.
    async fn log_in(&self, session: &Session) -> Result<Login, ConnectError> {
        let targets = targets(&session.config);
        let hosts = u32::try_from(targets.len()).unwrap_or(1).max(1);
        let mut last = None;
        for target in targets {
            let places = match target.places(resolve).await {
                Ok(places) => places,
                Err(error) => {
                    last = Some(Failure::Socket(error));
                    continue;
                }
            };
            // One that is silent must leave time for the others.
            let share = hosts * u32::try_from(places.len()).unwrap_or(1).max(1);
            for place in places {
                let attempt = timeout(self.connect_timeout / share, self.log_in_at(session, place));
                match attempt.await.unwrap_or(Err(Failure::TimedOut)) {
                    Ok(login) => return Ok(login),
                    Err(failure) => last = Some(failure),
                }
            }
        }
        Err(self.error(last.unwrap_or(Failure::TimedOut)))
    }

    async fn log_in_at(&self, session: &Session, place: Place) -> Result<Login, Failure> {
        let socket = place.address.dial().await.map_err(Failure::Socket)?;
        let wire = Wire::new(Arc::clone(&self.plans), session.patience);
        let stream = Followed::new(socket, Arc::clone(&wire));
        let config = if place.address.is_local() {
            &session.local_config
        } else {
            &session.config
        };
        let handshake = self.tls.handshake(&place.name);
        let (client, connection) = config
            .connect_raw(stream, handshake)
            .await
            .map_err(Failure::Protocol)?;
        let wanted = config.get_target_session_attrs();
        match (wanted, reads_only(&connection)) {
            (TargetSessionAttrs::ReadWrite, true) => Err(Failure::WrongRole("only reads")),
            (TargetSessionAttrs::ReadOnly, false) => Err(Failure::WrongRole("also writes")),
            _ => Ok(Login {
                client,
                connection,
                wire,
                place,
            }),
        }
    }

    async fn set_up(
        &self,
        login: Login,
        role: Role,
        token: OpenToken,
    ) -> Result<PgConnection, ConnectError> {
        let Login {
            client,
            connection,
            wire,
            place,
        } = login;
        let version = connection.parameter("server_version").map(version_number);
        let (process, secret) = wire.key();
        let cancel = Cancel {
            place,
            tls: wire.is_encrypted().then(|| self.tls.clone()),
            process,
            secret,
        };
        let driver = Driver::spawn(connection, wire, role, token);
        let unfinished = AbortOnDrop::new(driver.clone());
        let inner = AsyncPgConnection::try_from(client).await.map_err(|error| {
            let target = self.shown_url.clone();
            ConnectError::with(ConnectErrorKind::Other, target, None, None, Box::new(error))
        })?;
        unfinished.defuse();
        let settings = Arc::clone(&self.settings);
        let version = version.unwrap_or_default();
        Ok(PgConnection::new(inner, driver, cancel, settings, version))
    }

    fn error(&self, failure: Failure) -> ConnectError {
        let sqlstate = match &failure {
            Failure::Protocol(error) => error.code().map(|code| code.code().to_owned()),
            _ => None,
        };
        let kind = failure.kind();
        let target = self.shown_url.clone();
        ConnectError::with(kind, target, None, sqlstate, Box::new(failure))
    }
}

/// A session that the server has let in.
struct Login {
    client: tokio_postgres::Client,
    connection: Connection,
    wire: Arc<Wire>,
    place: Place,
}

/// Why one place did not give a connection.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no socket could be opened")]
    Socket(#[source] io::Error),
    #[error(transparent)]
    Protocol(tokio_postgres::Error),
    #[error("the server {0}, and target_session_attrs asks for another")]
    WrongRole(&'static str),
    #[error("no answer within its share of connect_timeout")]
    TimedOut,
}

impl Failure {
    fn kind(&self) -> ConnectErrorKind {
        match self {
            Self::Socket(_) => ConnectErrorKind::Unreachable,
            Self::Protocol(error) => classify(error),
            Self::WrongRole(_) => ConnectErrorKind::NotReady,
            Self::TimedOut => ConnectErrorKind::TimedOut,
        }
    }
}

/// What the server says of itself at login; older servers than 14 say nothing, and count as writing.
fn reads_only(connection: &Connection) -> bool {
    ["in_hot_standby", "default_transaction_read_only"]
        .iter()
        .any(|name| connection.parameter(name) == Some("on"))
}

/// `15.18 (Debian 15.18-0)` is 150018, as PostgreSQL counts.
fn version_number(text: &str) -> u32 {
    let mut parts = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    major.saturating_mul(10_000).saturating_add(minor)
}

/// Settings that the server takes with the login, without a round trip; those in the URL come last and win.
fn session_options(config: &PoolConfig, from_url: Option<&str>) -> String {
    let mut options: Vec<String> = limits(config)
        .map(|(name, millis)| format!("-c {name}={millis}"))
        .collect();
    options.extend(from_url.map(str::to_owned));
    options.join(" ")
}

/// The names and milliseconds of the limits that the server keeps.
pub(super) fn limits(config: &PoolConfig) -> impl Iterator<Item = (&'static str, u128)> {
    let limits = [
        ("statement_timeout", config.statement_timeout),
        ("lock_timeout", config.lock_timeout),
        (
            "idle_in_transaction_session_timeout",
            config.idle_in_transaction_timeout,
        ),
    ];
    limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name, limit?.as_millis())))
}

fn classify(error: &tokio_postgres::Error) -> ConnectErrorKind {
    use ConnectErrorKind as Kind;
    if let Some(code) = error.code() {
        return match code {
            _ if code.code().starts_with("28") => Kind::Authentication,
            // No right to connect to this database.
            &SqlState::INSUFFICIENT_PRIVILEGE => Kind::Authentication,
            &SqlState::INVALID_CATALOG_NAME => Kind::NoSuchDatabase,
            &SqlState::TOO_MANY_CONNECTIONS => Kind::TooManyConnections,
            &SqlState::CANNOT_CONNECT_NOW
            | &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN => Kind::NotReady,
            _ => Kind::Other,
        };
    }
    // The driver keeps the kind of its error to itself; its texts begin with fixed words.
    let text = error.to_string();
    let mut cause = std::error::Error::source(error);
    let io = std::iter::from_fn(|| {
        let this = cause?;
        cause = this.source();
        Some(this)
    })
    .find_map(|cause| cause.downcast_ref::<io::Error>());
    // What rustls refuses is invalid data; anything else is the network's.
    let cut = io.is_some_and(|io| io.kind() != io::ErrorKind::InvalidData);
    if text.starts_with("error performing TLS handshake") && !cut {
        Kind::Tls
    } else if error.is_closed() || io.is_some() {
        Kind::Unreachable
    } else if text.starts_with("authentication error") || text.contains("password missing") {
        Kind::Authentication
    } else {
        Kind::Other
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("url", &self.shown_url)
            .finish_non_exhaustive()
    }
}

/// How much longer than `statement_timeout` an answer may take: the server ends the statement and says so.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn versions_are_counted_as_postgresql_does() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("18devel", 180_000),
            ("16.0", 160_000),
            ("", 0),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
