//! `serve`: one lifetime of the service, with signals and what a person sees in the terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use perf_monitor::{Monitor, MonitorConfig};
use startup_progress::terminal::TerminalMode;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::{
    cli::Serve,
    config::Config,
    failure::Failure,
    serve::{self, Ready},
};

/// Serves until SIGTERM or Ctrl-C; a second one ends the process at once.
///
/// # Errors
///
/// Whatever keeps the service from starting or from stopping cleanly.
pub async fn serve(config: Config, options: Serve) -> Result<ExitCode, Failure> {
    let signals = Signals::install().map_err(Failure::Runtime)?;
    let stop = CancellationToken::new();
    tokio::select! {
        code = signals.second(stop.clone()) => Ok(code),
        ended = until_stopped(config, options, stop.clone()) => {
            ended.map(|()| ExitCode::SUCCESS)
        }
    }
}

async fn until_stopped(
    config: Config,
    options: Serve,
    stop: CancellationToken,
) -> Result<(), Failure> {
    tracing::info!(changed = ?config.changed(), "configuration");
    // Before anything that makes metric handles: one made without a recorder stays silent for ever.
    let monitor = install_monitor(&config)?;
    let bound = serve::bind(config, monitor).await?;
    // On a terminal one line per step, which does not fight with log lines; elsewhere the log only.
    let mode = match io::stderr().is_terminal() {
        true => TerminalMode::Plain,
        false => TerminalMode::Off,
    };
    let painter = tokio::spawn(bound.progress().paint(mode).run());
    let started = bound.start(options.demo, &stop).await;
    // The painter ends by itself once the progress is ready or failed.
    let _ = painter.await;
    let Some(mut ready) = started? else {
        tracing::info!("stopped during start-up");
        return Ok(());
    };
    announce(&ready);
    let ended = ready.until(&stop).await;
    ready.stop().await.and(ended)
}

fn install_monitor(config: &Config) -> Result<Option<Monitor>, Failure> {
    if !config.monitor.enabled {
        return Ok(None);
    }
    let installed = Monitor::install(MonitorConfig {
        interval: config.monitor.interval,
        service: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..MonitorConfig::default()
    });
    installed.map(Some).map_err(Failure::Monitor)
}

/// The first thing a newcomer wants to know.
fn announce(ready: &Ready) {
    let addresses = ready.addresses();
    let (http, admin) = (addresses.http, addresses.admin);
    let took = ready.start_took();
    let _ = writeln!(
        io::stdout(),
        "{name} {version} ready in {took:.0?}\n  \
         API       http://{http}/api/v1/tasks\n  \
         Docs      http://{http}/docs/\n  \
         Start-up  http://{http}/startup\n  \
         Metrics   http://{admin}/metrics",
        name = env!("CARGO_PKG_NAME"),
        version = env!("CARGO_PKG_VERSION"),
    );
    tracing::info!(%http, %admin, "ready");
}
