//! `test --install`: gets missing servers, and a C compiler, from the system's package manager, saying what it does.

use std::process::Command;

use crate::process::{self, on_path};
use crate::services;

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

/// Installs what is missing where that can be done; otherwise says which command does it.
pub(crate) fn missing() -> anyhow::Result<()> {
    let needs = needs();
    if needs.is_empty() {
        eprintln!("install: servers and C compiler are there already");
        return Ok(());
    }
    let Some(manager) = MANAGERS
        .iter()
        .find(|manager| on_path(manager.program).is_some())
    else {
        eprintln!("install: no known package manager; install {needs:?} by hand");
        return Ok(());
    };
    if manager.program == "apt-get" {
        return install_by_apt(manager, &needs);
    }
    eprintln!(
        "install: run this, then again without --install: {}",
        manager.advice(&needs)
    );
    Ok(())
}

/// The command that installs both servers here, for the closing words of a run that skipped suites.
pub(crate) fn advice() -> Option<String> {
    let manager = MANAGERS
        .iter()
        .find(|manager| on_path(manager.program).is_some())?;
    Some(manager.advice(&needs()))
}

fn needs() -> Vec<Need> {
    let mut needs = Vec::new();
    if std::env::var_os("TEST_DATABASE_URL").is_none() && !services::have_postgres() {
        needs.push(Need::Postgres);
    }
    if std::env::var_os("TEST_REDIS_URL").is_none() && !services::have_redis() {
        needs.push(Need::Redis);
    }
    if std::env::var_os("CC").is_none() && on_path("cc").is_none() {
        needs.push(Need::Compiler);
    }
    needs
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
