//! Private instances of the servers installed on this machine, in a folder of their own. They listen on loopback only
//! and their data is worth nothing, so they do not wait for the disk.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;

use super::account::{Account, create_private};
use super::external;
use super::programs::Programs;
use super::server::{Folder, Launch, Server};
use super::state::{self, Process};
use crate::process;
use crate::workspace::Workspace;

const READY_LIMIT: Duration = Duration::from_secs(60);
const INITDB_LIMIT: Duration = Duration::from_secs(120);
/// Anybody on this machine reaches the port; the password keeps other accounts out.
const PASSWORD_BYTES: usize = 12;

#[derive(Debug)]
pub(crate) struct Local {
    // Order matters: servers end before their folder is removed.
    servers: Vec<Server>,
    folder: Folder,
    account: Option<Account>,
}

impl Local {
    /// Makes the folder; starts nothing yet.
    pub(crate) fn new(workspace: &Workspace) -> anyhow::Result<Self> {
        state::sweep(workspace);
        let account = Account::unprivileged();
        let name = format!("run-{}", std::process::id());
        let preferred = make_folder(workspace.target.join("services").join(&name));
        let folder = match preferred {
            Ok(folder) if is_usable(folder.path(), account.as_ref()) => folder,
            // A closed parent folder keeps the server's account out: the temporary folder never does.
            _ => make_folder(std::env::temp_dir().join(format!("xtask-services-{name}")))?,
        };
        Ok(Self {
            servers: Vec::new(),
            folder,
            account,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        self.servers
            .iter()
            .map(|server| Process { id: server.id() })
            .collect()
    }

    pub(crate) fn keep(self) {
        self.servers.into_iter().for_each(Server::keep);
        self.folder.keep();
    }

    /// Starts one server and returns its URL.
    pub(crate) fn start(
        &mut self,
        programs: &Programs,
        ports: &mut dyn FnMut() -> anyhow::Result<u16>,
    ) -> anyhow::Result<String> {
        let url = match programs {
            Programs::Postgres { server, initdb } => self.start_postgres(server, initdb, ports)?,
            Programs::Redis { server } => self.start_redis(server, ports)?,
        };
        state::write_processes(self.folder(), &self.processes())?;
        Ok(url)
    }

    fn start_postgres(
        &mut self,
        program: &Path,
        initdb: &Path,
        ports: &mut dyn FnMut() -> anyhow::Result<u16>,
    ) -> anyhow::Result<String> {
        let folder = self.subfolder("postgres")?;
        let password = random_password()?;
        self.create_cluster(initdb, &folder, &password)?;
        let launch = Launch {
            program,
            args: &|port| postgres_args(&folder, port),
            folder: &folder,
            account: self.account.as_ref(),
            is_ready: &|port, log| {
                log.contains("ready to accept connections") && external::answers(loopback(port))
            },
            // "Fast": open transactions are rolled back.
            stop: Signal::INT,
            limit: READY_LIMIT,
        };
        let (server, port) = Server::start(&launch, ports)?;
        self.servers.push(server);
        Ok(postgres_url(&password, port))
    }

    fn create_cluster(&self, initdb: &Path, folder: &Path, password: &str) -> anyhow::Result<()> {
        let password_file = folder.join("password");
        std::fs::write(&password_file, password).context("cannot write the password file")?;
        let mut command = Command::new(initdb);
        command
            .args([
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            // The server checks a hash, the client sends the word: a debug build would take long to compute SCRAM.
            .arg("--auth=password")
            .arg(option("--pwfile=", &password_file))
            .arg(option("--pgdata=", &folder.join("data")))
            .current_dir(folder)
            .env("LC_ALL", "C");
        if let Some(account) = &self.account {
            account.own(&password_file)?;
            account.apply(&mut command);
        }
        process::read(&mut command, INITDB_LIMIT).map(drop)
    }

    fn start_redis(
        &mut self,
        program: &Path,
        ports: &mut dyn FnMut() -> anyhow::Result<u16>,
    ) -> anyhow::Result<String> {
        let folder = self.subfolder("redis")?;
        let launch = Launch {
            program,
            args: &|port| redis_args(&folder, port),
            folder: &folder,
            account: self.account.as_ref(),
            is_ready: &|port, _| external::answers_ping(loopback(port)),
            stop: Signal::TERM,
            limit: READY_LIMIT,
        };
        let (server, port) = Server::start(&launch, ports)?;
        self.servers.push(server);
        Ok(redis_url(port))
    }

    fn subfolder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join(name);
        create_private(&folder, self.account.as_ref())?;
        Ok(folder)
    }
}

/// Fails if it exists: in a shared temporary folder it may be somebody else's.
fn make_folder(path: PathBuf) -> anyhow::Result<Folder> {
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::create_dir(&path))
        .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)))
        .with_context(|| format!("cannot create {}", path.display()))?;
    Ok(Folder::new(path))
}

fn is_usable(folder: &Path, account: Option<&Account>) -> bool {
    account.is_none_or(|account| account.can_enter(folder))
}

fn postgres_args(folder: &Path, port: u16) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![
        "-D".into(),
        folder.join("data").into(),
        "-p".into(),
        port.to_string().into(),
    ];
    for setting in [
        "listen_addresses=127.0.0.1",
        // No socket file, so no limit on the length of the path.
        "unix_socket_directories=",
        "max_connections=300",
        "shared_buffers=32MB",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "log_destination=stderr",
        "logging_collector=off",
    ] {
        args.extend(["-c".into(), setting.into()]);
    }
    args
}

fn redis_args(folder: &Path, port: u16) -> Vec<OsString> {
    let port = port.to_string();
    let mut args: Vec<OsString> = ["--port", &port, "--bind", "127.0.0.1", "--daemonize", "no"]
        .into_iter()
        .chain([
            "--save",
            "",
            "--appendonly",
            "no",
            "--databases",
            "64",
            "--dir",
        ])
        .map(OsString::from)
        .collect();
    args.push(folder.into());
    args
}

fn postgres_url(password: &str, port: u16) -> String {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")
}

fn redis_url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn random_password() -> anyhow::Result<String> {
    use std::io::Read;
    let mut bytes = [0; PASSWORD_BYTES];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_loopback_and_the_port() {
        assert_eq!(
            postgres_url("ab12", 5433),
            "postgres://postgres:ab12@127.0.0.1:5433/postgres"
        );
        assert_eq!(redis_url(6380), "redis://127.0.0.1:6380");
    }

    #[test]
    fn passwords_need_no_escaping_and_differ() {
        let (one, two) = (
            random_password().expect("random"),
            random_password().expect("random"),
        );
        assert_eq!(one.len(), 2 * PASSWORD_BYTES);
        assert!(one.chars().all(|letter| letter.is_ascii_alphanumeric()));
        assert_ne!(one, two);
    }

    #[test]
    fn servers_listen_on_loopback_only() {
        let folder = Path::new("/f");
        assert!(postgres_args(folder, 1).contains(&"listen_addresses=127.0.0.1".into()));
        let args = redis_args(folder, 1);
        let bind = args
            .iter()
            .position(|arg| arg == "--bind")
            .expect("a bind option");
        assert_eq!(args[bind + 1], "127.0.0.1");
    }
}
