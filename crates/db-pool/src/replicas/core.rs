//! What the handle, its lanes and its watchers share: the knowledge behind a lock, and who is told when it changes.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use ::metrics::Counter;
use futures_util::future::{Either, select};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::answer::Answer;
use super::config::ReplicasConfig;
use super::metrics::{Metrics, failovers};
use super::servers::{Change, Rules, Servers};
use super::status::{ReplicasStatus, ServerStatus};
use crate::config::PoolConfig;
use crate::error::{ConfigError, OpenError};
use crate::pool::Pool;
use crate::postgres::{Connector, Postgres};

pub(super) struct Core {
    pub(super) config: ReplicasConfig,
    pub(super) nodes: Vec<Node>,
    servers: Mutex<Servers>,
    /// Counts what was heard.
    heard: watch::Sender<u64>,
    closed: AtomicBool,
    pub(super) waiting: AtomicUsize,
    failovers: Counter,
}

/// One server's doors.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) config: PoolConfig,
    pub(super) connector: Connector,
    pool: OnceLock<Pool<Postgres>>,
    /// Wakes its watcher before time.
    pub(super) hurry: Notify,
    /// Its watcher shall connect anew first: behind the address may be another server than before.
    pub(super) anew: AtomicBool,
    metrics: Metrics,
}

impl Core {
    pub(super) fn new(config: ReplicasConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let set = config.pool.name.clone();
        let nodes = config.pools()?.into_iter().map(|(name, config)| {
            let mut watching = config.clone();
            // In the middle of a transaction of its own it would be cut off.
            watching.name.push_str(" (watch)");
            Ok(Node {
                metrics: Metrics::new(&set, &name),
                connector: Connector::new(&watching)?,
                name,
                config,
                pool: OnceLock::new(),
                hurry: Notify::new(),
                anew: AtomicBool::new(false),
            })
        });
        let nodes = nodes.collect::<Result<Vec<_>, ConfigError>>()?;
        let rules = Rules {
            max_lag: config.max_lag,
            max_lag_bytes: config.max_lag_bytes,
            primary_reads: config.primary_reads,
            ban: config.ban_terms(),
            probe_interval: config.probe_interval,
        };
        let servers = Servers::new(nodes.len(), rules, fastrand::Rng::new());
        Ok(Self {
            failovers: failovers(&set),
            config,
            nodes,
            servers: Mutex::new(servers),
            heard: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(super) fn servers(&self) -> MutexGuard<'_, Servers> {
        // Every change is complete in itself, so a panic between two leaves nothing half done.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool of a server that was opened.
    pub(super) fn pool(&self, server: usize) -> Option<&Pool<Postgres>> {
        self.nodes[server].pool.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
        self.tell();
    }

    // === hearing ===

    /// Wakes whoever waits for news; take it before looking.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    fn tell(&self) {
        self.heard.send_modify(|count| *count += 1);
    }

    /// Takes in what a server said, or why it said nothing and whether that is certain.
    pub(super) fn heard(&self, server: usize, said: Result<Answer, (String, bool)>) {
        let now = Instant::now();
        let name = &self.nodes[server].name;
        let (change, failovers, back) = {
            let mut servers = self.servers();
            let before = servers.all[server].silence.is_some();
            let change = match said {
                Ok(answer) => servers.answered(server, answer, now),
                Err((why, certain)) => {
                    if !before {
                        tracing::warn!(server = %name, why, "a database server does not answer");
                    }
                    servers.silent(server, why, certain)
                }
            };
            let status = servers.server_status(server, name, now);
            self.nodes[server].metrics.publish(&status);
            let back = before && status.silent.is_none();
            if back {
                tracing::info!(server = %name, role = %status.role, "a database server answers again");
            }
            (change, servers.failovers, back)
        };
        if back && let Some(pool) = self.pool(server) {
            pool.try_now();
        }
        self.failovers.absolute(failovers);
        self.act(change);
        self.tell();
    }

    fn act(&self, change: Change) {
        if let Some(server) = change.promoted {
            tracing::info!(server = %self.nodes[server].name, "writes go to this server now");
        }
        if let Some(server) = change.demoted {
            tracing::warn!(server = %self.nodes[server].name, "a primary became a replica");
            // Whatever connections are left lead to what it was.
            if let Some(pool) = self.pool(server) {
                pool.shared().next_generation();
            }
        }
    }

    /// Something went wrong with a server that may mean that its role changed: ask it, and all others, at once.
    pub(super) fn doubt(&self, server: usize) {
        self.nodes[server].anew.store(true, Ordering::Release);
        self.ask_all();
    }

    pub(super) fn ask_all(&self) {
        for node in &self.nodes {
            node.hurry.notify_one();
        }
    }

    /// A server failed a caller that reads.
    pub(super) fn failed(&self, server: usize, why: &str) {
        let now = Instant::now();
        let name = &self.nodes[server].name;
        if self.servers().failed(server, why.to_owned(), now) {
            tracing::warn!(server = %name, why, "a database server is left alone for a while");
        }
        self.doubt(server);
    }

    /// Goes on with `work` as long as `makes_sense`; it is looked at again whenever a server was heard.
    ///
    /// Dropping the future drops `work`.
    pub(super) async fn as_long_as<T>(
        &self,
        makes_sense: impl Fn(&Servers) -> bool,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut news = self.news();
        let mut work = pin!(work);
        loop {
            let changed = pin!(news.changed());
            if let Either::Left((done, _)) = select(work.as_mut(), changed).await {
                return Some(done);
            }
            if !makes_sense(&self.servers()) {
                return None;
            }
        }
    }

    // === doors ===

    /// Opens the pool of a server that has answered.
    pub(super) async fn open(self: &Arc<Self>, server: usize) -> Result<(), OpenError> {
        let node = &self.nodes[server];
        if node.pool.get().is_some() {
            return Ok(());
        }
        let pool = Pool::<Postgres>::connect(node.config.clone()).await?;
        // So that a request that wrote knows what its reads have to see.
        pool.track_lsn();
        let core: Weak<Self> = Arc::downgrade(self);
        pool.shared().alarm.set(move || {
            if let Some(core) = core.upgrade() {
                core.doubt(server);
            }
        });
        if node.pool.set(pool).is_ok() {
            self.servers().all[server].opened = true;
            self.tell();
        }
        Ok(())
    }

    // === telling ===

    pub(super) fn status(&self) -> ReplicasStatus {
        let now = Instant::now();
        let (mut status, failovers) = {
            let servers = self.servers();
            let of = |(server, node): (usize, &Node)| -> ServerStatus {
                servers.server_status(server, &node.name, now)
            };
            let status = ReplicasStatus {
                name: self.config.pool.name.clone(),
                primary: servers
                    .writer()
                    .map(|server| self.nodes[server].name.clone()),
                split: servers.is_split(),
                readable: !servers.is_last_choice(None, 0),
                failovers_total: servers.failovers,
                waiting: self.waiting.load(Ordering::Relaxed),
                servers: self.nodes.iter().enumerate().map(of).collect(),
            };
            (status, servers.failovers)
        };
        for (server, node) in status.servers.iter_mut().zip(&self.nodes) {
            node.metrics.publish(server);
            server.pool = node.pool.get().map(Pool::status);
        }
        self.failovers.absolute(failovers);
        status
    }

    /// What each server said, for an error.
    pub(super) fn said(&self) -> Vec<String> {
        let now = Instant::now();
        let servers = self.servers();
        let said =
            |(server, node): (usize, &Node)| servers.server_status(server, &node.name, now).said();
        self.nodes.iter().enumerate().map(said).collect()
    }
}
