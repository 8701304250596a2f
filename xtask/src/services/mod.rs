//! PostgreSQL and Redis for tests: where they come from, who ends them, and the `services` command.

mod account;
mod docker;
mod external;
mod local;
mod programs;
mod server;
mod state;

use anyhow::{Context, bail};

pub(crate) use self::docker::engine as container_engine;
use self::state::State;
use crate::args::{Action, Backend};
use crate::workspace::Workspace;

/// The two kinds of server that suites ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Postgres,
    Redis,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Postgres, Self::Redis];

    /// The variable that the suites read.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "TEST_DATABASE_URL",
            Self::Redis => "TEST_REDIS_URL",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }

    /// Its name as a service of the compose file and as a folder.
    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

/// A server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) kind: Kind,
    pub(crate) url: String,
}

/// A server that could not be had, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

/// What was found or started. Dropping it ends what was started.
#[derive(Debug, Default)]
pub(crate) struct Services {
    pub(crate) running: Vec<Service>,
    pub(crate) missing: Vec<Missing>,
    local: Option<local::Local>,
    docker: Option<docker::Project>,
}

impl Services {
    /// Servers that live as long as the returned value; those left by `services up` are used and left alone.
    ///
    /// # Errors
    /// A server that is there and does not work. One that is nowhere to be had is listed as missing.
    pub(crate) fn acquire(workspace: &Workspace, backend: Backend) -> anyhow::Result<Self> {
        if backend == Backend::Auto
            && let Some(state) = State::read(workspace)
            && state.is_complete()
            && state.answers()
        {
            eprintln!("using the servers of `cargo xtask services up`");
            return Ok(Self {
                running: state.services,
                ..Self::default()
            });
        }
        Self::start(workspace, backend, docker::Lifetime::Command)
    }

    fn start(
        workspace: &Workspace,
        backend: Backend,
        lifetime: docker::Lifetime,
    ) -> anyhow::Result<Self> {
        let mut services = Self::default();
        let mut wanted = Kind::ALL.to_vec();
        if matches!(backend, Backend::Auto | Backend::External) {
            services.take_external(&mut wanted)?;
        }
        if backend == Backend::External {
            let missing: Vec<_> = wanted.iter().map(|kind| kind.variable()).collect();
            if !missing.is_empty() {
                bail!("--backend external needs {}", missing.join(" and "));
            }
        }
        if matches!(backend, Backend::Auto | Backend::Docker) && !wanted.is_empty() {
            match docker::Project::up(workspace, lifetime, &wanted) {
                Ok((project, running)) => {
                    services.running.extend(running);
                    services.docker = Some(project);
                    wanted.clear();
                }
                Err(error) if backend == Backend::Docker || crate::process::interrupted() => {
                    return Err(error);
                }
                Err(error) => eprintln!("no containers: {error:#}"),
            }
        }
        if matches!(backend, Backend::Auto | Backend::Local) && !wanted.is_empty() {
            services.start_local(workspace, &wanted)?;
        }
        services.running.sort_by_key(|service| service.kind);
        Ok(services)
    }

    fn take_external(&mut self, wanted: &mut Vec<Kind>) -> anyhow::Result<()> {
        for service in external::from_environment() {
            external::check(&service)
                .with_context(|| format!("{} is set", service.kind.variable()))?;
            wanted.retain(|kind| *kind != service.kind);
            self.running.push(service);
        }
        Ok(())
    }

    fn start_local(&mut self, workspace: &Workspace, wanted: &[Kind]) -> anyhow::Result<()> {
        let mut local = local::Local::new(workspace)?;
        for kind in wanted {
            match programs::find(*kind) {
                Ok(programs) => {
                    let url = local
                        .start(&programs, &mut server::free_port)
                        .with_context(|| format!("{} does not start", kind.title()))?;
                    self.running.push(Service { kind: *kind, url });
                }
                Err(error) => {
                    self.missing.push(Missing {
                        kind: *kind,
                        reason: error.to_string(),
                    });
                }
            }
        }
        self.local = (!local.is_empty()).then_some(local);
        Ok(())
    }

    /// Leaves everything running after this process; [`State`] tells a later one how to end it.
    fn keep(mut self, workspace: &Workspace) -> anyhow::Result<()> {
        let mut state = State {
            services: self.running.clone(),
            ..State::default()
        };
        if let Some(local) = &self.local {
            state.folder = Some(local.folder().to_owned());
            state.processes = local.processes();
        }
        if let Some(project) = &self.docker {
            state.project = Some(project.name().to_owned());
        }
        // The state first: should it not be writable, the destructors still end what was started.
        state.write(workspace)?;
        if let Some(local) = self.local.take() {
            local.keep();
        }
        if let Some(project) = self.docker.take() {
            project.keep();
        }
        Ok(())
    }
}

pub(crate) fn run(workspace: &Workspace, action: Action, backend: Backend) -> anyhow::Result<()> {
    match action {
        Action::Up => up(workspace, backend),
        Action::Down => down(workspace),
        Action::Status => status(workspace),
    }
}

/// Only the `export` lines go to standard output, so that a shell can evaluate it.
fn up(workspace: &Workspace, backend: Backend) -> anyhow::Result<()> {
    if let Some(state) = State::read(workspace) {
        if state.is_complete() && state.answers() {
            eprintln!("already up");
            print_exports(&state.services);
            return Ok(());
        }
        eprintln!("removing what is left of an earlier `services up`");
        state.tear_down(workspace)?;
    }
    let services = Services::start(workspace, backend, docker::Lifetime::Kept)?;
    for missing in &services.missing {
        eprintln!("no {}: {}", missing.kind.title(), missing.reason);
    }
    if services.running.is_empty() || backend != Backend::Auto && !services.missing.is_empty() {
        bail!("not every server could be had; `cargo xtask test --install` installs them");
    }
    let running = services.running.clone();
    services.keep(workspace)?;
    print_exports(&running);
    Ok(())
}

fn print_exports(services: &[Service]) {
    for service in services {
        println!("export {}='{}'", service.kind.variable(), service.url);
    }
}

fn down(workspace: &Workspace) -> anyhow::Result<()> {
    match State::read(workspace) {
        Some(state) => state.tear_down(workspace)?,
        None => eprintln!("nothing is up"),
    }
    Ok(())
}

fn status(workspace: &Workspace) -> anyhow::Result<()> {
    let state = State::read(workspace).unwrap_or_default();
    let mut silent = Vec::new();
    for kind in Kind::ALL {
        let service = state.services.iter().find(|service| service.kind == kind);
        match service.map(|service| (service, external::check(service))) {
            Some((service, Ok(()))) => println!("{}: up at {}", kind.title(), service.url),
            Some((_, Err(error))) => {
                println!("{}: does not answer: {error:#}", kind.title());
                silent.push(kind.title());
            }
            None => {
                println!("{}: not up", kind.title());
                silent.push(kind.title());
            }
        }
    }
    if !silent.is_empty() {
        bail!("not available: {}", silent.join(", "));
    }
    Ok(())
}
