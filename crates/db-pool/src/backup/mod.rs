//! Backup and recovery: copies that are verified, kept for a while, and proven by restoring them.

mod config;
mod error;
mod folder;
mod manifest;
#[cfg(feature = "postgres")]
mod postgres;
mod progress;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval};

pub use self::config::BackupConfig;
pub use self::error::BackupError;
use self::folder::{Folder, Partial};
pub use self::manifest::{Backup, TableRows};
pub use self::progress::BackupProgress;
use crate::backend::Backend;
use crate::pool::Pool;

/// Takes, keeps, verifies and restores copies of the database of one pool; a cheap clone.
///
/// Pools that share a folder need different names ([`PoolConfig::name`](crate::PoolConfig)): by it each knows its own
/// copies. Only their owner can read the files.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = format!("{}/app.db", folder.path().display());
/// use db_pool::{BackupConfig, Backups, Pool, PoolConfig, Sqlite};
///
/// let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file)).await?;
/// let backups = Backups::new(&pool, BackupConfig::new(folder.path().join("backups")))?;
/// let copy = backups.take().await?;
/// println!("{copy}");
/// // Proves that it can be restored, and throws the restored database away.
/// backups.drill(&copy).await?;
/// # Ok(())
/// # }
/// ```
pub struct Backups<B: Recoverable> {
    pool: Pool<B>,
    config: Arc<BackupConfig>,
    folder: Folder,
}

/// A backend whose databases can be copied and restored; sealed like [`Backend`].
pub trait Recoverable: Backend {
    /// The ending of its copies.
    #[doc(hidden)]
    const ENDING: &'static str;

    /// Writes a verified copy to `to` and says how many rows it holds.
    #[doc(hidden)]
    fn copy(
        pool: &Pool<Self>,
        config: &BackupConfig,
        to: &Path,
        progress: &BackupProgress,
    ) -> impl Future<Output = Result<Vec<TableRows>, BackupError>> + Send
    where
        Self: Sized;

    /// Makes the database that `url` names out of a copy and compares its rows.
    #[doc(hidden)]
    fn restore(
        pool: &Pool<Self>,
        config: &BackupConfig,
        copy: &Backup,
        url: &str,
        progress: &BackupProgress,
    ) -> impl Future<Output = Result<(), BackupError>> + Send
    where
        Self: Sized;

    /// Restores a copy into a database of its own, compares, and removes it.
    #[doc(hidden)]
    fn drill(
        pool: &Pool<Self>,
        config: &BackupConfig,
        copy: &Backup,
        progress: &BackupProgress,
    ) -> impl Future<Output = Result<(), BackupError>> + Send
    where
        Self: Sized;
}

impl<B: Recoverable> Backups<B> {
    /// Checks the configuration; nothing is touched yet.
    ///
    /// # Errors
    /// [`BackupError::Config`] for a setting that cannot work.
    pub fn new(pool: &Pool<B>, config: BackupConfig) -> Result<Self, BackupError> {
        config.validate()?;
        let folder = Folder::new(&config.folder, &pool.config().name, B::ENDING);
        Ok(Self {
            pool: pool.clone(),
            config: Arc::new(config),
            folder,
        })
    }

    /// Takes a copy, verifies it, and then removes those that are no longer to be kept.
    ///
    /// The database goes on working: SQLite copies by `VACUUM INTO`, PostgreSQL by `pg_dump` from one snapshot. The
    /// copy appears under its name only when it is complete, verified and on the disk. Dropping the future ends
    /// `pg_dump` and removes what was written; SQLite's statement runs on until its end on its thread.
    ///
    /// # Errors
    /// See [`BackupError`]; copies taken before stay.
    pub async fn take(&self) -> Result<Backup, BackupError> {
        self.take_with(&BackupProgress::default()).await
    }

