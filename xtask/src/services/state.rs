//! What `services up` left running, on disk, so that `down` and `status` find it in another process.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::server::Folder;
use super::{Kind, Service, docker, external};
use crate::process::POLL;
use crate::workspace::Workspace;

const STOP_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) services: Vec<Service>,
    /// Of local servers: their folder, and their processes.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) processes: Vec<Process>,
    /// Of containers: the compose project.
    pub(crate) project: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: u32,
}

impl State {
    /// `None` if nothing was left running, also if the file is not ours.
    pub(crate) fn read(workspace: &Workspace) -> Option<Self> {
        let text = std::fs::read_to_string(file(workspace)).ok()?;
        Self::from_json(&serde_json::from_str(&text).ok()?)
    }

    pub(crate) fn write(&self, workspace: &Workspace) -> anyhow::Result<()> {
        let file = file(workspace);
        let folder = file.parent().context("the state lies in a folder")?;
        std::fs::create_dir_all(folder)
            .and_then(|()| write_private(&file, &format!("{:#}\n", self.to_json())))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    pub(crate) fn is_complete(&self) -> bool {
        Kind::ALL
            .iter()
            .all(|kind| self.services.iter().any(|service| service.kind == *kind))
    }

    pub(crate) fn answers(&self) -> bool {
        self.services
            .iter()
            .all(|service| external::check(service).is_ok())
    }

    /// Ends everything and forgets it.
    pub(crate) fn tear_down(self, workspace: &Workspace) -> anyhow::Result<()> {
        if let Some(project) = &self.project {
            docker::down(workspace, project)?;
        }
        if let Some(folder) = self.folder {
            for process in &self.processes {
                process.stop(&folder);
            }
            drop(Folder::new(folder));
        }
        std::fs::remove_file(file(workspace)).context("cannot remove the state file")
    }

    fn to_json(&self) -> Value {
        let url = |kind| {
            self.services
                .iter()
                .find(|one| one.kind == kind)
                .map(|one| &one.url)
        };
        json!({
            "database_url": url(Kind::Postgres),
            "redis_url": url(Kind::Redis),
            "folder": self.folder,
            "processes": self.processes.iter().map(|process| process.id).collect::<Vec<_>>(),
            "project": self.project,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let service = |kind, url: &Value| {
            Some(Service {
                kind,
                url: url.as_str()?.to_owned(),
            })
        };
        let services = [
            service(Kind::Postgres, &value["database_url"]),
            service(Kind::Redis, &value["redis_url"]),
        ];
        let ids = value["processes"]
            .as_array()?
            .iter()
            .filter_map(Value::as_u64);
        Some(Self {
            services: services.into_iter().flatten().collect(),
            folder: value["folder"].as_str().map(PathBuf::from),
            processes: ids
                .filter_map(|id| {
                    Some(Process {
                        id: id.try_into().ok()?,
                    })
                })
                .collect(),
            project: value["project"].as_str().map(str::to_owned),
        })
    }
}

impl Process {
    /// Asks it to end, then kills it. A number that belongs to another program by now is left alone.
    fn stop(self, folder: &Path) {
        let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) else {
            return;
        };
        for signal in [Signal::INT, Signal::KILL] {
            if !self.is_ours(folder) {
                return;
            }
            let _ = kill_process(pid, signal);
            let asked = Instant::now();
            while self.is_ours(folder) && asked.elapsed() < STOP_LIMIT {
                std::thread::sleep(POLL);
            }
        }
    }

    /// Whether it lives and its working folder or its arguments name our folder.
    fn is_ours(self, folder: &Path) -> bool {
        let folder = folder.to_string_lossy();
        let proc = PathBuf::from(format!("/proc/{}", self.id));
        let text = if Path::new("/proc/self").exists() {
            // Empty for a zombie, as it should be. Redis replaces its arguments by a title: hence the folder.
            let link = std::fs::read_link(proc.join("cwd")).unwrap_or_default();
            let args = std::fs::read(proc.join("cmdline")).unwrap_or_default();
            format!("{} {}", link.display(), String::from_utf8_lossy(&args))
        } else {
            let mut ps = std::process::Command::new("ps");
            ps.args(["-o", "command=", "-p", &self.id.to_string()]);
            let output = ps.output().map(|output| output.stdout).unwrap_or_default();
            let text = String::from_utf8_lossy(&output).into_owned();
            // No working folder to be had here: the title of Redis has to do.
            if text.contains("-server 127.0.0.1:") {
                return true;
            } else {
                text
            }
        };
        text.contains(folder.as_ref())
    }
}

/// Ends and removes what a run left behind that was killed before it could do so itself: folders `run-<process>` of
/// processes that are gone, unless `services up` knows them.
pub(crate) fn sweep(workspace: &Workspace) {
    let known = State::read(workspace).and_then(|state| state.folder);
    let Ok(entries) = workspace.target.join("services").read_dir() else {
        return;
    };
    for folder in entries.flatten().map(|entry| entry.path()) {
        if Some(&folder) == known.as_ref() || !is_abandoned(&folder) {
            continue;
        }
        eprintln!(
            "removing {}, left by a run that was killed",
            folder.display()
        );
        for process in read_processes(&folder) {
            process.stop(&folder);
        }
        drop(Folder::new(folder));
    }
}

/// Without `/proc` nobody can tell, so nothing is.
fn is_abandoned(folder: &Path) -> bool {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let owner = name
        .strip_prefix("run-")
        .and_then(|owner| owner.parse::<u32>().ok());
    owner.is_some_and(|owner| {
        Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{owner}")).exists()
    })
}

/// Notes the processes in their folder, for [`sweep`].
pub(crate) fn write_processes(folder: &Path, processes: &[Process]) -> anyhow::Result<()> {
    let lines: Vec<_> = processes
        .iter()
        .map(|process| process.id.to_string())
        .collect();
    std::fs::write(folder.join("processes"), lines.join("\n")).context("cannot note a process")
}

fn read_processes(folder: &Path) -> Vec<Process> {
    let text = std::fs::read_to_string(folder.join("processes")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            Some(Process {
                id: line.parse().ok()?,
            })
        })
        .collect()
}

/// Writes what only the owner may read: the URLs carry passwords.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    // The mode above is for a new file only.
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.target.join("services").join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_the_disk() {
        let state = State {
            services: vec![Service {
                kind: Kind::Redis,
                url: "redis://127.0.0.1:1".into(),
            }],
            folder: Some("/x/services/run-1".into()),
            processes: vec![Process { id: 7 }],
            project: Some("tests".into()),
        };
        assert!(!state.is_complete());
        assert_eq!(State::from_json(&state.to_json()), Some(state));
    }

