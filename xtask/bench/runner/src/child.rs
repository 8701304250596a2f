//! Children that Ctrl-C ends too, also when the signal reached only this process.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use loadgen::Stop;
use rustix::process::{Pid, Signal, kill_process_group};

/// How often a child is looked after.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a child that was asked to end may take to tell what it has.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines that may wait for `line`; a child that writes more than that waits as well.
const LINES_WAITING_MAX: usize = 256;

/// Variables of the shell that reach what is measured; any other might change it: `APP__…`, `TOKIO_WORKER_THREADS`,
/// `MALLOC_…`.
const KEPT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"];

/// The environment of everything that is measured.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    KEPT.into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
}

/// Runs `command` to its end and hands each line of its standard output to `line`. After Ctrl-C the child gets one too,
/// and is killed if it does not end within five seconds; its last lines still arrive.
///
/// # Errors
/// If it cannot be started or watched.
pub(crate) fn run(
    command: &mut Command,
    stop: &Stop,
    mut line: impl FnMut(&str),
) -> anyhow::Result<ExitStatus> {
    let program = command.get_program().to_string_lossy().into_owned();
    // In a group of its own: a terminal sends Ctrl-C to all of ours, and a bench program takes a second one as a wish
    // to end without telling anything.
    command.process_group(0);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Guard(spawned.with_context(|| format!("cannot start {program}"))?);
    let output = child
        .0
        .stdout
        .take()
        .context("a piped child has an output")?;
    let (lines, arrived) = mpsc::sync_channel(LINES_WAITING_MAX);
    // It ends with the child's output, which a grandchild may keep open: nobody waits for it.
    thread::spawn(move || {
        let read = BufReader::new(output).lines().map_while(Result::ok);
        read.into_iter().all(|text| lines.send(text).is_ok())
    });
    let mut asked = None;
    let status = loop {
        // All of it after each line too: a child, or what it leaves behind, may never stop writing.
        match asked {
            None if stop.is_stopped() => {
                signal(&child.0, Signal::INT);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > PATIENCE => {
                bail!("{program} did not end and was killed")
            }
            _ => {}
        }
        match arrived.recv_timeout(GLANCE) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(GLANCE),
        }
        let ended = child.0.try_wait();
        if let Some(status) = ended.with_context(|| format!("cannot watch {program}"))? {
            break status;
        }
    };
    // What it wrote last; a grandchild that has its output may go on writing.
    let ended = Instant::now();
    while let Some(left) = PATIENCE.checked_sub(ended.elapsed())
        && let Ok(text) = arrived.recv_timeout(left)
    {
        line(&text);
    }
    Ok(status)
}

/// Kills the child, and what it started, if nobody waited for its end.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Once it was waited for, its number may be that of another group.
        if let Ok(None) = self.0.try_wait() {
            signal(&self.0, Signal::KILL);
            // Fails only for a child that has ended.
            let _ = self.0.wait();
        }
    }
}

/// To a child that was not waited for, and to what it started.
fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Fails only if all have ended.
        let _ = kill_process_group(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stop: &Stop, mut line: impl FnMut(&str)) -> ExitStatus {
        run(Command::new("sh").args(["-c", script]), stop, |text| {
            line(text);
        })
        .expect("a shell")
    }

    #[test]
    fn every_line_arrives_and_the_end_is_told() {
        let mut lines = Vec::new();
        let script = "for i in $(seq 1000); do echo $i; done; exit 3";
        let status = shell(script, &Stop::new(), |line| lines.push(line.to_owned()));
        assert_eq!(status.code(), Some(3));
        assert_eq!(lines.len(), 1000);
        assert_eq!(lines.last().map(String::as_str), Some("1000"));
    }

    #[test]
    fn a_stop_interrupts_the_child_and_keeps_what_it_says_last() {
        let (stop, mut lines) = (Stop::new(), Vec::new());
        let script = "trap 'echo partial; exit 130' INT; echo ready; while :; do sleep 0.01; done";
        let status = shell(script, &stop, |line| {
            lines.push(line.to_owned());
            stop.stop();
        });
        assert_eq!(status.code(), Some(130));
        assert_eq!(lines, ["ready", "partial"]);
    }

    #[test]
    fn a_child_that_never_stops_writing_is_interrupted_too() {
        let stop = Stop::new();
        let status = shell("while :; do echo more; done", &stop, |_| stop.stop());
        assert!(!status.success(), "{status}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error =
            run(&mut Command::new("no-such-program"), &Stop::new(), |_| {}).expect_err("none");
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }
}
