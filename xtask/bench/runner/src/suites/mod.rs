//! What can be measured: services beside their peers, and crates beside theirs.

use crate::build::Binaries;
use crate::report::Collector;
use crate::session::Session;

/// A scenario in which services are measured.
pub(crate) struct Suite {
    /// As it is called on the command line.
    pub(crate) name: &'static str,
    /// What it measures, in one line.
    pub(crate) about: &'static str,
    /// Measures it; what arrived in the collector counts even if it fails.
    pub(crate) run: fn(&Session, &Binaries, &mut Collector) -> anyhow::Result<()>,
}

/// Every suite of services, in the order in which they run.
pub(crate) fn all() -> &'static [Suite] {
    &[]
}

/// Runs the micro benches of one crate.
pub(crate) fn micro(
    _name: &str,
    _session: &Session,
    _binaries: &Binaries,
    _collector: &mut Collector,
) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
