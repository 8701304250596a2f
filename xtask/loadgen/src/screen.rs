//! One screen that says what a run means, for somebody who has never seen one: plain text in 80 columns.

use std::fmt::Write;

use crate::units::{bytes, count, percent, rate, time};
use crate::{Cap, Checked, LatencySummary, ServerSummary, Summary};

/// Renders a run; `next` is the command worth running after it.
pub(crate) fn render(
    summary: &Summary,
    checks: &[Checked],
    notes: &[String],
    next: &str,
) -> String {
    let mut screen = Screen::default();
    screen.heading(summary);
    screen.requests(summary);
    screen.latencies(summary);
    screen.routes(summary);
    screen.resources(summary, notes);
    screen.verdict(summary, checks);
    screen.line("next", next);
    screen.0
}

#[derive(Default)]
struct Screen(String);

impl Screen {
    fn heading(&mut self, summary: &Summary) {
        self.plain(&summary.target);
        let lasted = time(summary.duration_s * 1e6);
        self.plain(&format!(
            "{}, {lasted}, seed {}",
            summary.model, summary.seed
        ));
        self.plain("");
    }

    fn requests(&mut self, summary: &Summary) {
        let reached = format!("{} requests/s that ended well", rate(summary.rate));
        match summary.offered_rate {
            Some(offered) => self.text(
                "rate",
                &format!("{reached}, of {}/s asked for", rate(offered)),
            ),
            None => self.text("rate", &reached),
        }
        let failed = match summary.failed() {
            0 => "none failed".to_owned(),
            failed => format!("{} failed", count(failed)),
        };
        let ended = count(summary.ended);
        self.text(
            "success",
            &format!("{} of {ended} requests, {failed}", percent(summary.success)),
        );
        if summary.failed() > 0 {
            let class = |(class, number): (&String, &u64)| format!("{} {class}", count(*number));
            let mut errors: Vec<String> = summary.errors.iter().map(class).collect();
            if summary.errors.contains_key("status") {
                let status =
                    |(status, number): (&u16, &u64)| format!("{} x {status}", count(*number));
                let statuses: Vec<String> = summary.statuses.iter().map(status).collect();
                errors.push(format!("(answers: {})", statuses.join(", ")));
            }
            self.text("errors", &errors.join(", ").replace(", (", " ("));
        }
        if summary.unsent > 0 {
            self.text(
                "unsent",
                &format!("{} found no free connection", count(summary.unsent)),
            );
        }
        self.plain("");
    }

    fn latencies(&mut self, summary: &Summary) {
        self.plain(&format!(
            "{:11}{:>12}{:>11}{:>11}{:>11}{:>11}",
            "", "p50", "p95", "p99", "p99.9", "max"
        ));
        self.latency("response", &summary.response_us);
        if summary.users.is_none() {
            self.latency("service", &summary.service_us);
            self.note("response: since a request was due; service: since it was sent. What response has more is waiting, which users feel too");
        } else {
            self.note("each user waits for its answer before it asks again: this finds the highest rate; for the latency of a service in use, give a --rate");
        }
        let few = |latency: &LatencySummary, percentile: Option<f64>| {
            latency.samples > 0 && percentile.is_none()
        };
        let mut routes = summary.routes.iter().map(|route| &route.response_us);
        if few(&summary.response_us, summary.response_us.p999)
            || routes.any(|route| few(route, route.p99))
        {
            self.note("n/a: too few requests; p95 needs 200, p99 1,000, p99.9 10,000");
        }
        self.plain("");
    }

    fn latency(&mut self, name: &str, latency: &LatencySummary) {
        let max = Some(latency.max).filter(|_| latency.samples > 0);
        let shown = [latency.p50, latency.p95, latency.p99, latency.p999, max]
            .map(|value| value.map_or_else(|| "n/a".to_owned(), time));
        let [p50, p95, p99, p999, max] = shown;
        self.plain(&format!(
            "{name:11}{p50:>12}{p95:>11}{p99:>11}{p999:>11}{max:>11}"
        ));
    }

