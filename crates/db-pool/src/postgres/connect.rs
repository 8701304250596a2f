//! Opening a PostgreSQL connection: URL, TLS, session settings, and what a failure means.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::PgConnection;
use super::driver::{AbortOnDrop, Driver};
use super::lane;
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
    config: tokio_postgres::Config,
    /// The same with the session of a lane.
    lane: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    shown_url: String,
}

impl Connector {
    pub(crate) fn new(config: &PoolConfig) -> Result<Self, ConfigError> {
        let shown_url = config.shown_url();
        let bad = |problem| ConfigError::new("url", &shown_url, problem);
        // Certificates are always verified against name and roots, so these two mean the same as `require` here.
        let url = config
            .url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut parsed: tokio_postgres::Config = url
            .parse()
            .map_err(|_| bad("is no PostgreSQL URL, or has a parameter that is not supported"))?;
        if parsed.get_hosts().is_empty() {
            return Err(bad("names no host"));
        }
        if parsed.get_application_name().is_none() {
            parsed.application_name(&config.name);
        }
        let options = session_options(config, parsed.get_options());
        if !options.is_empty() {
            parsed.options(&options);
        }
        parsed
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(20));
        let mut lane = parsed.clone();
        lane.options(format!("{options} {}", lane::session_options(config)));
        let tls = MakeRustlsConnect::new(tls_config().ok_or_else(|| bad("cannot use TLS"))?);
        Ok(Self {
            config: parsed,
            lane,
            tls,
            shown_url,
        })
    }

    /// Connects and sets the session up. The caller bounds it; dropping the future closes the socket.
    pub(super) async fn connect(
        &self,
        role: Role,
        token: OpenToken,
    ) -> Result<PgConnection, ConnectError> {
        let config = match role {
            Role::Writer | Role::Reader => &self.config,
            Role::Lane => &self.lane,
        };
        let (client, connection) = config
            .connect(self.tls.clone())
            .await
            .map_err(|error| self.error(error))?;
        let driver = Driver::spawn(connection, token);
        let unfinished = AbortOnDrop::new(driver.clone());
        let inner = AsyncPgConnection::try_from(client).await.map_err(|error| {
            let target = self.shown_url.clone();
            ConnectError::with(ConnectErrorKind::Other, target, None, None, Box::new(error))
        })?;
        unfinished.defuse();
        Ok(PgConnection::new(inner, driver, self.tls.clone()))
    }

    /// A connection beside the pool for somebody who watches the server; bare, without any set-up.
    pub(crate) async fn line(&self) -> Result<Line, ConnectError> {
        let connecting = self.config.connect(self.tls.clone());
        let (client, connection) = connecting.await.map_err(|error| self.error(error))?;
        let driver = tokio::spawn(async move {
            // Its end shows to whoever asks next.
            let _ = connection.await;
        });
        Ok(Line {
            client,
            driver: driver.abort_handle(),
        })
    }

    fn error(&self, error: tokio_postgres::Error) -> ConnectError {
        let sqlstate = error.code().map(|code| code.code().to_owned());
        let kind = classify(&error);
        ConnectError::with(
            kind,
            self.shown_url.clone(),
            None,
            sqlstate,
            Box::new(error),
        )
    }
}

/// Settings that the server takes with the login, without a round trip; those in the URL come last and win.
fn session_options(config: &PoolConfig, from_url: Option<&str>) -> String {
    let limits = [
        ("statement_timeout", config.statement_timeout),
        ("lock_timeout", config.lock_timeout),
        (
            "idle_in_transaction_session_timeout",
            config.idle_in_transaction_timeout,
        ),
    ];
    let mut options: Vec<String> = limits
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("-c {name}={}", limit?.as_millis())))
        .collect();
    options.extend(from_url.map(str::to_owned));
    options.join(" ")
}

/// `None` only if rustls' own provider lacked its own default protocol versions.
fn tls_config() -> Option<ClientConfig> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let versions = builder.with_safe_default_protocol_versions().ok()?;
    Some(versions.with_root_certificates(roots).with_no_client_auth())
}

fn classify(error: &tokio_postgres::Error) -> ConnectErrorKind {
    use ConnectErrorKind as Kind;
    if let Some(code) = error.code() {
        return match code {
            _ if code.code().starts_with("28") => Kind::Authentication,
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
    .any(|cause| cause.is::<io::Error>());
    if text.starts_with("error performing TLS handshake") {
        Kind::Tls
    } else if text.starts_with("error connecting to server") || error.is_closed() || io {
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
