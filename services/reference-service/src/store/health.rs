//! Whether the database answers, known without waiting for it.

use db_pool::{Advice, Health, HealthReport};

use super::{Pools, Store, error::StoreError};

impl Store {
    /// Why the database cannot be used, as far as is known; nothing when it answers.
    ///
    /// Never waits: the pool pings once a second for as long as somebody asks at least once a minute.
    /// A full pool is no trouble: it means work, not absence.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let health = self.pool_health();
        (!health.is_ready()).then(|| health.reasons.join(": "))
    }

    fn pool_health(&self) -> Health {
        match &self.pools {
            Pools::Sqlite(pool) => pool.health(),
            Pools::Postgres(pool) => pool.health(),
        }
    }

    /// How the database does, by its own account: sessions, locks and limits, or files. For operators; takes a
    /// connection and five seconds at the most, and never fails.
    pub async fn health_report(&self) -> HealthReport {
        match &self.pools {
            Pools::Sqlite(pool) => pool.health_report().await,
            Pools::Postgres(pool) => pool.health_report().await,
        }
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
        };
        Ok(advice)
    }
}
