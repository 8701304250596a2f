//! The macros that make one spelling of a query serve both databases.
//!
//! They repeat the body once per database, with `conn` of that database's type. Generic functions
//! would need a page of trait bounds per query and answer a typing error with all of them.

/// Runs single read statements on a lane: `read!(self, |conn| query.load(conn).await?)`.
///
/// The enclosing function must be able to turn an `AcquireError` into its error by `?`.
macro_rules! read {
    ($store:expr, |$conn:ident| $body:expr) => {
        borrowed!($store, read, read, $conn, $body)
    };
}

/// The same, but never from a replica that may be behind: for what is kept longer than a request lives, such
/// as an entry of a cache.
macro_rules! read_newest {
    ($store:expr, |$conn:ident| $body:expr) => {
        borrowed!($store, read, acquire, $conn, $body)
    };
}

/// Runs statements on a connection that may write; on SQLite it is the only one, so nobody else
/// writes meanwhile.
///
/// The enclosing function must be able to turn an `AcquireError` into its error by `?`.
macro_rules! write_on {
    ($store:expr, |$conn:ident| $body:expr) => {
        borrowed!($store, acquire, acquire, $conn, $body)
    };
}

/// Runs `$body` with what `$single` borrows from the one pool there is, or `$replicated` from several servers.
macro_rules! borrowed {
    ($store:expr, $single:ident, $replicated:ident, $conn:ident, $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite(pool) => {
                let $conn = &mut pool.$single().await?;
                $body
            }
            $crate::store::Pools::Postgres(pool) => {
                let $conn = &mut pool.$single().await?;
                $body
            }
            $crate::store::Pools::Replicated(servers) => {
                let $conn = &mut servers.$replicated().await?;
                $body
            }
        }
    };
}

/// Runs statements in one transaction, rolled back unless the body ends with `Ok`:
/// `transaction!(self, |conn| { ...; Ok(()) })`. The body's error type is the enclosing function's.
///
/// It runs again where others were in the way, so what it captures must be `Clone`; with
/// `transaction!(self, once, |conn| ...)` it does not.
macro_rules! transaction {
    ($store:expr, |$conn:ident| $body:expr) => {
        transaction!(@run $store, transaction, $conn, $body)
    };
    ($store:expr, once, |$conn:ident| $body:expr) => {
        transaction!(@run $store, transaction_once, $conn, $body)
    };
    (@run $store:expr, $method:ident, $conn:ident, $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite(pool) => {
                pool.$method(TransactionOptions::default(), async move |$conn| $body)
                    .await
            }
            $crate::store::Pools::Postgres(pool) => {
                pool.$method(TransactionOptions::default(), async move |$conn| $body)
                    .await
            }
            $crate::store::Pools::Replicated(servers) => {
                let pool = $crate::store::primary(servers)?;
                pool.$method(TransactionOptions::default(), async move |$conn| $body)
                    .await
            }
        }
    };
}

/// One attempt after another to change a row on the condition that nobody else did meanwhile; returns
/// from the enclosing function: `update_row!(self, tasks, TaskRow, Task, id, expected_version, change)`.
macro_rules! update_row {
    ($store:expr, $table:ident, $row:ty, $value:ty, $id:expr, $expected:expr, $change:expr) => {
        for lost in 0..$crate::store::update::ATTEMPTS {
            if lost > 0 {
                $crate::store::update::give_way(lost).await;
            }
            write_on!($store, |conn| {
                let query = $table::table.find(Id($id)).select(<$row>::as_select());
                let row: Option<$row> = query.first(conn).await.optional()?;
                let before = <$value>::try_from(row.ok_or(UpdateError::NotFound)?)?;
                let after = $crate::store::update::successor(&before, $expected, &mut $change)?;
                let Some(after) = after else {
                    return Ok(before);
                };
                let row = <$row>::from(&after);
                let unchanged = $table::table
                    .find(row.id)
                    .filter($table::version.eq(before.version));
                if diesel::update(unchanged).set(&row).execute(conn).await? == 1 {
                    return Ok(after);
                }
            });
        }
        return Err(UpdateError::Contended)
    };
}

/// The same for deleting a row: `delete_row!(self, tasks, id, expected_version)`.
macro_rules! delete_row {
    ($store:expr, $table:ident, $id:expr, $expected:expr) => {
        for lost in 0..$crate::store::update::ATTEMPTS {
            if lost > 0 {
                $crate::store::update::give_way(lost).await;
            }
            write_on!($store, |conn| {
                let query = $table::table.find(Id($id)).select($table::version);
                let current: Option<i64> = query.first(conn).await.optional()?;
                let current = current.ok_or(UpdateError::NotFound)?;
                if $expected.is_some_and(|expected| expected != current) {
                    return Err(UpdateError::VersionMismatch { current });
                }
                let unchanged = $table::table
                    .find(Id($id))
                    .filter($table::version.eq(current));
                if diesel::delete(unchanged).execute(conn).await? == 1 {
                    return Ok(());
                }
            });
        }
        return Err(UpdateError::Contended)
    };
}
