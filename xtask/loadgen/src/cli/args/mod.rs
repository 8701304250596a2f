//! Reads the arguments into values, so that the rest never sees text.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;

use super::again::Again;
use super::{Command, Header, Requests, Run, ServerArgs, Subject, UsageError, values};
use crate::{Arrivals, Load, Model, suggest};

pub(super) fn parse(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    api_key: Option<String>,
) -> Result<Command, UsageError> {
    let mut parser = lexopt::Parser::from_args(args.into_iter().map(Into::into));
    let mut given = Given::default();
    let mut first = true;
    while let Some(arg) = parser.next().map_err(|error| usage(error.to_string()))? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short(letter) => return Err(usage(format!("no option -{letter}"))),
            Arg::Long(name) => {
                let name = name.to_owned();
                given.option(&name, &mut parser)?;
            }
            Arg::Value(word) => {
                let word = word.into_string().map_err(not_text)?;
                given.word(word, first)?;
            }
        }
        first = false;
    }
    given.finish(api_key).map(|run| Command::Run(Box::new(run)))
}

/// Options as they come, in any order.
#[derive(Default)]
struct Given {
    kind: Kind,
    url: Option<String>,
    server: Option<PathBuf>,
    server_args: Vec<String>,
    server_env: Vec<(String, String)>,
    server_log: Option<PathBuf>,
    server_cpus: Vec<usize>,
    ready: Option<String>,
    path: Option<String>,
    requests: Requests,
    load: Load,
    /// The option that chose the model, with its value.
    model: Option<(String, Model)>,
    /// The last moment of a replay.
    recorded: Option<Duration>,
    constant: Option<bool>,
    duration: Option<Duration>,
    thresholds: Vec<crate::Threshold>,
    output: Option<PathBuf>,
    quiet: bool,
    metrics: bool,
    again: Again,
    #[cfg(feature = "db")]
    db: crate::db::DbConfig,
    #[cfg(feature = "cache")]
    cache: crate::cache::CacheConfig,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Http,
    #[cfg(feature = "db")]
    Db,
    #[cfg(feature = "cache")]
    Cache,
}

impl Given {
    /// A word that is no option: the kind of target, or an argument of the server.
    fn word(&mut self, word: String, first: bool) -> Result<(), UsageError> {
        let kind = match &*word {
            "http" => Some(Kind::Http),
            #[cfg(feature = "db")]
            "db" => Some(Kind::Db),
            #[cfg(feature = "cache")]
            "cache" => Some(Kind::Cache),
            _ => None,
        };
        if first && NOT_BUILT_IN.contains(&&*word) {
            return Err(usage(format!(
                "{word}: not built in; build loadgen with --features {word}"
            )));
        }
        if first && let Some(kind) = kind {
            self.kind = kind;
            self.again.word(&word);
        } else if self.server.is_some() {
            self.server_args.push(word);
        } else {
            return Err(usage(match first {
                true if word.starts_with("http://") => {
                    format!("{word}: a target is given as --url {word}")
                }
                _ => format!(
                    "{word}: unexpected; arguments of a server come after --server PROGRAM --"
                ),
            }));
        }
        Ok(())
    }

    fn option(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), UsageError> {
        match name {
            "quiet" => self.quiet = true,
            "metrics" => self.metrics = true,
            _ if !self.known().any(|known| known == name) => {
                return Err(usage(match suggest::nearest(name, self.known()) {
                    Some(near) => format!("no option --{name}; did you mean --{near}?"),
                    None => format!("no option --{name}; see --help"),
                }));
            }
            _ => {
                let value = parser
                    .value()
                    .map_err(|_| usage(format!("--{name} needs a value")))?;
                let value = value.into_string().map_err(not_text)?;
                self.value(name, &value)
                    .map_err(|problem| usage(format!("--{name} {value}: {problem}")))?;
                self.again.option(name, &value);
                return Ok(());
            }
        }
        self.again.word(&format!("--{name}"));
        Ok(())
    }

