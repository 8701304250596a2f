//! Whether the database can be used: a cached answer for readiness, and a report for whoever looks closer.

#[cfg(feature = "postgres")]
mod postgres;
mod report;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

#[cfg(feature = "postgres")]
pub(crate) use self::postgres::examine as examine_postgres;
pub use self::report::{DatabaseHealth, HealthReport, PostgresHealth, Sessions, SqliteHealth};
#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::examine as examine_sqlite;
pub(crate) use self::state::Probe;
pub use self::state::{Health, HealthState};
use crate::backend::Backend;
use crate::error::AcquireError;
use crate::pool::{Pool, WeakPool};

impl<B: Backend> Pool<B> {
    /// Whether the database can be used, as far as is known. Never waits; for a readiness check.
    ///
    /// The first call starts a task that pings the database once a second, one ping at a time; it ends when nobody has
    /// asked for a minute, and with the pool. So the answer is at most two seconds older than the truth, plus the time
    /// that a ping may take (`acquire_timeout` and `validation_timeout`); [`Health::checked_ago`] tells. The
    /// ping has a connection of its own: a pool whose connections are all in use is up, that means work.
    pub fn health(&self) -> Health {
        let shared = self.shared();
        if shared.is_closed() {
            return Health::closed();
        }
        let (health, watch) = shared.health.look(Instant::now());
        if watch {
            shared
                .runtime
                .spawn(watch_over(self.downgrade(), shared.over()));
        }
        health
    }

    /// Asks the database how it does: its sessions, locks and limits, its files, how far behind it is.
    ///
    /// Takes a connection and a few queries, and five seconds at the most. Never fails: what could not be found out is
    /// told in [`HealthReport::trouble`].
    pub async fn health_report(&self) -> HealthReport {
        let status = self.status();
        let examining = async {
            let ping = self.ping().await?;
            let mut connection = self.acquire().await?;
            let file = self.config().file().unwrap_or_default();
            let database = B::examine(&mut connection, file).await?;
            Ok::<_, diesel::result::Error>((ping, database))
        };
        let (found, trouble) = match timeout(REPORT_LIMIT, examining).await {
            Ok(Ok(found)) => (Some(found), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some(format!("no answer within {REPORT_LIMIT:?}"))),
        };
        let (ping, database) = found.unzip();
        HealthReport {
            status,
            ping,
            database,
            trouble,
        }
    }
}

/// Pings until nobody wants to know any more, or the pool is `over`.
async fn watch_over<B: Backend>(pool: WeakPool<B>, over: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = over => {}
        () = ping_again_and_again(pool) => {}
    }
}

async fn ping_again_and_again<B: Backend>(pool: WeakPool<B>) {
    let mut ticks = interval(state::FRESH_FOR);
    // Of the ticks that a slow answer misses, one is made up for, not all of them in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let Some(asking) = pool.shared().health.ask(Instant::now()) else {
            return;
        };
        let answer = pool.ping().await;
        asking.answered(Instant::now(), judge(answer));
    }
}

fn judge(answer: Result<Duration, AcquireError>) -> (HealthState, Vec<String>) {
    match answer {
        Ok(_) => (HealthState::Up, Vec::new()),
        Err(error @ (AcquireError::Exhausted { .. } | AcquireError::Overloaded { .. })) => {
            (HealthState::Degraded, vec![error.to_string()])
        }
        Err(error) => {
            let mut reasons = vec![error.to_string()];
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                reasons.push(inner.to_string());
                cause = inner.source();
            }
            (HealthState::Down, reasons)
        }
    }
}

const REPORT_LIMIT: Duration = Duration::from_secs(5);
