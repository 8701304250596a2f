//! The cache epoch: a number in the database that tells caches whether they may still be believed.
//!
//! A new database begins at a random number of 60 bits, and every bump adds one. So two databases
//! that share a cache folder or a Redis, at once or one after the other, never believe each other's
//! records, and 2^63 is never reached.

use std::ops::Add;

use diesel::{
    dsl::{Eq, Update},
    prelude::*,
};
use diesel_async::RunQueryDsl;

use super::{Store, error::StoreError, schema::cache_epoch};

impl Store {
    /// The epoch under which caches are to be filled and read; read once at start.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn cache_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = read_newest!(self, |conn| {
            cache_epoch::table
                .select(cache_epoch::epoch)
                .first(conn)
                .await?
        });
        Ok(epoch.unsigned_abs())
    }

    /// Raises the epoch and returns the new one: everything cached before is never believed again.
    ///
    /// For writers that bypass the running service, such as an import. Call it after their data is
    /// stored and before the service starts again.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn bump_cache_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = write_on!(self, |conn| {
            bump()
                .returning(cache_epoch::epoch)
                .get_result(conn)
                .await?
        });
        Ok(epoch.unsigned_abs())
    }
}

type Next = <cache_epoch::epoch as Add<i64>>::Output;

/// The statement that raises the epoch, also for use inside a transaction.
pub(super) fn bump() -> Update<cache_epoch::table, Eq<cache_epoch::epoch, Next>> {
    diesel::update(cache_epoch::table).set(cache_epoch::epoch.eq(cache_epoch::epoch + 1))
}