    /// Options that make sense for this kind of target.
    fn known(&self) -> impl Iterator<Item = &'static str> + use<> {
        let of_kind = match self.kind {
            Kind::Http => HTTP,
            #[cfg(feature = "db")]
            Kind::Db => DB,
            #[cfg(feature = "cache")]
            Kind::Cache => CACHE,
        };
        EVERY.split(' ').chain(of_kind.split(' '))
    }

    fn value(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || value.to_owned();
        match name {
            "url" => self.url = Some(text()),
            "server" => self.server = Some(value.into()),
            "server-env" => {
                let (key, value) = value.split_once('=').ok_or("expected NAME=VALUE")?;
                self.server_env.push((key.to_owned(), value.to_owned()));
            }
            "server-log" => self.server_log = Some(value.into()),
            "server-cpus" => self.server_cpus = values::cores(value)?,
            "ready" => self.ready = Some(absolute(value)?),
            "path" => self.path = Some(absolute(value)?),
            "mix" => self.requests.mix = Some(value.into()),
            "header" => self.requests.headers.push(values::header(value)?),
            "api-key" => self.requests.headers.push(bearer(value)),
            "threshold" => {
                let threshold = value
                    .parse()
                    .map_err(|error: crate::ThresholdError| error.problem)?;
                self.thresholds.push(threshold);
            }
            "output" => self.output = Some(value.into()),
            _ => return self.load_value(name, value),
        }
        Ok(())
    }

    fn load_value(&mut self, name: &str, value: &str) -> Result<(), String> {
        let load = &mut self.load;
        match name {
            "duration" => self.duration = Some(values::duration(value)?),
            "warmup" => load.warmup = values::duration(value)?,
            "timeout" => load.timeout = values::duration(value)?,
            "requests" => load.requests = Some(values::number(value)?),
            "connections" => load.connections = values::number(value)?,
            "threads" => load.threads = values::number(value)?,
            "seed" => load.seed = values::number(value)?,
            "cpus" => load.cpus = values::cores(value)?,
            "arrivals" => {
                self.constant = Some(match value {
                    "constant" => true,
                    "poisson" => false,
                    _ => return Err("expected poisson or constant".to_owned()),
                });
            }
            "users" | "rate" | "ramp" | "step" | "spike" | "replay" => {
                let model = self.read_model(name, value)?;
                if let Some((other, _)) = self.model.replace((name.to_owned(), model)) {
                    return Err(format!("--{other} was given too, and a run has one model"));
                }
            }
            _ => return self.direct_value(name, value),
        }
        Ok(())
    }

    fn read_model(&mut self, name: &str, value: &str) -> Result<Model, String> {
        Ok(Model::Open(match name {
            "users" => {
                return Ok(Model::Closed {
                    users: values::number(value)?,
                });
            }
            "rate" => Arrivals::Poisson {
                rate: values::rate(value)?,
            },
            "ramp" => values::ramp(value)?,
            "step" => values::step(value)?,
            "spike" => values::spike(value)?,
            _ => {
                let offsets = values::replay(value.as_ref())?;
                self.recorded = offsets.last().copied();
                Arrivals::Replay { offsets }
            }
        }))
    }

    /// Options of the targets that are crates of this workspace.
    fn direct_value(&mut self, name: &str, value: &str) -> Result<(), String> {
        match self.kind {
            // `known` lets no other option through.
            Kind::Http => Err(format!("{name} with {value} is of another kind of target")),
            #[cfg(feature = "db")]
            Kind::Db => db_value(&mut self.db, name, value),
            #[cfg(feature = "cache")]
            Kind::Cache => cache_value(&mut self.cache, name, value),
        }
    }

    fn finish(mut self, api_key: Option<String>) -> Result<Run, UsageError> {
        let authorized = self
            .requests
            .headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case("authorization"));
        if let Some(key) = api_key.filter(|key| !key.is_empty() && !authorized) {
            self.requests.headers.push(bearer(&key));
        }
        let load = self.finish_load()?;
        load.validate().map_err(|error| usage(error.to_string()))?;
        if let Some(output) = &self.output {
            let folder = output
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            if output.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(usage(format!(
                    "--output {}: no file can be there",
                    output.display()
                )));
            }
        }
        Ok(Run {
            thresholds: std::mem::take(&mut self.thresholds),
            output: self.output.take(),
            quiet: self.quiet,
            metrics: self.metrics,
            program: "loadgen".to_owned(),
            again: self.again.text(&self.server_args),
            load,
            subject: self.subject()?,
        })
    }

    fn finish_load(&mut self) -> Result<Load, UsageError> {
        let mut load = std::mem::take(&mut self.load);
        if let Some(recorded) = self.recorded {
            // The last request is within the run.
            load.duration = recorded + Duration::from_millis(1);
        }
        load.duration = self.duration.unwrap_or(load.duration);
        if let Some((_, model)) = self.model.take() {
            load.model = model;
        }
        match (self.constant, &load.model) {
            (None, _) | (Some(false), Model::Open(Arrivals::Poisson { .. })) => {}
            (Some(true), Model::Open(Arrivals::Poisson { rate })) => {
                load.model = Model::Open(Arrivals::Constant { rate: *rate });
            }
            _ => return Err(usage("--arrivals only goes with --rate")),
        }
        Ok(load)
    }

    fn subject(self) -> Result<Subject, UsageError> {
        match self.kind {
            Kind::Http => self.http(),
            #[cfg(feature = "db")]
            Kind::Db => {
                let url = self
                    .url
                    .ok_or_else(|| usage("db needs --url sqlite:FILE or postgres://…"))?;
                Ok(Subject::Db(crate::db::DbConfig { url, ..self.db }))
            }
            #[cfg(feature = "cache")]
            Kind::Cache => Ok(Subject::Cache(self.cache)),
        }
    }

    fn http(self) -> Result<Subject, UsageError> {
        let requests = self.requests;
        match (self.url, self.server) {
            (Some(_), Some(_)) => Err(usage("--url and --server: a run has one target")),
            (None, None) => Err(usage(
                "nothing to ask: give --url http://… or --server PROGRAM; see --help",
            )),
            (Some(url), None) => {
                let of_server = [
                    ("path", self.path.is_some()),
                    ("ready", self.ready.is_some()),
                    ("server-env", !self.server_env.is_empty()),
                    ("server-log", self.server_log.is_some()),
                    ("server-cpus", !self.server_cpus.is_empty()),
                ];
                match of_server.iter().find(|(_, given)| *given) {
                    Some((name, _)) => Err(usage(format!("--{name} only goes with --server"))),
                    None => Ok(Subject::Url { url, requests }),
                }
            }
            (None, Some(program)) => {
                if self.path.is_some() && requests.mix.is_some() {
                    return Err(usage("--path and --mix: the mix has the paths"));
                }
                let server = ServerArgs {
                    program,
                    args: self.server_args,
                    env: self.server_env,
                    inherit_env: true,
                    ready: self.ready.unwrap_or_else(|| "/livez".to_owned()),
                    log: self.server_log,
                    cpus: self.server_cpus,
                };
                let path = self.path.unwrap_or_else(|| "/".to_owned());
                Ok(Subject::Server {
                    server,
                    path,
                    requests,
                })
            }
        }
    }
}

