//! Copies of the database: SQLite by `VACUUM INTO`, PostgreSQL by `pg_dump`, both verified.

use std::time::Duration;

use db_pool::{Backup, BackupConfig, Backups};

use super::{Pools, Store, error::StoreError, primary};

impl Store {
    /// Takes one copy now and removes those that are no longer to be kept. The service goes on meanwhile; dropping
    /// the future leaves no half copy.
    ///
    /// # Errors
    /// [`StoreError::Backup`]; copies taken before stay.
    pub async fn back_up(&self, config: BackupConfig) -> Result<Backup, StoreError> {
        let taken = match &self.pools {
            Pools::Sqlite(pool) => Backups::new(pool, config)?.take().await?,
            Pools::Postgres(pool) => Backups::new(pool, config)?.take().await?,
            Pools::Replicated(servers) => Backups::new(&primary(servers)?, config)?.take().await?,
        };
        Ok(taken)
    }

    /// Takes a copy whenever the newest one is older than `every`, until the future is dropped; to be spawned. One
    /// that fails is logged and tried again later.
    ///
    /// # Errors
    /// [`StoreError::Backup`] for a setting that cannot work.
    pub async fn back_up_every(
        &self,
        config: BackupConfig,
        every: Duration,
    ) -> Result<(), StoreError> {
        match &self.pools {
            Pools::Sqlite(pool) => Backups::new(pool, config)?.run_every(every).await,
            Pools::Postgres(pool) => Backups::new(pool, config)?.run_every(every).await,
            Pools::Replicated(servers) => {
                let pool = primary(servers)?;
                Backups::new(&pool, config)?.run_every(every).await;
            }
        }
        Ok(())
    }
}
