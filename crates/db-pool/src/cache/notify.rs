//! A bus over the database itself: PostgreSQL's LISTEN and NOTIFY, on a connection beside the pool.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::bus::{InvalidationBus, Raised, RaisedStream};
use super::store::StoreError;
use crate::config::PoolConfig;
use crate::error::ConfigError;
use crate::postgres::Connector;
use crate::replicas::Line;

/// Tells other processes through PostgreSQL which tables were written; needs nothing but the database.
///
/// One connection of its own per process, outside of the pool. What is told goes out after the commit, in a statement
/// by itself, so that no transaction waits for PostgreSQL's queue of notifications; commits that come together are
/// told together. Without a session to listen in it does not work: not through PgBouncer in transaction mode.
pub struct PgNotifyBus {
    connector: Connector,
    channel: String,
    line: Mutex<Option<Arc<Line>>>,
}

impl PgNotifyBus {
    /// On the server and with the login of `config`; caches hear each other that use the same `channel`.
    ///
    /// Opens nothing yet.
    ///
    /// # Errors
    /// As [`Pool::connect`](crate::Pool::connect) for settings that cannot work, and for `pgbouncer`.
    pub fn new(config: &PoolConfig, channel: impl Into<String>) -> Result<Self, ConfigError> {
        config.validate()?;
        if config.pgbouncer {
            let problem = "keeps no session to listen in; use another bus";
            return Err(ConfigError::new("pgbouncer", true, problem));
        }
        Ok(Self {
            connector: Connector::new(config)?,
            channel: channel.into(),
            line: Mutex::new(None),
        })
    }

    async fn listen(&self) -> Result<RaisedStream, StoreError> {
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        let line = Arc::new(self.connector.listener(sender).await?);
        let quoted = self.channel.replace('"', "\"\"");
        let listen = format!("LISTEN \"{quoted}\"");
        // It counts from its commit, which is the answer.
        line.client.batch_execute(&listen).await?;
        *self.line() = Some(Arc::clone(&line));
        let stream = futures_util::stream::unfold((line, heard), |(line, mut heard)| async move {
            loop {
                match timeout(SILENCE, heard.recv()).await {
                    Ok(text) => return Some((Raised::decode(&text?), (line, heard))),
                    // A dead network is as silent as nobody writing.
                    Err(_) => {
                        let alive = timeout(PATIENCE, line.client.batch_execute("")).await;
                        alive.ok()?.ok()?;
                    }
                }
            }
        });
        Ok(Box::pin(stream))
    }

    async fn tell(&self, raised: Raised) -> Result<(), StoreError> {
        let line = self.line().clone();
        let line = line.ok_or("nobody listens yet")?;
        let text = raised.encode(PAYLOAD_MAX);
        let telling = async {
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&self.channel, &text];
            let notify = "SELECT pg_notify($1, $2)";
            line.client.execute(notify, &values).await
        };
        timeout(PATIENCE, telling).await??;
        Ok(())
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Option<Arc<Line>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InvalidationBus for PgNotifyBus {
    fn subscribe(&self) -> BoxFuture<'_, Result<RaisedStream, StoreError>> {
        Box::pin(self.listen())
    }

    fn publish(&self, raised: Raised) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.tell(raised))
    }
}

impl fmt::Debug for PgNotifyBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgNotifyBus")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// PostgreSQL takes payloads of less than 8,000 bytes.
const PAYLOAD_MAX: usize = 7_900;

/// What is heard and not yet read; beyond it the bus counts as lost.
const HEARD_MAX: usize = 1_024;

/// After so long without a word the server is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
