//! One server process: start on a free port, wait until it answers, end it. Knows nothing of PostgreSQL or Redis.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::account::Account;
use crate::process::{self, Group, POLL};

/// How often another port is tried when somebody else took the one that had been free.
const PORT_ATTEMPTS: usize = 5;
/// How much of a log an error quotes.
const LOG_LINES: usize = 15;

/// How to start a server.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a dyn Fn(u16) -> Vec<OsString>,
    pub(crate) folder: &'a Path,
    pub(crate) account: Option<&'a Account>,
    /// Whether the server on this port answers; gets its log too.
    pub(crate) is_ready: &'a dyn Fn(u16, &str) -> bool,
    pub(crate) stop: Signal,
    pub(crate) limit: Duration,
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    group: Group,
    stop: Signal,
}

impl Server {
    /// Starts on a port from `ports` and returns once the server answers.
    pub(crate) fn start(
        launch: &Launch<'_>,
        ports: &mut dyn FnMut() -> anyhow::Result<u16>,
    ) -> anyhow::Result<(Self, u16)> {
        for attempt in 1..=PORT_ATTEMPTS {
            let port = ports()?;
            let log = launch.folder.join("log");
            let server = Self::spawn(launch, port, &log)?;
            match server.wait_until_ready(launch, port, &log)? {
                Some(server) => return Ok((server, port)),
                None => eprintln!("port {port} was taken in between (attempt {attempt})"),
            }
        }
        bail!("no port stayed free in {PORT_ATTEMPTS} attempts")
    }

    fn spawn(launch: &Launch<'_>, port: u16, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().context("cannot share the log")?;
        let mut command = Command::new(launch.program);
        command
            .args((launch.args)(port))
            .current_dir(launch.folder)
            .env("LC_ALL", "C")
            .stdout(file)
            .stderr(errors);
        if let Some(account) = launch.account {
            account.apply(&mut command);
        }
        Ok(Self {
            group: Group::spawn(&mut command)?,
            stop: launch.stop,
        })
    }

    /// `None` if the port was in use.
    fn wait_until_ready(
        mut self,
        launch: &Launch<'_>,
        port: u16,
        log: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let start = Instant::now();
        loop {
            process::check_interrupt()?;
            let text = read_log(log);
            if let Some(status) = self.group.exited()? {
                if text.contains("in use") {
                    return Ok(None);
                }
                bail!("it ended at once ({status}); its log:\n{}", tail(&text));
            }
            if (launch.is_ready)(port, &text) {
                return Ok(Some(self));
            }
            if start.elapsed() > launch.limit {
                let limit = launch.limit.as_secs_f32();
                bail!("not ready after {limit} s; its log:\n{}", tail(&text));
            }
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.group.id()
    }

    /// Lets the process live on after us.
    pub(crate) fn keep(self) {
        // Its destructor would end it; what is leaked is one small value of a process about to exit.
        std::mem::forget(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.group.stop(self.stop);
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

fn read_log(log: &Path) -> String {
    std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES)..];
    if shown.is_empty() {
        "  (empty)".to_owned()
    } else {
        format!("  {}", shown.join("\n  "))
    }
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a writable temporary folder");
        Folder::new(path)
    }

    /// A server made of a shell script; its port is `$1`.
    fn start(folder: &Folder, script: &str, ports: &[u16], limit: Duration) -> anyhow::Result<u16> {
        let launch = Launch {
            program: Path::new("/bin/sh"),
            args: &|port| {
                ["-c", script, "sh", &port.to_string()]
                    .map(OsString::from)
                    .to_vec()
            },
            folder: folder.path(),
            account: None,
            // The whole line: a port that is "already in use" is not "ready".
            is_ready: &|_, log| log.lines().any(|line| line == "ready"),
            stop: Signal::TERM,
            limit,
        };
        let mut ports = ports.iter().copied();
        let mut next = || ports.next().context("no port left");
        Server::start(&launch, &mut next).map(|(_, port)| port)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_busy_port_leads_to_the_next_one() {
        let folder = folder("busy-port");
        let script = "[ $1 = 1 ] && { echo Address already in use; exit 1; }; echo ready; sleep 60";
        assert_eq!(start(&folder, script, &[1, 2], LONG).ok(), Some(2));
    }

    #[test]
    fn ports_are_not_tried_for_ever() {
        let folder = folder("no-port");
        let script = "echo Address already in use; exit 1";
        let error = start(&folder, script, &[1, 1, 1, 1, 1, 1], LONG).expect_err("always busy");
        assert!(error.to_string().contains("no port stayed free"), "{error}");
    }

    #[test]
    fn an_early_end_quotes_the_log() {
        let folder = folder("early-end");
        let error = start(&folder, "echo out of shared memory; exit 3", &[1], LONG)
            .expect_err("the server ended");
        let text = error.to_string();
        assert!(
            text.contains("out of shared memory") && text.contains('3'),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_never_answers_is_given_up_with_its_log() {
        let folder = folder("silent");
        let limit = Duration::from_millis(300);
        let error =
            start(&folder, "echo thinking; exec sleep 60", &[1], limit).expect_err("silent");
        let text = error.to_string();
        assert!(
            text.contains("not ready") && text.contains("thinking"),
            "{text}"
        );
    }

    #[test]
    fn a_panic_ends_the_server_and_removes_its_folder() {
        let folder = folder("panic");
        let path = folder.path().to_owned();
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let outcome = std::thread::spawn(move || {
            // Dropped in this order: the server, then what it writes to.
            let held = folder;
            let launch = Launch {
                program: Path::new("/bin/sh"),
                args: &|_| {
                    ["-c", "echo ready; exec sleep 60"]
                        .map(OsString::from)
                        .to_vec()
                },
                folder: held.path(),
                account: None,
                // The whole line: a port that is "already in use" is not "ready".
                is_ready: &|_, log| log.lines().any(|line| line == "ready"),
                stop: Signal::TERM,
                limit: LONG,
            };
            let (server, _) = Server::start(&launch, &mut free_port).expect("a shell starts");
            sender.send(server.id()).expect("the test waits");
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        let id = receiver.recv().expect("the number of the server");
        let pid = rustix::process::Pid::from_raw(id.try_into().expect("a process number"));
        let pid = pid.expect("not 0");
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "the server lives on"
        );
        assert!(!path.exists());
    }

    #[test]
    fn only_the_end_of_a_long_log_is_quoted() {
        let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let tail = tail(&log);
        assert!(tail.contains("line 99") && !tail.contains("line 80"));
    }

    #[test]
    fn a_dropped_folder_is_gone() {
        let folder = folder("dropped");
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }
}
