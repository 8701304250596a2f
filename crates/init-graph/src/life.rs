//! What a run keeps besides its nodes: who waits lazily, who follows live, what is being restarted or cleaned up.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::core::lock;
use crate::lazy::Lazies;
use crate::live::Lives;
use crate::param::Kind;
use crate::plan::NodeId;
use crate::report::Report;
use crate::restart::Restarts;
use crate::run::Run;
use crate::settings::Settings;
use crate::stop::Cleanups;
use crate::wiring::Wires;

pub(crate) struct Life {
    /// Cancelled when a shutdown begins or the start is given up: nothing begins any more. The tokens of the nodes are
    /// not below it, since a shutdown cancels each in its turn.
    pub(crate) closing: CancellationToken,
    /// Cancelled when a stop is cut short.
    pub(crate) hurry: CancellationToken,
    pub(crate) lazies: Mutex<Lazies>,
    /// The nodes at either end of a `Lazy`.
    connected: HashSet<NodeId>,
    pub(crate) lives: Lives,
    pub(crate) restarts: Restarts,
    pub(crate) cleanups: Cleanups,
    /// Told when a component failed that counts.
    pub(crate) failed: Notify,
    /// How the start went, from before the first restart.
    report: OnceLock<Report>,
    /// How long the start took until it returned.
    pub(crate) took: OnceLock<Duration>,
}

impl Life {
    pub(crate) fn new(given_up: &CancellationToken, settings: &Settings, wires: &Wires) -> Self {
        Self {
            closing: given_up.child_token(),
            hurry: settings.hurry.clone(),
            lazies: Mutex::default(),
            connected: connected(wires),
            lives: Lives::default(),
            restarts: Restarts::new(settings.restart_budget),
            cleanups: Cleanups::default(),
            failed: Notify::new(),
            report: OnceLock::new(),
            took: OnceLock::new(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Waits until nothing begins any more.
    pub(crate) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
        self.lives.close();
    }

    /// Notes that `id` becomes ready, before anybody can see it.
    pub(crate) fn note_ready(&self, id: NodeId) {
        if self.connected.contains(&id) {
            lock(&self.lazies).note_ready(id);
        }
    }

    /// Keeps the report of the start as it is now, since a restart writes over it.
    pub(crate) fn keep_report(&self, run: &Run) {
        self.report.get_or_init(|| run.report(self.took()));
    }

    pub(crate) fn kept_report(&self, run: &Run) -> Report {
        let kept = self.report.get().cloned();
        kept.unwrap_or_else(|| run.report(self.took()))
    }

    pub(crate) fn took(&self) -> Duration {
        self.took.get().copied().unwrap_or_default()
    }
}

fn connected(wires: &Wires) -> HashSet<NodeId> {
    let mut connected = HashSet::new();
    for (node, wire) in wires.all().filter(|(_, wire)| wire.kind == Kind::Lazy) {
        connected.insert(node);
        connected.extend(wire.provider);
    }
    connected
}
