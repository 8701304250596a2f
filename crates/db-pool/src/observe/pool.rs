//! What a pool tells of the statements and the borrowers that it has seen.

use super::{CallSite, StatementStats};
use crate::backend::Backend;
use crate::pool::Pool;

impl<B: Backend> Pool<B> {
    /// What each statement has cost since the pool opened, whatever its values; those that took most time first.
    ///
    /// Up to 512 are kept; beyond that, those that took least time are dropped. Statements inside of
    /// [`SqliteConnection::with_sync`](crate::SqliteConnection::with_sync) are not seen.
    pub fn statements(&self) -> Vec<StatementStats> {
        self.shared().observed.statements.snapshot()
    }

    /// How long connections were held by each place that borrows them, and how much of that time they worked; those
    /// that held them longest first.
    pub fn call_sites(&self) -> Vec<CallSite> {
        self.shared().observed.sites.snapshot()
    }
}
