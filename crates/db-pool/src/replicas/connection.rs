//! A connection to the primary that remembers for whom it may have written.

use std::fmt;
use std::ops::{Deref, DerefMut};

use tokio::time::Instant;

use crate::guard::Connection;
use crate::postgres::{PgConnection, Postgres};
use crate::scope::Scope;

/// A connection of the primary; it goes back when dropped.
///
/// Use it like a [`Connection`]. The request that borrowed it, if there is a [`Scope`], counts as having written: its
/// reads go to the primary until a replica has certainly seen everything up to the return of the connection.
pub struct PrimaryConnection {
    /// `Some` until drop.
    connection: Option<Connection<Postgres>>,
    scope: Option<Scope>,
}

impl PrimaryConnection {
    pub(super) fn new(connection: Connection<Postgres>) -> Self {
        let scope = Scope::current();
        if let Some(scope) = &scope {
            scope.unplaced().lent();
        }
        Self {
            connection: Some(connection),
            scope,
        }
    }

    /// Closes the connection instead of giving it back.
    pub fn discard(mut this: Self) {
        if let Some(connection) = this.connection.take() {
            Connection::discard(connection);
        }
    }
}

impl Deref for PrimaryConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect(HELD)
    }
}

impl DerefMut for PrimaryConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect(HELD)
    }
}

impl Drop for PrimaryConnection {
    fn drop(&mut self) {
        drop(self.connection.take());
        if let Some(scope) = &self.scope {
            scope.unplaced().returned(Instant::now());
        }
    }
}

impl fmt::Debug for PrimaryConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrimaryConnection").finish_non_exhaustive()
    }
}

const HELD: &str = "only drop and discard take the connection, and both consume the guard";
