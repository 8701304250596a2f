//! The macros that make one spelling of a query serve both databases.
//!
//! They repeat the body once per database, with `conn` of that database's type. Generic functions
//! would need a page of trait bounds per query and answer a typing error with all of them.

/// Runs single read statements on a lane: `read!(self, |conn| query.load(conn).await?)`.
///
/// The enclosing function must be able to turn an `AcquireError` into its error by `?`.
macro_rules! read {
    ($store:expr, |$conn:ident| $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite(pool) => {
                let $conn = &mut pool.read().await?;
                $body
            }
            $crate::store::Pools::Postgres(pool) => {
                let $conn = &mut pool.read().await?;
                $body
            }
        }
    };
}

/// Runs statements on a connection that may write; on SQLite it is the only one, so nobody else
/// writes meanwhile.
///
/// The enclosing function must be able to turn an `AcquireError` into its error by `?`.
macro_rules! write_on {
    ($store:expr, |$conn:ident| $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite(pool) => {
                let $conn = &mut pool.acquire().await?;
                $body
            }
            $crate::store::Pools::Postgres(pool) => {
                let $conn = &mut pool.acquire().await?;
                $body
            }
        }
    };
}

/// Runs statements in one transaction, rolled back unless the body ends with `Ok`:
/// `transaction!(self, |conn| { ...; Ok(()) })`. The body's error type is the enclosing function's.
macro_rules! transaction {
    ($store:expr, |$conn:ident| $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite(pool) => {
                pool.transaction(TransactionOptions::default(), async move |$conn| $body)
                    .await
            }
            $crate::store::Pools::Postgres(pool) => {
                pool.transaction(TransactionOptions::default(), async move |$conn| $body)
                    .await
            }
        }
    };
}
