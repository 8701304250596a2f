//! Finds server programs on PATH and where distributions and Homebrew put them.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::Kind;
use crate::process::{is_program, on_path};

/// Folders whose every entry may hold a `bin` with the programs of one PostgreSQL version.
const POSTGRES_HOMES: [&str; 5] = [
    "/usr/lib/postgresql",
    "/usr/local/lib/postgresql",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/usr/libexec",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Programs {
    Postgres { server: PathBuf, initdb: PathBuf },
    Redis { server: PathBuf },
}

pub(crate) fn find(kind: Kind) -> anyhow::Result<Programs> {
    match kind {
        Kind::Postgres => {
            if let (Some(server), Some(initdb)) = (on_path("postgres"), on_path("initdb")) {
                return Ok(Programs::Postgres { server, initdb });
            }
            match newest_postgres(&POSTGRES_HOMES.map(PathBuf::from)) {
                Some(programs) => Ok(programs),
                None => bail!(
                    "no postgres and initdb on PATH or in /usr/lib/postgresql/*/bin, no container \
                     engine that answers, TEST_DATABASE_URL not set"
                ),
            }
        }
        Kind::Redis => match on_path("redis-server").or_else(|| on_path("valkey-server")) {
            Some(server) => Ok(Programs::Redis { server }),
            None => bail!(
                "no redis-server or valkey-server on PATH, no container engine that answers, \
                 TEST_REDIS_URL not set"
            ),
        },
    }
}

fn newest_postgres(homes: &[PathBuf]) -> Option<Programs> {
    homes
        .iter()
        .filter_map(|home| home.read_dir().ok())
        .flatten()
        .filter_map(|entry| in_home(&entry.ok()?.path()))
        .max_by_key(|(version, _)| *version)
        .map(|(_, programs)| programs)
}

fn in_home(home: &Path) -> Option<(u32, Programs)> {
    let name = home.file_name()?.to_str()?;
    // "17", "postgresql17", "postgresql@17"
    let version = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let version = version.parse().ok()?;
    [home.join("bin"), home.to_owned()]
        .into_iter()
        .find_map(|folder| {
            let (server, initdb) = (folder.join("postgres"), folder.join("initdb"));
            (is_program(&server) && is_program(&initdb))
                .then_some((version, Programs::Postgres { server, initdb }))
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(file: &Path) {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a writable folder");
        std::fs::write(file, "").expect("a writable folder");
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).expect("our own file");
    }

    #[test]
    fn the_newest_complete_version_is_taken() {
        let home = std::env::temp_dir().join(format!("xtask-programs-{}", std::process::id()));
        for file in [
            "9/bin/postgres",
            "9/bin/initdb",
            "15/bin/postgres",
            "15/bin/initdb",
        ] {
            program(&home.join(file));
        }
        program(&home.join("18/bin/initdb"));
        program(&home.join("redis/bin/postgres"));
        let found = newest_postgres(&[home.join("absent"), home.clone()]);
        std::fs::remove_dir_all(&home).expect("our own folder");
        assert_eq!(
            found,
            Some(Programs::Postgres {
                server: home.join("15/bin/postgres"),
                initdb: home.join("15/bin/initdb"),
            })
        );
        assert_eq!(newest_postgres(&[home]), None);
    }
}
