//! The handle: opening a set of servers, closing it, and what it shows of itself.

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::config::ReplicasConfig;
use super::core::Core;
use super::status::ReplicasStatus;
use super::watch::watch;
use crate::error::{ConfigError, OpenError};
use crate::pool::Pool;
use crate::postgres::Postgres;

/// A primary and its replicas behind one handle; a cheap clone.
///
/// Nobody says which server is which: each is asked, at the start and once a second. Reads go to replicas, writes to the
/// primary, and to the next primary when the first is gone. A request that wrote, known by its
/// [`Scope`](crate::Scope), never reads from a replica that has not seen the write.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use db_pool::{Replicas, ReplicasConfig};
/// use diesel::sql_query;
/// use diesel_async::RunQueryDsl;
///
/// let db = Replicas::connect(ReplicasConfig::new(["postgres://app@one,two,three/app"])).await?;
/// let mut connection = db.acquire().await?;
/// sql_query("UPDATE notes SET done = true").execute(&mut connection).await?;
/// drop(connection);
/// let mut lane = db.read().await?;
/// sql_query("SELECT 1").execute(&mut lane).await.ok();
/// println!("{}", db.status());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Replicas {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    watchers: Vec<AbortHandle>,
}

impl Replicas {
    /// Asks all servers for their roles and opens a pool for each that answers.
    ///
    /// Returns as soon as each has answered or failed. Servers that do not answer, and a primary that is not there yet,
    /// are waited for later: watchers, one task and one connection for each server, end with the last clone of the
    /// handle or with [`close`](Self::close). Needs a running Tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// [`OpenError::Config`] for a setting that cannot work or a server that belongs to another database;
    /// [`OpenError::NoServer`] if not one answers.
    pub async fn connect(config: ReplicasConfig) -> Result<Self, OpenError> {
        let core = Arc::new(Core::new(config)?);
        let spawn = |server| tokio::spawn(watch(Arc::clone(&core), server)).abort_handle();
        let this = Self {
            inner: Arc::new(Inner {
                watchers: (0..core.nodes.len()).map(spawn).collect(),
                core,
            }),
        };
        let core = this.core();
        let longest = core
            .nodes
            .iter()
            .map(|node| node.config.connect_timeout)
            .max();
        let limit = core.config.probe_timeout + longest.unwrap_or_default();
        let mut news = core.news();
        // A server that is too slow even for this is one that does not answer.
        let _ = timeout(limit, news.wait_for(|_| core.servers().all_known())).await;
        let (stranger, opened) = {
            let servers = core.servers();
            let opened = servers.all.iter().any(|server| server.opened);
            (servers.stranger(), opened)
        };
        if let Some(server) = stranger {
            let problem = "is no copy of the others: it has another system identifier";
            let name = &core.nodes[server].name;
            return Err(ConfigError::new("servers", name, problem).into());
        }
        if !opened {
            return Err(OpenError::NoServer {
                servers: core.said(),
            });
        }
        Ok(this)
    }

    /// The pool of the server that takes writes now; `None` while there is none.
    ///
    /// Take it anew for each use: another server may be the primary by then.
    pub fn primary(&self) -> Option<Pool<Postgres>> {
        let server = self.core().servers().writer()?;
        self.core().pool(server).cloned()
    }

    /// The state of all servers now; asks nobody.
    pub fn status(&self) -> ReplicasStatus {
        self.core().status()
    }

    /// The configuration in effect.
    pub fn config(&self) -> &ReplicasConfig {
        &self.core().config
    }

    /// Ends the watchers and closes all pools; returns how many connections are still open after the `close_timeout`
    /// of their pools.
    ///
    /// Callers that wait, and later ones, get [`AcquireError::Closed`](crate::AcquireError::Closed). Dropping the
    /// future leaves everything closed.
    pub async fn close(&self) -> usize {
        let core = self.core();
        core.set_closed();
        self.inner.end_watchers();
        let pools = (0..core.nodes.len()).filter_map(|server| core.pool(server));
        join_all(pools.map(Pool::close)).await.into_iter().sum()
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }
}

impl Inner {
    fn end_watchers(&self) {
        for watcher in &self.watchers {
            watcher.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_watchers();
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
