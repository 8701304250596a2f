//! Inserting many rows at once: by `UNNEST` with one cached statement on PostgreSQL, in one hop to the connection's
//! thread on SQLite.

mod columns;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::backend::Backend as DieselBackend;
use diesel::query_builder::{AstPass, QueryFragment};

pub use self::columns::InsertColumns;
#[cfg(feature = "postgres")]
pub use self::postgres::UnnestColumns;
#[cfg(feature = "sqlite")]
pub use self::sqlite::RowColumns;
use crate::backend::Backend;
use crate::guard::Connection;
use crate::transaction::Transaction;

/// An insert of many rows into `columns`; a row is a tuple with a value for each.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # mod example {
/// use db_pool::{Connection, Postgres, insert_rows};
///
/// diesel::table! {
///     users (id) {
///         id -> Integer,
///         name -> Text,
///         age -> Nullable<Integer>,
///     }
/// }
///
/// async fn add(conn: &mut Connection<Postgres>) -> diesel::QueryResult<usize> {
///     let rows = vec![("Ada", Some(36)), ("Alan", None)];
///     insert_rows((users::name, users::age), rows).execute(conn).await
/// }
/// # }
/// ```
///
/// Columns that may be NULL take an `Option`. All columns are of one table; up to sixteen of them.
///
/// On PostgreSQL each chunk is one statement whose text does not depend on the number of rows, so it is planned once
/// per connection; columns that are arrays themselves cannot be inserted so. On SQLite all rows go to the connection's
/// thread together, and are inserted all or none.
pub fn insert_rows<C, R>(columns: C, rows: impl IntoIterator<Item = R>) -> InsertRows<C, R>
where
    C: InsertColumns,
{
    // The columns are types; their values say no more.
    drop(columns);
    InsertRows {
        columns: PhantomData,
        rows: rows.into_iter().collect(),
        chunk: CHUNK,
        conflict: Conflict::Fails,
    }
}

/// Many rows to be inserted; made by [`insert_rows`].
#[must_use = "nothing is inserted before `execute`"]
pub struct InsertRows<C, R> {
    columns: PhantomData<fn() -> C>,
    rows: Vec<R>,
    chunk: usize,
    conflict: Conflict,
}

/// What a row does that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conflict {
    Fails,
    IsLeftOut,
    /// On a conflict in this column all others are updated.
    Updates(&'static str),
}

impl<C, R> InsertRows<C, R> {
    /// Rows that break a unique constraint are left out: `ON CONFLICT DO NOTHING`.
    pub fn on_conflict_do_nothing(mut self) -> Self {
        self.conflict = Conflict::IsLeftOut;
        self
    }

    /// Rows whose `key` is there already update it: `ON CONFLICT (key) DO UPDATE`, all other columns of the insert.
    ///
    /// On PostgreSQL two rows of a chunk with the same key are an error.
    pub fn on_conflict_update<K: diesel::Column>(mut self, key: K) -> Self {
        drop(key);
        self.conflict = Conflict::Updates(K::NAME);
        self
    }

    /// The most rows per statement on PostgreSQL. Default 10,000; 0 counts as 1. Fewer where they are large: a statement
    /// has at most 8 MiB of values, unless a single row is larger.
    ///
    /// Cost: the values of a chunk are in memory more than once, here and on the server.
    pub fn chunk(mut self, rows: usize) -> Self {
        self.chunk = rows.max(1);
        self
    }

    /// Inserts the rows and returns how many were inserted or updated. Without rows nothing is sent.
    ///
    /// On PostgreSQL more than one chunk is more than one statement: run it in a transaction where all or none shall be
    /// there. Dropping the future leaves it open whether the current chunk was inserted, as with any statement; the
    /// following ones are not. On SQLite the rows are inserted by then, all or none, if their turn has come.
    ///
    /// # Errors
    /// What the database says; on PostgreSQL the chunks before the failed one are inserted, outside of a transaction.
    pub fn execute<'conn, T>(
        self,
        connection: &'conn mut T,
    ) -> impl Future<Output = QueryResult<usize>> + Send + 'conn
    where
        T: TakesRows<C, R>,
        C: 'conn,
        R: 'conn,
    {
        connection.take_rows(self)
    }
}

/// A connection that rows of this kind can be inserted through.
#[diagnostic::on_unimplemented(
    message = "rows of `{R}` cannot be inserted into the columns `{C}` through `{Self}`",
    note = "columns and rows are tuples of the same length, up to sixteen, whose values fit the columns' SQL types; \
            columns that may be NULL take an `Option`"
)]
pub trait TakesRows<C, R> {
    /// Inserts the rows and returns how many were inserted or updated.
    fn take_rows(
        &mut self,
        rows: InsertRows<C, R>,
    ) -> impl Future<Output = QueryResult<usize>> + Send;
}

impl<B: Backend, C, R> TakesRows<C, R> for Connection<B>
where
    B::Connection: TakesRows<C, R>,
{
    fn take_rows(
        &mut self,
        rows: InsertRows<C, R>,
    ) -> impl Future<Output = QueryResult<usize>> + Send {
        (**self).take_rows(rows)
    }
}

impl<B: Backend, C, R> TakesRows<C, R> for Transaction<B>
where
    B::Connection: TakesRows<C, R>,
{
    fn take_rows(
        &mut self,
        rows: InsertRows<C, R>,
    ) -> impl Future<Output = QueryResult<usize>> + Send {
        (**self).take_rows(rows)
    }
}

impl<C, R> fmt::Debug for InsertRows<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertRows")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// `INSERT INTO "t" ("a", "b")`.
fn push_head<'b, DB: DieselBackend>(
    out: &mut AstPass<'_, 'b, DB>,
    table: &'b impl QueryFragment<DB>,
    names: &[&'static str],
) -> QueryResult<()> {
    out.push_sql("INSERT INTO ");
    table.walk_ast(out.reborrow())?;
    for (at, name) in names.iter().enumerate() {
        out.push_sql(if at == 0 { " (" } else { ", " });
        out.push_identifier(name)?;
    }
    out.push_sql(")");
    Ok(())
}

fn push_conflict<DB: DieselBackend>(
    out: &mut AstPass<'_, '_, DB>,
    names: &[&'static str],
    conflict: Conflict,
) -> QueryResult<()> {
    let key = match conflict {
        Conflict::Fails => return Ok(()),
        Conflict::IsLeftOut => {
            out.push_sql(" ON CONFLICT DO NOTHING");
            return Ok(());
        }
        Conflict::Updates(key) => key,
    };
    out.push_sql(" ON CONFLICT (");
    out.push_identifier(key)?;
    out.push_sql(")");
    let others = names.iter().filter(|name| **name != key);
    for (at, name) in others.clone().enumerate() {
        out.push_sql(if at == 0 { " DO UPDATE SET " } else { ", " });
        out.push_identifier(name)?;
        out.push_sql(" = excluded.");
        out.push_identifier(name)?;
    }
    if others.count() == 0 {
        out.push_sql(" DO NOTHING");
    }
    Ok(())
}

const CHUNK: usize = 10_000;
