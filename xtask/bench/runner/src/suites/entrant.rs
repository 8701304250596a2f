//! A running service that takes part: started on its core, asked, put under load, stopped.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use loadgen::{Load, Mix, Prepared, Server, Stop, Summary, Target, Watched};

use super::cores::Cores;
use super::pool::Waits;
use super::subject::{Place, Subject};
use crate::build::Binaries;

/// Longest wait for one answer; who takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A service that takes part.
#[derive(Debug)]
pub(crate) struct Entrant {
    subject: Subject,
    server: Server,
    mix: Prepared,
    cores: Cores,
    log: PathBuf,
    /// Where our service tells its metrics.
    metrics: Option<Target>,
}

impl Entrant {
    /// Starts `subject` in `place` and prepares the requests of `mix` for it.
    ///
    /// # Errors
    /// If it does not get ready.
    pub(crate) fn start(
        subject: Subject,
        binaries: &Binaries,
        place: &Place,
        mix: &Mix,
        cores: &Cores,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let mut config = subject.config(binaries, place);
        config.cpus.clone_from(&cores.servers);
        let server = Server::start(&config, stop)?;
        let mix = mix.prepare(&Target::at(server.address()), PATIENCE)?;
        let said = fs::read_to_string(place.log()).unwrap_or_default();
        Ok(Self {
            subject,
            server,
            mix,
            cores: cores.clone(),
            log: place.log(),
            metrics: metrics_url(&said).and_then(|url| Target::parse(url).ok()),
        })
    }

    /// Who it is.
    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    /// The body of a good answer.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let target = Target::at(self.server.address());
        let asked = || format!("{}: GET {path}", self.subject.name());
        let answer = loadgen::get(target.address, &target.host, path, &[], PATIENCE);
        let answer = answer.with_context(asked)?;
        ensure!(
            answer.status == 200,
            "{}: status {}",
            asked(),
            answer.status
        );
        Ok(answer.body)
    }

    /// Puts it under `load`, which needs no warm-up of its own: CPU time is counted from its first request.
    ///
    /// # Errors
    /// If the load cannot be sent, or the service ended meanwhile.
    pub(crate) fn measure(&mut self, load: &Load, stop: &Stop) -> anyhow::Result<Summary> {
        let load = Load {
            warmup: Duration::ZERO,
            timeout: PATIENCE,
            cpus: self.cores.generator.clone(),
            ..load.clone()
        };
        let target = Target::at(self.server.address());
        let waits = self.waits();
        let before = self.server.usage();
        let outcome = self.server.load(&self.mix, &load, stop, &|_| {})?;
        let watched = Watched::of(&self.server, outcome.began, self.cores.of_a_server());
        let after = self.server.usage();
        if let Some(status) = self.server.exited() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            bail!(
                "{} ended ({status}) while it was measured\n{}",
                self.subject.name(),
                end(&said)
            );
        }
        let url = format!("http://{}", target.host);
        let mut summary = Summary::of(&outcome, &url, &load).with_server(&watched);
        if let (Some(server), Ok(before), Ok(after)) = (&mut summary.server, before, after)
            && outcome.total.ended > 0
        {
            // Samples come ten times a second: a short round would miss up to a tenth of what it used.
            let used = after.cpu.saturating_sub(before.cpu);
            server.cpu_us_per_request = used.as_secs_f64() * 1e6 / outcome.total.ended as f64;
        }
        let (ended, mean) = (summary.ended, summary.service_us.mean);
        let share = self
            .waits()
            .zip(waits)
            .and_then(|(now, before)| now.share_since(before, ended, mean));
        Ok(match share {
            Some(share) => summary.with_pool_wait(share),
            None => summary,
        })
    }

    /// Stops it while nothing is asked.
    ///
    /// # Errors
    /// If it has to be killed or did not end well.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let name = self.subject.name();
        let status = self.server.stop()?.status;
        ensure!(
            status.is_some_and(|status| status.success()),
            "{name} did not end well: {}",
            status.map_or_else(
                || "it had to be killed".to_owned(),
                |status| status.to_string()
            )
        );
        Ok(())
    }

    fn waits(&self) -> Option<Waits> {
        let target = self.metrics.as_ref()?;
        let answer =
            loadgen::get(target.address, &target.host, &target.path, &[], PATIENCE).ok()?;
        Waits::parse(&String::from_utf8_lossy(&answer.body))
    }
}

/// Our service says where its metrics are when it is ready.
fn metrics_url(said: &str) -> Option<&str> {
    let line = said
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Metrics "))?;
    Some(line.trim())
}

/// The last lines of a log.
fn end(said: &str) -> &str {
    let start = said.trim_end().rmatch_indices('\n').nth(LINES_SHOWN - 1);
    start.map_or(said, |(at, _)| &said[at + 1..])
}

const LINES_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_where_the_service_says() {
        let said = "reference-service 0.1.0 ready in 27ms\n  \
             API       http://127.0.0.1:1/api/v1/tasks\n  Metrics   http://127.0.0.1:2/metrics\n";
        assert_eq!(metrics_url(said), Some("http://127.0.0.1:2/metrics"));
        assert_eq!(metrics_url("ready"), None);
    }

    #[test]
    fn of_a_long_log_the_last_lines_are_shown() {
        let lines: Vec<_> = (0..20).map(|line| format!("{line}\n")).collect();
        assert_eq!(end(&lines.concat()), lines[10..].concat());
        assert_eq!(end("a\nb\n"), "a\nb\n");
    }
}
