//! `cargo xtask bench`: builds the program that measures and gives it the rest of the line. Apart from that program,
//! so that this one needs neither its dependencies nor its release build.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use rustix::process::Signal;
use xshell::cmd;

use crate::process::{self, Group, POLL};
use crate::workspace::{BENCH_MANIFEST, Workspace, cargo};

const RUNNER: &str = "runner";

/// # Errors
/// If the runner cannot be built or started; how it ended is no error, but our exit code.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let (shell, cargo, target) = (workspace.shell()?, cargo(), &workspace.target);
    process::run(cmd!(
        shell,
        "{cargo} build --release --manifest-path {BENCH_MANIFEST} --target-dir {target} --package {RUNNER}"
    ))?;
    let mut command = Command::new(target.join("release").join(RUNNER));
    // What it builds goes where it was built itself.
    command.args(args).env("CARGO_TARGET_DIR", target);
    Ok(ExitCode::from(wait(Group::spawn(&mut command)?)?))
}

/// Waits for the runner's own end: Ctrl-C reaches it, and it reports what it has; a second one ends it at once, which
/// is the runner's decision too.
fn wait(mut runner: Group) -> anyhow::Result<u8> {
    loop {
        if let Some(status) = runner.exited()? {
            return Ok(exit_code(status));
        }
        if process::take_interrupt() {
            runner.signal(Signal::INT);
        }
        std::thread::sleep(POLL);
    }
}

/// As a shell tells it: 128 and the signal's number for a program that a signal ended.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(script: &str) -> u8 {
        let mut command = Command::new("sh");
        let group = Group::spawn(command.args(["-c", script])).expect("sh starts");
        wait(group).expect("sh ends")
    }

    #[test]
    fn the_exit_code_of_the_runner_is_ours() {
        for code in [0, 1, 2, 3, 130] {
            assert_eq!(code_of(&format!("exit {code}")), code);
        }
    }

    #[test]
    fn a_signal_that_ended_the_runner_shows_as_in_a_shell() {
        assert_eq!(code_of("kill -TERM $$"), 143);
    }
}