    /// As [`take`](Self::take), and tells how far it is.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub async fn take_with(&self, progress: &BackupProgress) -> Result<Backup, BackupError> {
        let started = Instant::now();
        let taken = self.copy(progress).await;
        let outcome = if taken.is_ok() { "ok" } else { "failed" };
        let name = self.pool.config().name.clone();
        ::metrics::counter!(TAKEN, "pool" => name, "outcome" => outcome).increment(1);
        let copy = taken?;
        tracing::info!(pool = %self.pool.config().name, took = ?started.elapsed(), copy = %copy, "backup taken");
        self.prune().await?;
        Ok(copy)
    }

    async fn copy(&self, progress: &BackupProgress) -> Result<Backup, BackupError> {
        let now = SystemTime::now();
        let partial = self.folder.partial(now, self.config.limit).await?;
        let tables = B::copy(&self.pool, &self.config, partial.path(), progress).await?;
        progress.finish_copy();
        finish(partial, tables, B::KIND.as_str(), now).await
    }

    /// The copies in the folder, the newest first; files that belong to nobody are left alone.
    ///
    /// # Errors
    /// [`BackupError::Io`] if the folder cannot be read; none when it does not exist yet.
    pub async fn list(&self) -> Result<Vec<Backup>, BackupError> {
        self.folder.list().await
    }

    /// Reads a whole copy and compares it with what was written down about it.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when a byte differs, [`BackupError::Io`] when it cannot be read.
    pub async fn verify(&self, copy: &Backup) -> Result<(), BackupError> {
        copy.verify().await
    }

    /// Makes the database that `url` names out of a copy: a SQLite file that does not exist, or a PostgreSQL database
    /// that exists and is empty.
    ///
    /// The copy is verified first, and the rows are counted. A SQLite file appears under its name only when it is
    /// whole, never over another one, and after an error or a dropped future not at all. PostgreSQL restores in one
    /// transaction, then counts; dropping the future ends `pg_restore`.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], [`BackupError::TargetInUse`], [`BackupError::RowsDiffer`] and what the database says.
    pub async fn restore(&self, copy: &Backup, url: &str) -> Result<(), BackupError> {
        self.restore_with(copy, url, &BackupProgress::default())
            .await
    }

    /// As [`restore`](Self::restore), and tells how far it is.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub async fn restore_with(
        &self,
        copy: &Backup,
        url: &str,
        progress: &BackupProgress,
    ) -> Result<(), BackupError> {
        copy.verify().await?;
        B::restore(&self.pool, &self.config, copy, url, progress).await
    }

    /// Restores a copy into a database of its own, counts its rows, and removes it again: a backup that was never
    /// restored is a hope.
    ///
    /// PostgreSQL needs the right to create databases. Dropping the future may leave the drill's database behind there;
    /// its name begins with `drill_`.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub async fn drill(&self, copy: &Backup) -> Result<(), BackupError> {
        copy.verify().await?;
        let progress = BackupProgress::default();
        B::drill(&self.pool, &self.config, copy, &progress).await
    }

    /// Removes the copies that are no longer to be kept, never the newest, and says how many.
    ///
    /// # Errors
    /// [`BackupError::Io`] if one cannot be removed.
    pub async fn prune(&self) -> Result<usize, BackupError> {
        let copies = self.folder.list().await?;
        let doomed = self.config.doomed(&copies, SystemTime::now());
        for copy in &doomed {
            copy.remove().await?;
        }
        Ok(doomed.len())
    }

    /// Takes a copy whenever the newest one is older than `every`, until the future is dropped; to be spawned.
    ///
    /// A restart does not take one more. One that fails is logged and tried again after a tenth of `every`.
    pub async fn run_every(&self, every: Duration) {
        let every = every.max(SHORTEST_PERIOD);
        let mut ticks = interval((every / 10).max(SHORTEST_PERIOD));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let result = match self.is_due(every).await {
                Ok(true) => self.take().await.map(drop),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::error!(pool = %self.pool.config().name, error = %error::Chain(&error), "no backup was taken");
            }
        }
    }

    async fn is_due(&self, every: Duration) -> Result<bool, BackupError> {
        let now = SystemTime::now();
        let copies = self.folder.list().await?;
        // Those of the future were taken before the clock was set back, nobody knows when.
        let mut ages = copies
            .iter()
            .filter_map(|copy| now.duration_since(copy.taken_at()).ok());
        Ok(ages.next().is_none_or(|age| age >= every))
    }
}

/// Writes down what is known of the copy and gives both their names.
async fn finish(
    partial: Partial,
    tables: Vec<TableRows>,
    backend: &'static str,
    taken_at: SystemTime,
) -> Result<Backup, BackupError> {
    tokio::task::spawn_blocking(move || partial.finish(tables, backend, taken_at))
        .await
        .map_err(|_| BackupError::Interrupted)?
}

impl<B: Recoverable> Clone for Backups<B> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            config: Arc::clone(&self.config),
            folder: self.folder.clone(),
        }
    }
}

impl<B: Recoverable> fmt::Debug for Backups<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backups")
            .field("pool", &self.pool.config().name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Counter: copies tried, by `outcome` (`ok`, `failed`).
const TAKEN: &str = "db_pool_backups_total";

/// Faster than this nobody can wish for, and the folder is read each time.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);