    fn routes(&mut self, summary: &Summary) {
        if summary.routes.len() < 2 {
            return;
        }
        self.plain(&format!(
            "{:23}{:>11}{:>11}{:>11}{:>11}",
            "route", "requests", "success", "p50", "p99"
        ));
        for route in &summary.routes {
            let shown = |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), time);
            let (p50, p99) = (shown(route.response_us.p50), shown(route.response_us.p99));
            let success = if route.ended == 0 {
                "n/a".to_owned()
            } else {
                percent(route.success)
            };
            let name: String = route.name.chars().take(22).collect();
            self.plain(&format!(
                "{name:23}{:>11}{success:>11}{p50:>11}{p99:>11}",
                count(route.ended)
            ));
        }
        self.plain("");
    }

    fn resources(&mut self, summary: &Summary, notes: &[String]) {
        if let Some(server) = &summary.server {
            self.server(server);
        }
        let lag = match summary.send_lag_us.p99 {
            Some(lag) if summary.users.is_none() => format!(", sent {} late (p99)", time(lag)),
            _ => String::new(),
        };
        self.text(
            "generator",
            &format!("{} of a core{lag}", percent(round(summary.generator_cpu))),
        );
        self.text("capped by", &cap(summary));
        for note in notes {
            self.text("note", note);
        }
        self.plain("");
    }

    fn server(&mut self, server: &ServerSummary) {
        self.text(
            "cpu",
            &format!(
                "{} per request, {} of the server's cores",
                time(server.cpu_us_per_request),
                percent(round(server.cpu_share))
            ),
        );
        self.text(
            "memory",
            &format!(
                "{} at start, {} steady, {} peak (resident)",
                bytes(server.rss_start_bytes as f64),
                bytes(server.rss_steady_bytes as f64),
                bytes(server.rss_peak_bytes as f64)
            ),
        );
        let ready = format!("ready after {}", time(server.ready_ms * 1e3));
        let stopped = match (server.shutdown_ms, server.shutdown_failed) {
            (Some(ms), Some(lost)) => {
                format!(
                    ", stopped in {} with {} requests lost",
                    time(ms * 1e3),
                    count(lost)
                )
            }
            (Some(ms), None) => format!(", stopped in {}", time(ms * 1e3)),
            _ => String::new(),
        };
        self.text("server", &format!("{ready}{stopped}"));
    }

    fn verdict(&mut self, summary: &Summary, checks: &[Checked]) {
        for check in checks {
            let word = if check.passed { "PASS" } else { "FAIL" };
            self.text(word, &format!("{}: {}", check.threshold, check.measured));
        }
        if summary.interrupted {
            self.text("INTERRUPTED", "this is what was measured until then");
        }
        if summary.invalid.is_empty() {
            let mut words = vec!["the generator kept its pace"];
            words.extend((summary.failed() > 0).then_some("requests failed"));
            words.extend(
                checks
                    .iter()
                    .any(|check| !check.passed)
                    .then_some("a threshold was not kept"),
            );
            self.text("VALID", &words.join("; "));
        }
        for reason in &summary.invalid {
            self.text("INVALID", reason);
        }
    }

    /// Wraps at 80 columns.
    fn text(&mut self, label: &str, text: &str) {
        self.wrapped(&format!("{label:11}"), &" ".repeat(LABEL), text);
    }

    fn note(&mut self, text: &str) {
        self.wrapped("  ", "  ", text);
    }

    fn wrapped(&mut self, first: &str, others: &str, text: &str) {
        let mut line = format!("{first:LABEL$}").trim_end().to_owned();
        let mut indent = if first.trim().is_empty() {
            first.len()
        } else {
            LABEL
        };
        // A number stays with its percent sign.
        let text = text.replace(" %", GLUED);
        for word in text.split(' ') {
            if line.chars().count().max(indent) + 1 + word.chars().count() > WIDTH {
                self.plain(&line);
                line.clear();
                indent = others.len();
            }
            if line.chars().count() <= indent {
                line = format!("{line:indent$}{word}");
            } else {
                line.push(' ');
                line.push_str(word);
            }
        }
        self.plain(&line);
    }

    /// As it is, however long: something to be copied.
    fn line(&mut self, label: &str, text: &str) {
        self.plain(&format!("{label:LABEL$}{text}"));
    }

    fn plain(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{}", line.trim_end().replace(GLUED, " %"));
    }
}

