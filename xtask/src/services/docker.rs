//! Containers by `docker compose` or `podman compose` on the compose file of the reference service.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};

use super::{Kind, Service};
use crate::process;
use crate::workspace::Workspace;

const COMPOSE_FILE: &str = "services/reference-service/deploy/compose.yaml";
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Includes the download of the images.
const UP_LIMIT: Duration = Duration::from_secs(300);
const DOWN_LIMIT: Duration = Duration::from_secs(60);
/// Of the containers on loopback, see the compose file.
const PASSWORD: &str = "postgres";

/// How long the containers are meant to live; decides the name of the project.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lifetime {
    /// Until `services down`: one project per checkout.
    Kept,
    /// Until this command ends.
    Command,
}

/// A compose project; removed with its volumes when dropped.
#[derive(Debug)]
pub(crate) struct Project {
    engine: &'static str,
    name: String,
    file: std::path::PathBuf,
}

impl Project {
    /// Starts the services and waits until they are healthy.
    pub(crate) fn up(
        workspace: &Workspace,
        lifetime: Lifetime,
        kinds: &[Kind],
    ) -> anyhow::Result<(Self, Vec<Service>)> {
        let name = match lifetime {
            Lifetime::Kept => format!("xtask-{:08x}", checksum(&workspace.root.to_string_lossy())),
            Lifetime::Command => format!("xtask-run-{}", std::process::id()),
        };
        let engine = engine()?;
        let file = workspace.root.join(COMPOSE_FILE);
        ensure!(file.is_file(), "{COMPOSE_FILE} is missing");
        // From here on a failure removes what was created.
        let project = Self { engine, name, file };
        let mut command = project.compose(&["up", "--detach", "--wait"]);
        command.args(kinds.iter().map(|kind| kind.name()));
        process::read(&mut command, UP_LIMIT).map_err(|error| project.with_logs(error))?;
        let services = kinds
            .iter()
            .map(|kind| {
                Ok(Service {
                    kind: *kind,
                    url: project.url(*kind)?,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok((project, services))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }

    fn url(&self, kind: Kind) -> anyhow::Result<String> {
        let inside = match kind {
            Kind::Postgres => "5432",
            Kind::Redis => "6379",
        };
        let output = process::read(
            &mut self.compose(&["port", kind.name(), inside]),
            ANSWER_LIMIT,
        )?;
        url(kind, &output)
    }

    fn with_logs(&self, error: anyhow::Error) -> anyhow::Error {
        if process::interrupted() {
            return error;
        }
        match process::read(&mut self.compose(&["logs", "--tail", "15"]), ANSWER_LIMIT) {
            Ok(logs) if !logs.trim().is_empty() => anyhow!(
                "{error:#}; the containers wrote:\n{}",
                super::server::tail(&logs)
            ),
            _ => error,
        }
    }

    fn remove(&self) -> anyhow::Result<()> {
        let mut command = self.compose(&["down", "--volumes", "--timeout", "5"]);
        let left = || {
            format!(
                "{} compose left the project {} behind",
                self.engine, self.name
            )
        };
        // Not `process::read`: it refuses to start anything once Ctrl-C was pressed.
        let status = process::Group::spawn(&mut command)
            .and_then(|mut group| group.wait_uninterrupted(DOWN_LIMIT))
            .with_context(left)?;
        ensure!(status.success(), left());
        Ok(())
    }

    fn compose(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.engine);
        command.arg("compose").arg("--file").arg(&self.file);
        command.args(["--project-name", &self.name]).args(args);
        command
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}

/// Removes a project that another process started.
///
/// # Errors
/// It is still there, so it must not be forgotten.
pub(crate) fn down(workspace: &Workspace, project: &str) -> anyhow::Result<()> {
    let project = Project {
        engine: engine()?,
        name: project.to_owned(),
        file: workspace.root.join(COMPOSE_FILE),
    };
    let removed = project.remove();
    // One attempt is enough.
    project.keep();
    removed
}

/// The first engine whose daemon answers and that can compose.
pub(crate) fn engine() -> anyhow::Result<&'static str> {
    let mut reasons = Vec::new();
    for engine in ["docker", "podman"] {
        if process::on_path(engine).is_none() {
            continue;
        }
        let answers = process::read(Command::new(engine).arg("info"), ANSWER_LIMIT).is_ok();
        if !answers {
            reasons.push(format!("{engine} is installed, but no daemon answers"));
        } else if process::read(
            Command::new(engine).args(["compose", "version"]),
            ANSWER_LIMIT,
        )
        .is_err()
        {
            reasons.push(format!("{engine} has no compose command"));
        } else {
            return Ok(engine);
        }
    }
    if reasons.is_empty() {
        bail!("neither docker nor podman is installed");
    }
    bail!(reasons.join("; "))
}

fn url(kind: Kind, published: &str) -> anyhow::Result<String> {
    let address = published.lines().next().unwrap_or_default().trim();
    let (_, port) = address
        .rsplit_once(':')
        .with_context(|| format!("no port in {address:?}"))?;
    let port: u16 = port
        .parse()
        .with_context(|| format!("no port in {address:?}"))?;
    Ok(match kind {
        Kind::Postgres => format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"),
        Kind::Redis => format!("redis://127.0.0.1:{port}"),
    })
}

/// FNV-1a: tells two checkouts apart, nothing more.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_become_urls() {
        assert_eq!(
            url(Kind::Postgres, "127.0.0.1:32768\n").ok().as_deref(),
            Some("postgres://postgres:postgres@127.0.0.1:32768/postgres")
        );
        assert_eq!(
            url(Kind::Redis, "0.0.0.0:32769\n[::]:32770\n")
                .ok()
                .as_deref(),
            Some("redis://127.0.0.1:32769")
        );
        assert!(url(Kind::Redis, "").is_err());
        assert!(url(Kind::Redis, "127.0.0.1:0x1").is_err());
    }

    #[test]
    fn a_project_that_is_still_there_is_an_error() {
        let project = Project {
            engine: "false",
            name: "one".to_owned(),
            file: COMPOSE_FILE.into(),
        };
        let error = project.remove().expect_err("the engine fails");
        assert!(
            error.to_string().contains("left the project one behind"),
            "{error}"
        );
        project.keep();
    }

    #[test]
    fn checkouts_get_projects_of_their_own() {
        assert_ne!(checksum("/one"), checksum("/two"));
    }

    #[test]
    fn the_compose_file_is_where_it_is_looked_for() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = std::fs::read_to_string(root.join(COMPOSE_FILE)).expect("the compose file");
        for kind in Kind::ALL {
            assert!(
                text.contains(&format!("\n  {}:\n", kind.name())),
                "no {}",
                kind.name()
            );
        }
        assert!(text.contains(&format!("POSTGRES_PASSWORD: {PASSWORD}\n")));
    }
}
