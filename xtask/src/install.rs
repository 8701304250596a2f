//! `test --install`: gets missing servers, and a C compiler, from the system's package manager, saying what it does.

use std::process::Command;

use crate::process::{self, on_path};
use crate::services::{Kind, Missing};

/// What the tests need and this machine lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Postgres,
    Redis,
    /// SQLite and ring are C.
    Compiler,
}

/// How a package manager is called and what it calls the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manager {
    program: &'static str,
    install: &'static [&'static str],
    /// Whether it has to run as root.
    as_root: bool,
    postgres: &'static [&'static str],
    redis: &'static [&'static str],
    compiler: &'static [&'static str],
}

/// The first one is run; for the others the command is shown, since nobody has tried them.
const MANAGERS: [Manager; 5] = [
    Manager {
        program: "apt-get",
        install: &["install", "--yes", "--no-install-recommends"],
        as_root: true,
        postgres: &["postgresql"],
        redis: &["redis-server"],
        compiler: &["gcc", "libc6-dev"],
    },
    Manager {
        program: "dnf",
        install: &["install", "-y"],
        as_root: true,
        postgres: &["postgresql-server"],
        redis: &["valkey"],
        compiler: &["gcc", "glibc-devel"],
    },
    Manager {
        program: "apk",
        install: &["add"],
        as_root: true,
        postgres: &["postgresql"],
        redis: &["redis"],
        compiler: &["gcc", "musl-dev"],
    },
    Manager {
        program: "pacman",
        install: &["-S", "--needed"],
        as_root: true,
        postgres: &["postgresql"],
        redis: &["valkey"],
        compiler: &["gcc"],
    },
    Manager {
        program: "brew",
        install: &["install"],
        as_root: false,
        postgres: &["postgresql@17"],
        redis: &["redis"],
        compiler: &[],
    },
];

/// Installs these servers where that can be done; otherwise says which command does it.
pub(crate) fn servers(missing: &[Missing]) -> anyhow::Result<()> {
    install(&needs(missing))
}

/// The same for a C compiler.
pub(crate) fn compiler() -> anyhow::Result<()> {
    let has_compiler = std::env::var_os("CC").is_some() || on_path("cc").is_some();
    if has_compiler {
        Ok(())
    } else {
        install(&[Need::Compiler])
    }
}

/// The command that installs these servers here, for the closing words of a run that skipped suites.
pub(crate) fn advice(missing: &[Missing]) -> Option<String> {
    Some(manager()?.advice(&needs(missing)))
}

fn needs(missing: &[Missing]) -> Vec<Need> {
    let need = |one: &Missing| match one.kind {
        Kind::Postgres => Need::Postgres,
        Kind::Redis => Need::Redis,
    };
    missing.iter().map(need).collect()
}

fn manager() -> Option<&'static Manager> {
    MANAGERS
        .iter()
        .find(|manager| on_path(manager.program).is_some())
}

fn install(needs: &[Need]) -> anyhow::Result<()> {
    match manager() {
        None => eprintln!("install: no known package manager; install {needs:?} by hand"),
        Some(manager) if manager.program == "apt-get" => return install_by_apt(manager, needs),
        Some(manager) => {
            eprintln!(
                "install: run this, then the same again: {}",
                manager.advice(needs)
            );
        }
    }
    Ok(())
}

impl Manager {
    fn packages(&self, needs: &[Need]) -> Vec<&'static str> {
        needs
            .iter()
            .flat_map(|need| match need {
                Need::Postgres => self.postgres,
                Need::Redis => self.redis,
                Need::Compiler => self.compiler,
            })
            .copied()
            .collect()
    }

    fn advice(&self, needs: &[Need]) -> String {
        let mut words = if self.as_root {
            vec!["sudo"]
        } else {
            Vec::new()
        };
        words.push(self.program);
        words.extend(self.install);
        words.extend(self.packages(needs));
        words.join(" ")
    }
}

fn install_by_apt(manager: &Manager, needs: &[Need]) -> anyhow::Result<()> {
    let packages = manager.packages(needs);
    eprintln!(
        "install: {} by apt-get. A package may start a server of its own; the tests leave it alone \
         and use private instances",
        packages.join(", ")
    );
    let install = || {
        let mut command = apt();
        command.args(manager.install).args(&packages);
        process::run_in_foreground(&mut command)
    };
    // Fresh images come without package lists, and old lists name packages that are gone.
    if has_lists() && install().is_ok() {
        return Ok(());
    }
    process::check_interrupt()?;
    process::run_in_foreground(apt().arg("update"))?;
    install()
}

fn apt() -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return command;
    }
    let mut command = Command::new("sudo");
    if process::in_ci() {
        // Nobody is there to type a password.
        command.arg("--non-interactive");
    }
    command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

fn has_lists() -> bool {
    std::fs::read_dir("/var/lib/apt/lists").is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        let [apt, .., brew] = MANAGERS;
        assert_eq!(
            apt.packages(&[Need::Redis, Need::Compiler]),
            ["redis-server", "gcc", "libc6-dev"]
        );
        assert_eq!(
            apt.advice(&[Need::Postgres]),
            "sudo apt-get install --yes --no-install-recommends postgresql"
        );
        assert_eq!(
            brew.advice(&[Need::Postgres, Need::Redis]),
            "brew install postgresql@17 redis"
        );
    }
}
