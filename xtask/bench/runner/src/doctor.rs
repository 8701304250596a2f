//! `bench doctor`: what on this machine disturbs figures, with evidence, effect and remedy.

use crate::session::{Exit, Session};

pub(crate) fn run(_session: &Session) -> anyhow::Result<Exit> {
    Ok(Exit::Fine)
}