    #[test]
    fn the_passwords_in_the_state_are_for_its_owner_only() {
        let target = std::env::temp_dir().join(format!("xtask-state-{}", std::process::id()));
        let target = Folder::new(target);
        let workspace = Workspace {
            root: "/".into(),
            target: target.path().to_owned(),
            packages: std::collections::BTreeMap::new(),
        };
        let file = file(&workspace);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a writable folder");
        std::fs::write(&file, "left by somebody else").expect("a writable folder");
        State::default()
            .write(&workspace)
            .expect("a writable folder");
        let mode = file
            .metadata()
            .expect("it was written")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(State::read(&workspace), Some(State::default()));
    }

    #[test]
    fn only_what_a_dead_run_left_is_swept() {
        let target = std::env::temp_dir().join(format!("xtask-sweep-{}", std::process::id()));
        let target = Folder::new(target);
        let services = target.path().join("services");
        // No process has the highest number: the limit of the kernel is far below.
        let [dead, alive, kept, other] = [
            format!("run-{}", u32::MAX),
            format!("run-{}", std::process::id()),
            format!("run-{}", u32::MAX - 1),
            "other".to_owned(),
        ]
        .map(|name| services.join(name));
        for folder in [&dead, &alive, &kept, &other] {
            std::fs::create_dir_all(folder).expect("a writable temporary folder");
        }
        write_processes(&dead, &[Process { id: u32::MAX }]).expect("a writable folder");
        let workspace = Workspace {
            root: "/".into(),
            target: target.path().to_owned(),
            packages: std::collections::BTreeMap::new(),
        };
        let state = State {
            folder: Some(kept.clone()),
            ..State::default()
        };
        state.write(&workspace).expect("a writable folder");
        sweep(&workspace);
        assert!(!dead.exists());
        assert!(alive.exists() && kept.exists() && other.exists());
    }

    #[test]
    fn a_foreign_process_is_not_ours() {
        let own = Process {
            id: std::process::id(),
        };
        assert!(!own.is_ours(Path::new("/no/such/folder")));
        let folder = std::env::current_dir().expect("a working folder");
        assert!(own.is_ours(&folder));
        own.stop(Path::new("/no/such/folder"));
    }
}
