//! `bench list`: which suites there are and what each measures.

use std::path::Path;

use crate::session::Exit;
use crate::suites::{self, Suite};

/// The suites that measure services.
pub(crate) fn services() -> impl Iterator<Item = &'static Suite> {
    suites::all().iter()
}

/// The crates that have micro benches: one file each.
pub(crate) fn micro(root: &Path) -> Vec<String> {
    let folder = root.join("xtask/bench/micro/src/bin");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

pub(crate) fn run(root: &Path) -> anyhow::Result<Exit> {
    for suite in services() {
        println!("{:<18} {}", suite.name, suite.about);
    }
    for name in micro(root) {
        println!("{name}");
    }
    Ok(Exit::Fine)
}
