//! `bench report`: a report that was written earlier, here or elsewhere, on the screen again.

use std::path::Path;

use crate::report::{FILE, Report};
use crate::screen;
use crate::session::{Exit, Session};
use crate::stdout;

/// Shows `file`, or the last report of this tree.
///
/// # Errors
/// If there is none, or none that this program can read.
pub(crate) fn run(session: &Session, file: Option<&Path>) -> anyhow::Result<Exit> {
    let last = session.out.join(FILE);
    if file.is_none() && !last.exists() {
        anyhow::bail!("there is no report yet; `cargo xtask bench --quick` makes one");
    }
    let report = Report::read(file.unwrap_or(&last))?;
    stdout::print(&screen::screen(&report, None))?;
    Ok(Exit::Fine)
}
