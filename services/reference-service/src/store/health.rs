//! Whether the database answers, known without waiting for it.

use db_pool::{Advice, Health, HealthReport};

use super::{Pools, Store, error::StoreError, primary};

impl Store {
    /// Why the database cannot be used, as far as is known; nothing when it answers.
    ///
    /// Never waits: the pool pings once a second for as long as somebody asks at least once a minute. A full pool is
    /// no trouble: it means work, not absence. Of several servers one has to answer.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        match &self.pools {
            Pools::Sqlite(pool) => trouble(&pool.health()),
            Pools::Postgres(pool) => trouble(&pool.health()),
            Pools::Replicated(servers) => {
                let silent: Option<Vec<_>> = servers
                    .status()
                    .servers
                    .into_iter()
                    .map(|it| it.silent)
                    .collect();
                silent.map(|reasons| reasons.join("; "))
            }
        }
    }

    /// How the database does, by its own account: sessions, locks and limits, or files. For operators; takes a
    /// connection and five seconds at the most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no primary to ask; other trouble is told in the report.
    pub async fn health_report(&self) -> Result<HealthReport, StoreError> {
        let report = match &self.pools {
            Pools::Sqlite(pool) => pool.health_report().await,
            Pools::Postgres(pool) => pool.health_report().await,
            Pools::Replicated(servers) => primary(servers)?.health_report().await,
        };
        Ok(report)
    }

    /// What to change about the pool, the indexes and the statements, with the numbers that say so. For operators;
    /// takes a connection and five seconds at the most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store is closed.
    pub async fn advice(&self) -> Result<Advice, StoreError> {
        let advice = match &self.pools {
            Pools::Sqlite(pool) => pool.advice().await?,
            Pools::Postgres(pool) => pool.advice().await?,
            Pools::Replicated(servers) => primary(servers)?.advice().await?,
        };
        Ok(advice)
    }
}

fn trouble(health: &Health) -> Option<String> {
    (!health.is_ready()).then(|| health.reasons.join(": "))
}
