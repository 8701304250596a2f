//! Why a command ended without success, with the exit code that says so to scripts.
//!
//! The codes are those of BSD `sysexits.h`.

use std::{error::Error, io, net::SocketAddr, path::PathBuf, process::ExitCode};

use init_graph::GraphError;

use crate::{config::ConfigError, http::problem::chain, store::StoreError};

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration cannot be used; nothing was opened.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port is taken, or the address is not one of this machine.
    #[error("cannot listen on {address}; change {key} or stop what listens there")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The environment variable that sets it.
        key: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The database failed.
    #[error("database failed")]
    Store(#[from] StoreError),
    /// The cache tiers cannot be built.
    #[error("cache tiers cannot be used")]
    Cache(#[source] tiered_cache::BuildError),
    /// Some component did not start; the others were stopped again.
    #[error("the service did not start")]
    Start(#[source] GraphError),
    /// Some component did not stop cleanly; everything else was stopped.
    #[error("the service did not stop cleanly")]
    Stop(#[source] init_graph::StopError),
    /// A file to import cannot be read, or has bad lines.
    #[error(transparent)]
    Import(#[from] crate::commands::import::ImportError),
    /// The metrics recorder cannot be installed.
    #[error("metrics cannot be recorded")]
    Monitor(#[source] perf_monitor::MonitorError),
    /// The service that was asked does not answer or is not ready.
    #[error("{0}")]
    NotReady(String),
    /// A listener ended although nobody asked it to.
    #[error("a listener ended by itself; the log has the reason")]
    ListenerEnded,
    /// The machine does not give what a process needs.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// What is wrong with the data folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// It cannot be made or written.
    #[error("data folder {path} cannot be used; make it writable or set APP__DATABASE__URL")]
    Unusable {
        /// The folder or the lock file in it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is none.
    #[error("there is no database at {path}; see APP__DATABASE__URL")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process of the service works on it.
    #[error("{what} is held by another process of this service; stop it first")]
    InUse {
        /// The lock file or the database.
        what: String,
    },
}

/// `sysexits.h`: wrong usage or configuration.
pub const USAGE: u8 = 64;
/// `sysexits.h`: a service that is needed is unavailable.
pub const UNAVAILABLE: u8 = 69;
/// `sysexits.h`: internal error.
pub const INTERNAL: u8 = 70;
/// `sysexits.h`: input or output failed, or a file is corrupt.
pub const IO: u8 = 74;

// === impl Failure ===

impl Failure {
    /// The code for this failure; for a start that failed, that of its first cause.
    pub fn code(&self) -> u8 {
        match self {
            Self::Config(_) => USAGE,
            Self::Bind { .. } => UNAVAILABLE,
            Self::Data(_) => IO,
            Self::Store(error) => of_store(error),
            Self::Cache(error) => of_cache(error),
            Self::Import(error) => error.code(),
            Self::NotReady(_) => 1,
            Self::Start(error) => of_cause(error),
            Self::Stop(_) | Self::Monitor(_) | Self::ListenerEnded | Self::Runtime(_) => INTERNAL,
        }
    }

    /// The same for the system.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The failure and its causes in one line.
    pub fn message(&self) -> String {
        chain(self)
    }
}

/// Looks for a cause that has a code of its own.
fn of_cause(error: &(dyn Error + 'static)) -> u8 {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.code();
        }
        if error.downcast_ref::<DataError>().is_some() {
            return IO;
        }
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return of_store(error);
        }
        if let Some(error) = error.downcast_ref::<tiered_cache::BuildError>() {
            return of_cache(error);
        }
        cause = error.source();
    }
    INTERNAL
}

fn of_store(error: &StoreError) -> u8 {
    if error.is_config() {
        USAGE
    } else if error.is_corrupt() || error.is_read_only() {
        IO
    } else if error.is_unavailable() {
        UNAVAILABLE
    } else {
        INTERNAL
    }
}

fn of_cache(error: &tiered_cache::BuildError) -> u8 {
    match error {
        tiered_cache::BuildError::Config(_) => USAGE,
        _ => IO,
    }
}
