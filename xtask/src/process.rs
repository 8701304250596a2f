//! Child processes that end with us: every child is a process group of its own, and Ctrl-C, a time limit or a panic
//! ends the whole group before anything else is torn down.

use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a wait looks at its condition and at the signals.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// How long a group may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP do not end this process: every wait returns an error instead, so that
/// servers and folders are removed by their destructors.
pub(crate) fn watch_signals() -> anyhow::Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot watch signals")?;
    }
    Ok(())
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Whether a signal came since the last call: for what passes signals on instead of ending.
pub(crate) fn take_interrupt() -> bool {
    INTERRUPTED
        .get()
        .is_some_and(|flag| flag.swap(false, Ordering::Relaxed))
}

pub(crate) fn check_interrupt() -> anyhow::Result<()> {
    ensure!(!interrupted(), "interrupted");
    Ok(())
}

/// Whether this runs where nobody watches: what a person may skip is a failure there.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !matches!(value.to_str(), Some("" | "0" | "false")))
}

/// A child that is ended, with all it started, when this value is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
}

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        forget_this_package(command);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            // A group in the background would be stopped by a read from the terminal.
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for a child")
    }

    /// Sends `signal` to all of the group, as a terminal does, and waits for nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // An error means that the group is gone; the next look at it sees it.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for the end, an interrupt or the limit; in the last two cases the group is ended.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if interrupted() {
                self.stop(Signal::INT);
                bail!("interrupted");
            }
            if let Some(limit) = limit
                && start.elapsed() > limit
            {
                self.stop(Signal::TERM);
                bail!("no end after {} s", limit.as_secs());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Like [`Group::wait`], but goes on after Ctrl-C: for what cleans up.
    pub(crate) fn wait_uninterrupted(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        self.stop(Signal::TERM);
        bail!("no end after {} s", limit.as_secs())
    }

    /// Asks the group to end by `signal`, kills it after a grace. Does nothing if it has ended.
    pub(crate) fn stop(&mut self, signal: Signal) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        let asked = Instant::now();
        let mut sent = false;
        while matches!(self.child.try_wait(), Ok(None)) {
            if !sent {
                // An error means that the group is gone; the next round of the loop sees it.
                let _ = kill_process_group(group, signal);
                sent = true;
            }
            if asked.elapsed() > GRACE {
                break;
            }
            std::thread::sleep(POLL);
        }
        // Also after an orderly end: a grandchild may have outlived the leader of the group.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // An ended child's number may belong to somebody else by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop(Signal::TERM);
        }
    }
}

/// Removes what `cargo run` set for this package: a build script that watches such a variable would run again each
/// time it is reached through `cargo xtask`.
pub(crate) fn forget_this_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || matches!(
                text,
                "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE"
            )
        {
            command.env_remove(&name);
        }
    }
}

/// Runs to the end with our standard output and error; an exit code other than 0 is an error.
pub(crate) fn run(command: impl Into<Command>) -> anyhow::Result<()> {
    check_interrupt()?;
    let mut command = command.into();
    let shown = show(&command);
    eprintln!("$ {shown}");
    let status = Group::spawn(&mut command)?.wait(None)?;
    ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// Like [`run`], but in our own process group and with our standard input: for what asks for a password.
pub(crate) fn run_in_foreground(command: &mut Command) -> anyhow::Result<()> {
    check_interrupt()?;
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    check_interrupt()?;
    ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// What a command wrote to its standard output; an error carries what it wrote to its standard error.
pub(crate) fn read(command: &mut Command, limit: Duration) -> anyhow::Result<String> {
    check_interrupt()?;
    let shown = show(command);
    let mut group = Group::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let output = Drain::new(group.child.stdout.take());
    let errors = Drain::new(group.child.stderr.take());
    let status = group
        .wait(Some(limit))
        .with_context(|| format!("`{shown}`"))?;
    let deadline = Instant::now() + GRACE;
    let output = output.text(deadline);
    let errors = errors.text(deadline);
    ensure!(
        status.success(),
        "`{shown}` failed ({status}): {}",
        errors.trim()
    );
    Ok(output)
}

/// What comes out of a pipe, read on a thread, so that a full pipe never stops the child.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Drain {
    fn new(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut part = [0; 8192];
            loop {
                match pipe.read(&mut part) {
                    Ok(length @ 1..) => lock(&into).extend_from_slice(&part[..length]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // After an error nothing more can be read either.
                    Ok(0) | Err(_) => return,
                }
            }
        });
        Self { bytes, reader }
    }

    /// All of it. A program that the child left running may hold the pipe open for ever: past `deadline`, or after an
    /// interrupt, it is what has come until then.
    fn text(self, deadline: Instant) -> String {
        while !self.reader.is_finished() && Instant::now() < deadline && !interrupted() {
            std::thread::sleep(POLL);
        }
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }
}

/// Bytes are only appended, so they are whole even if a thread panicked meanwhile.
fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A tool on PATH.
pub(crate) fn on_path(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

pub(crate) fn is_program(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn is_alive(process: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z")
    }

    #[test]
    fn a_failure_carries_what_the_command_said() {
        let error = read(&mut shell("echo broken >&2; exit 3"), GRACE).expect_err("exit code 3");
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[test]
    fn output_larger_than_a_pipe_is_read() {
        let text = read(&mut shell("head -c 300000 /dev/zero | tr '\\0' x"), GRACE);
        assert_eq!(text.map(|text| text.len()).ok(), Some(300_000));
    }

    #[test]
    fn a_command_past_its_limit_is_ended() {
        let start = Instant::now();
        let error = read(&mut shell("sleep 60"), Duration::from_millis(50)).expect_err("too slow");
        assert!(format!("{error:#}").contains("no end after"), "{error:#}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_lives_on_with_our_pipe_does_not_hold_up_a_command_that_has_ended() {
        let start = Instant::now();
        let text = read(&mut shell("echo started; sleep 60 &"), GRACE).expect("exit code 0");
        assert_eq!(text, "started\n");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn dropping_a_group_ends_its_grandchildren() {
        let mut command = shell("sleep 60 & echo $!; wait");
        let mut group = Group::spawn(command.stdout(Stdio::piped())).expect("sh starts");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(group.child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("the number of the grandchild");
        let grandchild = line.trim().to_owned();
        drop(group);
        let dropped = Instant::now();
        while is_alive(&grandchild) {
            assert!(dropped.elapsed() < GRACE, "the grandchild lives on");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn a_panic_ends_the_group_too() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let outcome = std::thread::spawn(move || {
            let group = Group::spawn(&mut shell("exec sleep 60")).expect("sh starts");
            sender.send(group.id()).expect("the test waits");
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        let process = receiver
            .recv()
            .expect("the number of the child")
            .to_string();
        assert!(!is_alive(&process));
    }
}
