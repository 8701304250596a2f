//! `bench list`: which suites there are and what each measures.

use std::path::Path;

use crate::environment::output;
use crate::session::Exit;
use crate::stdout;
use crate::suites::{self, Suite};

/// Listing builds nothing.
const NOT_BUILT: &str = "not built yet; `cargo xtask bench micro` builds them all";

/// The suites that measure services.
pub(crate) fn services() -> impl Iterator<Item = &'static Suite> {
    suites::all().iter()
}

/// The crates that have micro benches: one file each, or a folder with a `main.rs`.
pub(crate) fn micro(root: &Path) -> Vec<String> {
    let folder = root.join("xtask/bench/micro/src/bin");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "rs")
                || path.join("main.rs").exists()
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Prints the suites, then the benches of each crate as far as its program is built.
///
/// # Errors
/// If standard output takes no more.
pub(crate) fn run(root: &Path, target: &Path) -> anyhow::Result<Exit> {
    let mut text = "Services, beside their peers\n".to_owned();
    for suite in services() {
        text.push_str(&format!("  {:<16} {}\n", suite.name, suite.about));
    }
    text.push_str("\nCrates, beside theirs\n");
    for name in micro(root) {
        let program = target.join("release").join(&name);
        let program = program.to_string_lossy();
        text.push_str(&match output(root, &program, &["--list"]) {
            Some(listed) => benches(&name, &listed),
            None => format!("  {name:<16} {NOT_BUILT}\n"),
        });
    }
    text.push_str("\nRun some by name: cargo xtask bench hello tiered-cache\n");
    stdout::print(&text)?;
    Ok(Exit::Fine)
}

/// A crate's benches from its `BENCH suite name subject about` lines, the subjects of one bench in one line, and what is
/// taken besides from its `FIGURES suite name about` lines.
fn benches(suite: &str, listed: &str) -> String {
    let mut benches: Vec<(&str, Vec<&str>, &str)> = Vec::new();
    for line in listed.lines() {
        let mut words = line.splitn(5, ' ');
        let (Some("BENCH"), Some(_), Some(name), Some(subject)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let about = words.next().unwrap_or_default();
        match benches.iter_mut().find(|bench| bench.0 == name) {
            Some(bench) => bench.1.push(subject),
            None => benches.push((name, vec![subject], about)),
        }
    }
    let mut text = format!("  {suite}\n");
    for (name, subjects, about) in benches {
        let peers: Vec<_> = subjects
            .into_iter()
            .filter(|subject| *subject != suite)
            .collect();
        text.push_str(&format!("    {name:<18} {about}\n"));
        if !peers.is_empty() {
            text.push_str(&format!("    {:<18} beside {}\n", "", peers.join(", ")));
        }
    }
    for line in listed.lines() {
        let mut words = line.splitn(4, ' ');
        if let (Some("FIGURES"), Some(_), Some(name)) = (words.next(), words.next(), words.next()) {
            let about = words.next().unwrap_or_default();
            text.push_str(&format!("    {name:<18} {about}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_one_bench_stand_in_one_line() {
        let listed = "\
BENCH cache hit cache get of a present key
BENCH cache hit moka get of a present key
BENCH cache hit quick_cache get of a present key
BENCH cache drop cache removal
FIGURES cache memory bytes for each entry
something else
";
        let expected = "  cache
    hit                get of a present key
                       beside moka, quick_cache
    drop               removal
    memory             bytes for each entry
";
        assert_eq!(benches("cache", listed), expected);
    }

    #[test]
    fn each_file_of_the_micro_benches_is_a_suite() {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("xtask/bench/micro/src/bin");
        std::fs::create_dir_all(&bin).expect("folders");
        std::fs::create_dir_all(bin.join("c")).expect("a folder");
        std::fs::create_dir_all(bin.join("data")).expect("a folder");
        for name in ["b.rs", "a.rs", "notes.md", "c/main.rs", "data/notes.rs"] {
            std::fs::write(bin.join(name), "").expect("a file");
        }
        assert_eq!(micro(folder.path()), ["a", "b", "c"]);
        assert!(micro(&bin).is_empty());
    }
}
