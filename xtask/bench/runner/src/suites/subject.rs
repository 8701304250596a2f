//! Who is measured: our service and the peers, and how each of them is started.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use loadgen::ServerConfig;

use crate::build::Binaries;
use crate::child;

/// A service under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Ours.
    Service,
    /// The ceiling: a handler that answers a constant.
    BareAxum,
    /// The usual stack, put together with care.
    PlainAxum,
    /// The state before: a connection for each request, no cache, no index.
    Naive,
}

/// The folder in which a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    folder: PathBuf,
}

/// Longest wait until a service is ready, or gone.
const PATIENCE: Duration = Duration::from_secs(30);

impl Subject {
    /// As it is called in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "reference-service",
            Self::BareAxum => "bare-axum",
            Self::PlainAxum => "plain-axum",
            Self::Naive => "naive",
        }
    }

    /// How it is started in `place`, on every core.
    pub(crate) fn config(self, binaries: &Binaries, place: &Place) -> ServerConfig {
        let database = format!("sqlite:{}", place.database().display());
        let (program, ready_path, env) = match self {
            Self::Service => {
                let cache = place.folder.join("data/cache").display().to_string();
                let env = vec![
                    ("APP__HTTP__ADDRESS", "127.0.0.1:{port}".to_owned()),
                    ("APP__ADMIN__ADDRESS", "127.0.0.1:0".to_owned()),
                    ("APP__DATABASE__URL", database),
                    ("APP__CACHE__DISK__PATH", cache),
                ];
                (binaries.service.clone(), "/readyz", env)
            }
            _ => {
                let env = vec![("PORT", "{port}".to_owned()), ("DATABASE_URL", database)];
                (binaries.peers.join(self.name()), "/livez", env)
            }
        };
        ServerConfig {
            program,
            args: Vec::new(),
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .chain(child::environment())
                .collect(),
            inherit_env: false,
            folder: Some(place.folder.clone()),
            log: place.log(),
            ready_path: ready_path.to_owned(),
            ready_timeout: PATIENCE,
            stop_timeout: PATIENCE,
            cpus: Vec::new(),
        }
    }
}

impl Place {
    /// A place in `folder`, which is made.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn make(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("data"))
            .with_context(|| format!("{}: cannot make a folder", folder.display()))?;
        Ok(Self { folder })
    }

    /// The file of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("data/service.db")
    }

    /// What the service prints.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}
