//! The process of a server and its group: whether it ended, and that nothing of it stays behind.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// The groups of all processes that nobody has collected yet: when this program ends at once, nothing is dropped.
static LIVE: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Pid>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends this program, and before it every server with all that it started.
pub(crate) fn kill_all_and_exit(code: i32) -> ! {
    // Held to the end, so that none is started meanwhile.
    let live = live();
    for group in live.iter() {
        let _ = kill_process_group(*group, Signal::KILL);
    }
    std::process::exit(code)
}

/// A process at the head of a group of its own; dropping it kills the group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut live = live();
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_child(&child);
        live.push(pid);
        Ok(Self {
            child,
            pid,
            ended: None,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it exited, if it did; what it left running is killed then.
    pub(super) fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        // Looks without collecting: until it is collected, its number belongs to it and the group is surely ours.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(self.pid), options)?.is_none() {
            return Ok(None);
        }
        self.kill_group();
        self.ended = Some(self.child.wait()?);
        Ok(self.ended)
    }

    /// Waits for its end, at most until `deadline`. Looks again after a fiftieth of the time it has waited, at least
    /// 0.1 ms and at most 10 ms.
    pub(super) fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let began = Instant::now();
        loop {
            let ended = self.exited()?;
            let now = Instant::now();
            if ended.is_some() || now >= deadline {
                return Ok(ended);
            }
            let pause = ((now - began) / 50).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            thread::sleep(pause.min(deadline - now));
        }
    }

    /// Asks it to end: SIGTERM to itself alone, as whatever it started is its own to end.
    pub(super) fn terminate(&self) -> io::Result<()> {
        match self.ended {
            Some(_) => Ok(()),
            None => Ok(kill_process(self.pid, Signal::TERM)?),
        }
    }

    /// Ends it and all that it started, at once.
    pub(super) fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        self.kill_group();
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Before its process is collected: until then its number is surely its own.
    fn kill_group(&self) {
        let mut live = live();
        // Fails only when nothing of the group is left, or when what is left has become another user's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        live.retain(|group| *group != self.pid);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
