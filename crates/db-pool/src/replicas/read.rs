//! Reads: the next best server until one lends a lane.

use tokio::time::{Instant, timeout, timeout_at};

use super::core::Core;
use super::handle::Replicas;
use super::lane::{Lent, ReplicaLane};
use super::servers::bit;
use crate::error::AcquireError;
use crate::lsn::Lsn;
use crate::scope::Scope;

impl Replicas {
    /// Borrows a lane of the replica that is expected to answer soonest, for single reading statements.
    ///
    /// Inside a [`Scope`] that wrote it is one that has seen the write, or the primary. A server that lends no lane within
    /// `patience` is passed over for the next. Dropping the future takes nothing with it.
    ///
    /// # Errors
    /// [`AcquireError::NoServer`] if no server may serve this read now; else what the last one tried answered.
    pub async fn read(&self) -> Result<ReplicaLane, AcquireError> {
        let core = self.core();
        let need = self.need().await;
        let (mut tried, mut last) = (0, None);
        loop {
            if core.is_closed() {
                return Err(AcquireError::Closed);
            }
            let (server, is_last) = {
                let mut servers = core.servers();
                let Some(server) = servers.choose(need, tried) else {
                    break;
                };
                (server, servers.is_last_choice(need, tried | bit(server)))
            };
            let lent = Lent::new(core, server);
            match self.lane_of(server, is_last).await {
                Ok(Ok(lane)) => return Ok(ReplicaLane::new(lane, lent)),
                Ok(Err(error)) => {
                    if is_gone(&error) {
                        core.failed(server, &in_short(&error));
                    }
                    last = Some(error);
                }
                // Too much to do or too slow: its watcher will tell.
                Err(_) => core.ask_all(),
            }
            tried |= bit(server);
        }
        Err(last.unwrap_or_else(|| AcquireError::NoServer {
            servers: core.said(),
        }))
    }

    async fn lane_of(
        &self,
        server: usize,
        is_last: bool,
    ) -> Result<Result<crate::lane::Lane<crate::postgres::Postgres>, AcquireError>, TooSlow> {
        let core = self.core();
        let Some(pool) = core.pool(server) else {
            return Err(TooSlow);
        };
        // CANCEL: a dropped `read` leaves the queue of the pool.
        if is_last {
            return Ok(pool.read().await);
        }
        timeout(core.config.patience, pool.read())
            .await
            .map_err(|_| TooSlow)
    }

    /// What the read has to see; waits for a replica that does, if that is wanted.
    async fn need(&self) -> Option<Lsn> {
        let core = self.core();
        let scope = Scope::current()?;
        let Some(limit) = core.config.wait_for_write else {
            return needs(core, &scope);
        };
        let deadline = Instant::now() + limit;
        let deadline = scope.deadline().map_or(deadline, |end| end.min(deadline));
        loop {
            let mut news = core.news();
            let need = needs(core, &scope)?;
            let (seen, hopeless) = {
                let servers = core.servers();
                (servers.has_seen(need), !servers.has_replicas())
            };
            if seen || hopeless || core.is_closed() {
                return Some(need);
            }
            core.ask_all();
            if timeout_at(deadline, news.changed()).await.is_err() {
                return Some(need);
            }
        }
    }
}

/// The end of what the request wrote; beyond everything while that is not known.
fn needs(core: &Core, scope: &Scope) -> Option<Lsn> {
    let unplaced = scope.unplaced();
    if !unplaced.is_any() {
        return scope.written();
    }
    let end = core.servers().end_of_log();
    match end.and_then(|(asked, end)| unplaced.place(asked, end)) {
        Some(end) => {
            scope.wrote(end);
            scope.written()
        }
        None => Some(Lsn::new(u64::MAX)),
    }
}

/// No lane within `patience`.
struct TooSlow;

/// Whether the error means that the server may be gone, rather than busy.
pub(super) fn is_gone(error: &AcquireError) -> bool {
    use crate::error::ConnectErrorKind as Kind;
    match error {
        AcquireError::ConnectFailed {
            source, permanent, ..
        } => !permanent && source.kind() != Kind::TooManyConnections,
        _ => false,
    }
}

fn in_short(error: &AcquireError) -> String {
    match error {
        AcquireError::ConnectFailed { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