const WIDTH: usize = 80;
/// No-break space, so that a line is as long as it will be.
const GLUED: &str = "\u{a0}%";
const LABEL: usize = 12;

/// A share in whole percents: more digits would promise more than a clock of the kernel holds.
fn round(share: f64) -> f64 {
    (share * 100.0).round() / 100.0
}

fn cap(summary: &Summary) -> String {
    let server = summary.server.clone().unwrap_or_default();
    let idle = percent(round((1.0 - server.cpu_share).max(0.0)));
    match summary.capped_by {
        Cap::Cpu => "the server's CPU".to_owned(),
        Cap::Pool => format!(
            "the database pool: {} of the time was waiting for a connection",
            percent(round(server.pool_wait_share.unwrap_or_default()))
        ),
        Cap::Lock => format!(
            "something the server waits for (a lock, a disk, another server): {idle} of its CPU was idle"
        ),
        Cap::Generator => {
            "the generator: it had no CPU left, so the target may be faster".to_owned()
        }
        Cap::Rate => "the rate asked for: the target kept up".to_owned(),
        Cap::Users => format!("the number of users: {idle} of the server's CPU was idle"),
        Cap::Unknown => "unknown: only a server started by --server can be watched".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::RouteSummary;

    fn latency(scale: f64, samples: u64) -> LatencySummary {
        LatencySummary {
            samples,
            mean: 400.0 * scale,
            p50: Some(312.0 * scale),
            p95: Some(598.0 * scale).filter(|_| samples >= 200),
            p99: Some(1_204.0 * scale).filter(|_| samples >= 1_000),
            p999: Some(3_400.0 * scale).filter(|_| samples >= 10_000),
            max: 12_000.0 * scale,
            ..LatencySummary::default()
        }
    }

    fn closed() -> Summary {
        Summary {
            target: "http://127.0.0.1:8080/livez".to_owned(),
            model: "closed, 8 users".to_owned(),
            users: Some(8),
            seed: 1,
            duration_s: 10.0,
            rate: 23_412.4,
            ended: 234_124,
            success: 1.0,
            response_us: latency(1.0, 234_124),
            service_us: latency(1.0, 234_124),
            generator_cpu: 0.612,
            ..Summary::default()
        }
    }

    fn check(summary: &Summary, checks: &[Checked], expected: &Expect) {
        let screen = render(
            summary,
            checks,
            &[],
            "loadgen --url http://127.0.0.1:8080/livez --rate 11700",
        );
        for line in screen.lines() {
            assert!(line.chars().count() <= WIDTH, "too wide: {line}");
        }
        expected.assert_eq(&screen);
    }

    #[test]
    fn a_closed_run_of_one_url() {
        check(
            &closed(),
            &[],
            &expect![[r#"
            http://127.0.0.1:8080/livez
            closed, 8 users, 10 s, seed 1

            rate        23,412 requests/s that ended well
            success     100 % of 234,124 requests, none failed

                                p50        p95        p99      p99.9        max
            response         312 µs     598 µs    1.20 ms    3.40 ms      12 ms
              each user waits for its answer before it asks again: this finds the highest
              rate; for the latency of a service in use, give a --rate

            generator   61 % of a core
            capped by   unknown: only a server started by --server can be watched

            VALID       the generator kept its pace
            next        loadgen --url http://127.0.0.1:8080/livez --rate 11700
        "#]],
        );
    }

    #[test]
    fn an_open_run_of_a_mix_with_a_watched_server() {
        let route = |name: &str, ended, success| RouteSummary {
            name: name.to_owned(),
            ended,
            success,
            response_us: latency(1.1, ended),
            ..RouteSummary::default()
        };
        let summary = Summary {
            model: "open, poisson 2000/s".to_owned(),
            users: None,
            offered_rate: Some(2_000.0),
            rate: 1_998.2,
            ended: 20_012,
            success: 0.998_5,
            errors: BTreeMap::from([("status".to_owned(), 28), ("timeout".to_owned(), 2)]),
            statuses: BTreeMap::from([(200, 19_982), (503, 28)]),
            response_us: latency(1.4, 20_012),
            send_lag_us: latency(0.05, 20_012),
            routes: vec![
                route("record", 19_000, 1.0),
                route("create", 300, 0.9),
                route("never", 0, 0.0),
            ],
            server_cores: Some(1),
            server: Some(ServerSummary {
                ready_ms: 33.4,
                cpu_us_per_request: 41.23,
                cpu_share: 0.0825,
                rss_start_bytes: 19 << 20,
                rss_steady_bytes: 21_500_000,
                rss_peak_bytes: 23_000_000,
                shutdown_ms: Some(12.2),
                shutdown_failed: Some(0),
                ..ServerSummary::default()
            }),
            capped_by: Cap::Rate,
            ..closed()
        };
        let checked = |threshold: &str, passed, measured: &str| Checked {
            threshold: threshold.to_owned(),
            passed,
            measured: measured.to_owned(),
        };
        let checks = [
            checked("p99<5ms", true, "1.69 ms"),
            checked("success>=99.9%", false, "99.85 %"),
        ];
        check(
            &summary,
            &checks,
            &expect![[r#"
                http://127.0.0.1:8080/livez
                open, poisson 2000/s, 10 s, seed 1

                rate        1,998 requests/s that ended well, of 2,000/s asked for
                success     99.85 % of 20,012 requests, 30 failed
                errors      28 status, 2 timeout (answers: 19,982 x 200, 28 x 503)

                                    p50        p95        p99      p99.9        max
                response         437 µs     837 µs    1.69 ms    4.76 ms    16.8 ms
                service          312 µs     598 µs    1.20 ms    3.40 ms      12 ms
                  response: since a request was due; service: since it was sent. What response
                  has more is waiting, which users feel too
                  n/a: too few requests; p95 needs 200, p99 1,000, p99.9 10,000

                route                     requests    success        p50        p99
                record                      19,000      100 %     343 µs    1.32 ms
                create                         300       90 %     343 µs        n/a
                never                            0        n/a     343 µs        n/a

                cpu         41.2 µs per request, 8 % of the server's cores
                memory      19 MiB at start, 20.5 MiB steady, 21.9 MiB peak (resident)
                server      ready after 33.4 ms, stopped in 12.2 ms with 0 requests lost
                generator   61 % of a core, sent 60.2 µs late (p99)
                capped by   the rate asked for: the target kept up

                PASS        p99<5ms: 1.69 ms
                FAIL        success>=99.9%: 99.85 %
                VALID       the generator kept its pace; requests failed; a threshold was not
                            kept
                next        loadgen --url http://127.0.0.1:8080/livez --rate 11700
            "#]],
        );
    }

    #[test]
    fn a_run_that_the_target_could_not_take() {
        let summary = Summary {
            model: "open, constant 500/s".to_owned(),
            users: None,
            offered_rate: Some(500.0),
            rate: 80.25,
            duration_s: 2.5,
            ended: 201,
            unsent: 1_049,
            response_us: latency(900.0, 201),
            service_us: latency(30.0, 201),
            invalid: vec![
                "1049 requests never found a free connection: the target cannot sustain this rate"
                    .to_owned(),
            ],
            interrupted: true,
            ..closed()
        };
        check(
            &summary,
            &[],
            &expect![[r#"
            http://127.0.0.1:8080/livez
            open, constant 500/s, 2.50 s, seed 1

            rate        80.2 requests/s that ended well, of 500/s asked for
            success     100 % of 201 requests, none failed
            unsent      1,049 found no free connection

                                p50        p95        p99      p99.9        max
            response         281 ms     538 ms        n/a        n/a     10.8 s
            service         9.36 ms    17.9 ms        n/a        n/a     360 ms
              response: since a request was due; service: since it was sent. What response
              has more is waiting, which users feel too
              n/a: too few requests; p95 needs 200, p99 1,000, p99.9 10,000

            generator   61 % of a core
            capped by   unknown: only a server started by --server can be watched

            INTERRUPTED this is what was measured until then
            INVALID     1049 requests never found a free connection: the target cannot
                        sustain this rate
            next        loadgen --url http://127.0.0.1:8080/livez --rate 11700
        "#]],
        );
    }
}
