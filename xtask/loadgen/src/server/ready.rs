//! Waiting for a server's first 200, precisely, while its end, the caller's and the clock's are watched.

use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::ServerConfig;
use super::process::Process;
use crate::{Stop, http};

/// Why a server is not ready.
#[derive(Debug)]
pub(super) enum Unready {
    Exited(ExitStatus),
    TimedOut { last: String },
    Interrupted,
    System(io::Error),
}

/// What one question brought.
enum Answer {
    Ready { after: Duration },
    NotYet(String),
}

/// How long after `started` the server was ready.
pub(super) fn wait(
    process: &mut Process,
    address: SocketAddr,
    config: &ServerConfig,
    started: Instant,
    stop: &Stop,
) -> Result<Duration, Unready> {
    let over = Stop::new();
    let answers = ask(address, config.ready_path.clone(), started, over.clone());
    let ready = answers
        .map_err(Unready::System)
        .and_then(|answers| watch(&answers, process, config, started, stop));
    over.stop();
    ready
}

fn watch(
    answers: &Receiver<Answer>,
    process: &mut Process,
    config: &ServerConfig,
    started: Instant,
    stop: &Stop,
) -> Result<Duration, Unready> {
    let deadline = started + config.ready_timeout;
    let mut last = format!("{} gave no answer", config.ready_path);
    loop {
        let answer = answers.recv_timeout(LOOK_EVERY).ok();
        // First of all: a 200 may be another program's that took the port, and ours has just ended for that.
        if let Some(status) = process.exited().map_err(Unready::System)? {
            return Err(Unready::Exited(status));
        }
        match answer {
            Some(Answer::Ready { after }) => return Ok(after),
            Some(Answer::NotYet(text)) => last = text,
            None => {}
        }
        if stop.is_stopped() {
            return Err(Unready::Interrupted);
        }
        if Instant::now() >= deadline {
            return Err(Unready::TimedOut { last });
        }
    }
}

/// Asks from a thread of its own, which nobody waits for: a server that accepts and says nothing delays the thread's
/// end by `ANSWER_TIMEOUT`, and must not delay anything else.
fn ask(
    address: SocketAddr,
    path: String,
    started: Instant,
    over: Stop,
) -> io::Result<Receiver<Answer>> {
    // Room for one: a caller that is late gets the next answer, not a list of old ones.
    let (sender, answers) = sync_channel(1);
    thread::Builder::new()
        .name("ready".to_owned())
        .spawn(move || ask_until_ready(address, &path, started, &over, &sender))?;
    Ok(answers)
}

fn ask_until_ready(
    address: SocketAddr,
    path: &str,
    started: Instant,
    over: &Stop,
    answers: &SyncSender<Answer>,
) {
    let host = address.to_string();
    while !over.is_stopped() {
        let not_yet = match http::get(address, &host, path, &[], ANSWER_TIMEOUT) {
            Ok(answer) if answer.status == 200 => {
                let after = started.elapsed();
                let _ = answers.send(Answer::Ready { after });
                return;
            }
            Ok(answer) => format!("{path} answered {} last", answer.status),
            Err(error) => format!("{path} gave no answer: {error}"),
        };
        let _ = answers.try_send(Answer::NotYet(not_yet));
        thread::sleep((started.elapsed() / 50).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
}

/// How often the server's end and the caller's are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
