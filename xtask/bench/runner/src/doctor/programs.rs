//! Which programs are there that benches can use, and what is missing without them.

use std::path::{Path, PathBuf};

use super::{Advice, Finding, Sign};

struct Program {
    name: &'static str,
    /// As a package calls it, where that differs.
    known_as: &'static str,
    advice: Advice,
}

const PROGRAMS: [Program; 6] = [
    Program {
        name: "git",
        known_as: "git",
        advice: Advice {
            effect: "no comparison with a commit, and reports do not name theirs",
            fix: "install git",
        },
    },
    Program {
        name: "valgrind",
        known_as: "valgrind",
        advice: Advice {
            effect: "no instruction counts: micro benches are compared by time alone, which is less sure",
            fix: "install valgrind",
        },
    },
    Program {
        name: "perf",
        known_as: "perf",
        advice: Advice {
            effect: "none on figures; you cannot look where time goes",
            fix: "install linux-perf (linux-tools)",
        },
    },
    Program {
        name: "wrk",
        known_as: "wrk",
        advice: Advice {
            effect: "none on figures; the check of the load generator against wrk is skipped",
            fix: "install wrk",
        },
    },
    Program {
        name: "postgres",
        known_as: "PostgreSQL",
        advice: Advice {
            effect: "none on these suites, which use SQLite; tests and `load` with a server need it",
            fix: "cargo xtask services up",
        },
    },
    Program {
        name: "redis-server",
        known_as: "Redis",
        advice: Advice {
            effect: "none on these suites; tests and `load` with the shared cache need it",
            fix: "cargo xtask services up",
        },
    },
];

/// The folders in which a shell looks, and where servers are installed that it does not see.
pub(super) fn path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let servers = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    folders.extend(servers.flatten().map(|version| version.path().join("bin")));
    folders
}

pub(super) fn findings(folders: &[PathBuf]) -> Vec<Finding> {
    PROGRAMS
        .iter()
        .map(|program| match find(folders, program.name) {
            Some(path) => Finding::ok(program.known_as, path.display().to_string()),
            None => Finding::not_ok(Sign::Warn, program.known_as, "not found", program.advice),
        })
        .collect()
}

fn find(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders
        .iter()
        .map(|folder: &PathBuf| Path::join(folder, name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::super::tests::sign;
    use super::*;

    #[test]
    fn a_program_is_found_in_any_folder_and_a_missing_one_says_what_is_lost() {
        let (empty, full) = (tempfile::tempdir(), tempfile::tempdir());
        let (empty, full) = (empty.expect("a folder"), full.expect("a folder"));
        std::fs::write(full.path().join("valgrind"), "").expect("a file");
        let folders = [empty.path().to_owned(), full.path().to_owned()];
        let findings = findings(&folders);
        assert_eq!(sign(&findings, "valgrind"), Sign::Ok);
        assert_eq!(sign(&findings, "git"), Sign::Warn);
        assert_eq!(findings.len(), PROGRAMS.len());
    }
}
