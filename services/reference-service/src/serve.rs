//! One lifetime of the process: bind, start the graph, serve, drain, stop in reverse.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use init_graph::Running;
use perf_monitor::Monitor;
use startup_progress::Progress;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    components::{self, Given},
    config::Config,
    failure::Failure,
    http::{
        self,
        gate::Gate,
        listener::{Drained, Limits, Listener},
    },
    state::AppState,
};

/// A service whose listeners are bound: probes, start-up views and docs answer already.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    monitor: Option<Monitor>,
    progress: Progress,
    gate: Gate,
    admin_gate: Gate,
    addresses: Addresses,
    drain: CancellationToken,
    listeners: [JoinHandle<Drained>; 2],
}

/// A service that is ready.
#[derive(Debug)]
pub struct Ready {
    config: Config,
    progress: Progress,
    running: Running,
    addresses: Addresses,
    drain: CancellationToken,
    listeners: [JoinHandle<Drained>; 2],
}

/// Where the service listens, with the real ports.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The API.
    pub http: SocketAddr,
    /// Metrics and start-up views.
    pub admin: SocketAddr,
}

/// Binds both listeners and answers probes from then on; the API answers 503 until
/// [`Bound::start`] is done.
///
/// # Errors
///
/// A port is taken, or an address is not one of this machine.
pub async fn bind(config: Config, monitor: Option<Monitor>) -> Result<Bound, Failure> {
    let public = listen(&config, config.http.address, "APP__HTTP__ADDRESS").await?;
    let admin = listen(&config, config.admin.address, "APP__ADMIN__ADDRESS").await?;
    let addresses = Addresses {
        http: public.address(),
        admin: admin.address(),
    };
    let progress = Progress::new(env!("CARGO_PKG_NAME"));
    let gate = Gate::new(progress.clone());
    let admin_gate = Gate::new(progress.clone());
    let drain = CancellationToken::new();
    let serve =
        |listener: Listener, router: Router| tokio::spawn(listener.serve(router, drain.clone()));
    let admin_routes = http::admin(
        &progress,
        &admin_gate,
        monitor.as_ref(),
        config.admin.key.clone(),
    );
    let listeners = [
        serve(public, http::public(&progress, gate.clone())),
        serve(admin, admin_routes),
    ];
    Ok(Bound {
        config,
        monitor,
        progress,
        gate,
        admin_gate,
        addresses,
        drain,
        listeners,
    })
}

async fn listen(
    config: &Config,
    address: SocketAddr,
    key: &'static str,
) -> Result<Listener, Failure> {
    let limits = Limits {
        header_timeout: config.http.header_timeout,
        write_timeout: config.http.write_timeout,
        connections_max: config.http.max_connections,
        drain_timeout: config.shutdown.timeout,
    };
    let bound = Listener::bind(address, limits).await;
    bound.map_err(|source| Failure::Bind {
        address,
        key,
        source,
    })
}

// === impl Bound ===

impl Bound {
    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The progress that the start-up views show.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Starts every component and opens the API.
    ///
    /// When `stop` is cancelled meanwhile, what had started is stopped again and the answer is
    /// `None`.
    ///
    /// # Errors
    ///
    /// A component failed; the others were stopped again and the listeners are closed.
    pub async fn start(
        self,
        demo: bool,
        stop: &CancellationToken,
    ) -> Result<Option<Ready>, Failure> {
        let mut graph = components::graph(Given {
            config: self.config.clone(),
            progress: self.progress.clone(),
            monitor: self.monitor.clone(),
            demo,
        });
        graph.cancel_on(stop.clone());
        let running = match graph.start().await {
            Ok(running) => running,
            Err(error) => {
                self.progress.close_streams();
                close(&self.drain, self.listeners).await;
                return if error.is_cancelled() {
                    Ok(None)
                } else {
                    Err(Failure::Start(error))
                };
            }
        };
        let state = running
            .get::<AppState>()
            .expect("`routes` is a component of the graph");
        let state = (*state).clone();
        self.admin_gate
            .open(http::database::router(state.store.clone()));
        self.gate
            .open(http::api(state, &self.config.http, self.monitor.as_ref()));
        self.progress.ready();
        Ok(Some(Ready {
            config: self.config,
            progress: self.progress,
            running,
            addresses: self.addresses,
            drain: self.drain,
            listeners: self.listeners,
        }))
    }
}

// === impl Ready ===

impl Ready {
    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// How long the start took, from the first component to the last.
    pub fn start_took(&self) -> Duration {
        self.running.report().took()
    }

    /// Waits until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// A listener ended by itself, which it does only by a bug: better an end than a service that
    /// answers nobody. Call [`Ready::stop`] all the same.
    pub async fn until(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let [public, admin] = &mut self.listeners;
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = public => Err(Failure::ListenerEnded),
            _ = admin => Err(Failure::ListenerEnded),
        }
    }

    /// Readiness off, drain, stop the components in reverse.
    ///
    /// Bounded by `shutdown.drain_delay` and twice `shutdown.timeout`.
    ///
    /// # Errors
    ///
    /// A component did not stop cleanly; the others were stopped all the same.
    pub async fn stop(self) -> Result<(), Failure> {
        self.progress.drain();
        if !self.config.shutdown.drain_delay.is_zero() {
            sleep(self.config.shutdown.drain_delay).await;
        }
        self.progress.close_streams();
        let aborted = close(&self.drain, self.listeners).await;
        if aborted > 0 {
            tracing::warn!(
                aborted,
                "connections were cut: they outlasted shutdown.timeout"
            );
        }
        self.running.shutdown().await.map_err(Failure::Stop)?;
        Ok(())
    }
}

/// Ends the accept loops and waits for running requests; how many connections were cut.
async fn close(drain: &CancellationToken, listeners: [JoinHandle<Drained>; 2]) -> usize {
    drain.cancel();
    let mut aborted = 0;
    for listener in listeners
        .into_iter()
        .filter(|listener| !listener.is_finished())
    {
        match listener.await {
            Ok(drained) => aborted += drained.aborted,
            Err(error) => tracing::error!(%error, "a listener ended badly"),
        }
    }
    aborted
}
