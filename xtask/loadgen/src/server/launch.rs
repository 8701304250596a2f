//! Starting a server: a free port, its command, its cores, and another port if somebody was faster.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use super::error::LogTail;
use super::process::Process;
use super::ready;
use super::sampler::Sampler;
use super::{Server, ServerConfig, ServerError};
use crate::Stop;
use crate::affinity::Pinned;

pub(super) fn start(config: &ServerConfig, stop: &Stop) -> Result<Server, ServerError> {
    let mut attempt = 1;
    loop {
        let address = free_address().map_err(ServerError::Port)?;
        match start_at(address, config, stop) {
            // Between our asking for a free port and the server's listening anybody may take it: also one of our own
            // questions, which the system may send from the very port that it asks for.
            Err(ServerError::Exited { status, log, .. })
                if attempt < ATTEMPTS && port_was_taken(address, status, &log) =>
            {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn start_at(
    address: SocketAddr,
    config: &ServerConfig,
    stop: &Stop,
) -> Result<Server, ServerError> {
    let mut command = command(config, address.port())?;
    let pinned = Pinned::to(&config.cpus).map_err(|source| ServerError::Cpus {
        cpus: config.cpus.clone(),
        source,
    })?;
    let started = Instant::now();
    let process = Process::spawn(&mut command);
    drop(pinned);
    let mut process = process.map_err(|source| ServerError::Program {
        program: config.program.clone(),
        source,
    })?;
    let sampler = Sampler::start(process.id(), started).map_err(ServerError::System)?;
    let ready_after = ready::wait(&mut process, address, config, started, stop)?;
    Ok(Server {
        process,
        address,
        started,
        ready_after,
        stop_timeout: config.stop_timeout,
        sampler,
    })
}

fn command(config: &ServerConfig, port: u16) -> Result<Command, ServerError> {
    let with_port = |text: &str| text.replace("{port}", &port.to_string());
    let log_error = |source| ServerError::Log {
        log: config.log.clone(),
        source,
    };
    let log = File::create(&config.log).map_err(log_error)?;
    let mut command = Command::new(from_our_folder(&config.program));
    if !config.inherit_env {
        command.env_clear();
    }
    command
        .args(config.args.iter().map(|arg| with_port(arg)))
        .envs(
            config
                .env
                .iter()
                .map(|(name, value)| (name, with_port(value))),
        )
        .stdin(Stdio::null())
        // One open file for both, so that neither overwrites the other.
        .stdout(log.try_clone().map_err(log_error)?)
        .stderr(log);
    if let Some(folder) = &config.folder {
        command.current_dir(folder);
    }
    Ok(command)
}

/// The system looks for a relative program from the folder in which it is to run; we mean it from ours. A bare name is
/// looked for on PATH.
fn from_our_folder(program: &Path) -> PathBuf {
    if program.components().count() < 2 {
        return program.to_owned();
    }
    std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn port_was_taken(address: SocketAddr, status: ExitStatus, log: &LogTail) -> bool {
    !status.success() && (log.says_port_is_taken() || TcpListener::bind(address).is_err())
}

const ATTEMPTS: u32 = 3;