/// Kinds of targets whose feature is off.
const NOT_BUILT_IN: &[&str] = &[
    #[cfg(not(feature = "db"))]
    "db",
    #[cfg(not(feature = "cache"))]
    "cache",
];
const EVERY: &str = "users rate arrivals ramp step spike replay duration warmup requests connections threads timeout \
     seed cpus threshold output url";
const HTTP: &str = "server server-env server-log server-cpus ready path mix header api-key";
#[cfg(feature = "db")]
const DB: &str = "rows pool lane-reads reads updates";
#[cfg(feature = "cache")]
const CACHE: &str = "redis disk keys memory value-bytes skew gets loads inserts";

#[cfg(feature = "db")]
fn db_value(db: &mut crate::db::DbConfig, name: &str, value: &str) -> Result<(), String> {
    let field = match name {
        "rows" => &mut db.rows,
        "pool" => &mut db.connections,
        "lane-reads" => &mut db.lane_reads,
        "reads" => &mut db.reads,
        _ => &mut db.updates,
    };
    *field = values::number(value)?;
    Ok(())
}

#[cfg(feature = "cache")]
fn cache_value(
    cache: &mut crate::cache::CacheConfig,
    name: &str,
    value: &str,
) -> Result<(), String> {
    match name {
        "redis" => cache.redis = Some(value.to_owned()),
        "disk" => cache.disk = Some(value.into()),
        "keys" => cache.keys = values::number(value)?,
        "memory" => cache.memory_capacity = values::number(value)?,
        "value-bytes" => cache.value_bytes = values::number(value)?,
        "skew" => cache.skew = value.parse().map_err(|_| "expected a number")?,
        "gets" => cache.gets = values::number(value)?,
        "loads" => cache.loads = values::number(value)?,
        _ => cache.inserts = values::number(value)?,
    }
    Ok(())
}

fn bearer(key: &str) -> Header {
    Header {
        name: "authorization".to_owned(),
        value: format!("Bearer {key}"),
    }
}

fn absolute(path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err("a path begins with /".to_owned())
    }
}

fn usage(problem: impl Into<String>) -> UsageError {
    UsageError {
        problem: problem.into(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what OsString::into_string gives back"
)]
fn not_text(word: OsString) -> UsageError {
    usage(format!("{}: not UTF-8", word.display()))
}

#[cfg(test)]
mod tests;
