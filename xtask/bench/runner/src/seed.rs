//! The data that services are measured with: made for each suite by our own service, then copied for each subject, so
//! that every subject reads the same rows.

mod rows;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loadgen::{Load, Mix, Model, Server, Target};
use serde_json::Value;
use tempfile::TempDir;

use crate::build::Binaries;
use crate::child;
use crate::session::Session;
use crate::suites::subject::{Place, Subject};

/// How many different rows are asked for, of each resource: all of them fit into every cache.
const ASKED: usize = 1_000;
/// Longest wait for one answer while the data is made.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Our service reads them through its cache.
    Records,
    /// Everybody reads them from the database.
    Tasks,
}

/// A folder with a filled database; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Seed {
    folder: TempDir,
}

impl Seed {
    /// Makes the data.
    ///
    /// # Errors
    /// If the service cannot be run or does not take the data, or after Ctrl-C.
    pub(crate) fn make(session: &Session, binaries: &Binaries) -> anyhow::Result<Self> {
        let parent = session.target.join("bench/tmp");
        let folder = fs::create_dir_all(&parent)
            .and_then(|()| tempfile::Builder::new().prefix("data-").tempdir_in(&parent));
        let seed = Self {
            folder: folder
                .with_context(|| format!("{}: cannot make a folder", parent.display()))?,
        };
        let config = Subject::Service.config(binaries, &seed.origin()?);
        seed.import(&config, session)?;
        let server = Server::start(&config, &session.stop)?;
        let target = Target::at(server.address());
        create_tasks(session, &target).context("cannot create the tasks")?;
        for resource in [Resource::Records, Resource::Tasks] {
            let ids = ids(&target, resource)?;
            let apart = (ids.len() / ASKED).max(1);
            let asked: Vec<_> = ids.into_iter().step_by(apart).take(ASKED).collect();
            fs::write(seed.ids_file(resource), asked.join("\n"))?;
        }
        // Only after a clean end is the database one complete file.
        let status = server.stop()?.status;
        ensure!(
            status.is_some_and(|status| status.success()),
            "the service that made the data did not end well: {status:?}"
        );
        Ok(seed)
    }

    /// A folder of its own for `subject`, with a copy of the database.
    ///
    /// # Errors
    /// If it cannot be made or copied.
    pub(crate) fn copy_for(&self, subject: Subject) -> anyhow::Result<Place> {
        let place = Place::make(self.folder.path().join(subject.name()))?;
        let (from, to) = (self.origin()?.database(), place.database());
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(place)
    }

    /// Reads of single rows by identifier, any of them as likely as any other.
    ///
    /// # Errors
    /// If the identifiers cannot be read.
    pub(crate) fn reads(&self, resource: Resource) -> anyhow::Result<Mix> {
        let name = resource.name();
        let mix = format!(
            "[[route]]\nname = '{name}'\npath = '/api/v1/{name}/{{id}}'\nexpect = {{ status = 200 }}\n\
             [values.id]\nfile = '{name}.txt'\n"
        );
        Ok(Mix::parse(&mix, self.folder.path())?)
    }

    /// The paths of `count` of the rows that [`Self::reads`] asks for.
    ///
    /// # Errors
    /// If the identifiers cannot be read.
    pub(crate) fn paths(&self, resource: Resource, count: usize) -> anyhow::Result<Vec<String>> {
        let ids = fs::read_to_string(self.ids_file(resource))?;
        let path = |id| format!("/api/v1/{}/{id}", resource.name());
        Ok(ids.lines().step_by(ASKED / count).map(path).collect())
    }

    /// Where the data is made.
    fn origin(&self) -> anyhow::Result<Place> {
        Place::make(self.folder.path().join("origin"))
    }

    fn ids_file(&self, resource: Resource) -> PathBuf {
        let name = format!("{}.txt", resource.name());
        self.folder.path().join(name)
    }

    fn import(&self, config: &loadgen::ServerConfig, session: &Session) -> anyhow::Result<()> {
        let file = self.folder.path().join("records.ndjson");
        fs::write(&file, rows::records())
            .with_context(|| format!("cannot write {}", file.display()))?;
        // It opens no port, but checks the whole configuration.
        let env = config
            .env
            .iter()
            .map(|(name, value)| (name, value.replace("{port}", "0")));
        let mut import = Command::new(&config.program);
        import.arg("import").arg(&file).env_clear().envs(env);
        import.env("APP__LOG__FILTER", "warn");
        if let Some(folder) = &config.folder {
            import.current_dir(folder);
        }
        let status = child::run(&mut import, &session.stop, |_| {})?;
        ensure!(
            status.success(),
            "the service did not import {}: {status}",
            file.display()
        );
        Ok(())
    }
}

impl Resource {
    /// As it stands in paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Tasks => "tasks",
        }
    }
}

/// Creates the tasks through the API, as clients do.
fn create_tasks(session: &Session, target: &Target) -> anyhow::Result<()> {
    let mix = Mix::parse(rows::TASKS_MIX, &session.root)?.prepare(target, PATIENCE)?;
    let load = Load {
        model: Model::Closed { users: 4 },
        duration: Duration::from_secs(60),
        warmup: Duration::ZERO,
        connections: 4,
        requests: Some(rows::TASKS),
        seed: rows::SEED,
        ..Load::default()
    };
    let outcome = loadgen::run(target, &mix, &load, &session.stop, &|_| {})?;
    if outcome.interrupted {
        bail!("interrupted");
    }
    let total = outcome.total;
    ensure!(
        total.succeeded >= rows::TASKS,
        "{} of {} were created; statuses {:?}, errors {:?}",
        total.succeeded,
        rows::TASKS,
        total.statuses,
        total.errors
    );
    Ok(())
}

/// Every identifier of `resource`, page by page.
fn ids(target: &Target, resource: Resource) -> anyhow::Result<Vec<String>> {
    let list = format!("/api/v1/{}?limit=100", resource.name());
    let (mut ids, mut path) = (Vec::new(), list.clone());
    loop {
        let page = json(target, &path)?;
        let items = page["items"].as_array();
        let of_page = items
            .into_iter()
            .flatten()
            .filter_map(|item| item["id"].as_str());
        ids.extend(of_page.map(str::to_owned));
        match page["next"].as_str() {
            Some(next) if ids.len() < rows::MOST => path = format!("{list}&after={next}"),
            _ => break,
        }
    }
    ensure!(
        ids.len() >= ASKED,
        "{list}: {} rows, expected more",
        ids.len()
    );
    Ok(ids)
}

fn json(target: &Target, path: &str) -> anyhow::Result<Value> {
    let answer = loadgen::get(target.address, &target.host, path, &[], PATIENCE)
        .with_context(|| format!("GET {path}"))?;
    ensure!(answer.status == 200, "GET {path}: status {}", answer.status);
    serde_json::from_slice(&answer.body).with_context(|| format!("GET {path}: no JSON"))
}
