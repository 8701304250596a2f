//! `INSERT INTO t (a, b) VALUES (?, ?)`, once for each row, all of them in one hop to the connection's thread.

use std::future::Future;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::connection::{Connection, SimpleConnection};
use diesel::expression::Expression;
use diesel::query_builder::{
    AstPass, CollectedQuery, MoveableBindCollector, QueryBuilder, QueryFragment, QueryId,
};
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;
use diesel::sqlite::{Sqlite, SqliteQueryBuilder};

use super::columns::{InsertColumns, for_each_length};
use super::{Conflict, InsertRows, TakesRows, push_conflict, push_head};
use crate::sqlite::SqliteConnection;

/// Columns that rows of type `R` fit, on SQLite.
pub trait RowColumns<R>: InsertColumns<Table: QueryFragment<Sqlite>> {
    /// `?, ?`.
    fn push<'b>(row: &'b R, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()>;
}

struct OneRow<C: RowColumns<R>, R> {
    table: C::Table,
    row: R,
    conflict: Conflict,
}

impl<C: RowColumns<R>, R> OneRow<C, R> {
    fn text(&self) -> QueryResult<String> {
        let mut text = SqliteQueryBuilder::default();
        self.to_sql(&mut text, &Sqlite)?;
        Ok(text.finish())
    }

    /// The values, without what they borrow.
    fn values(&self) -> QueryResult<Values> {
        let mut binds = Binds::default();
        self.collect_binds(&mut binds, &mut (), &Sqlite)?;
        Ok(binds.moveable())
    }
}

type Binds<'a> = <Sqlite as Backend>::BindCollector<'a>;
type Values = <Binds<'static> as MoveableBindCollector<Sqlite>>::BindData;

impl<C: RowColumns<R>, R> QueryId for OneRow<C, R> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C: RowColumns<R>, R> QueryFragment<Sqlite> for OneRow<C, R> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        push_head(&mut out, &self.table, C::NAMES)?;
        out.push_sql(" VALUES (");
        C::push(&self.row, out.reborrow())?;
        out.push_sql(")");
        push_conflict(&mut out, C::NAMES, self.conflict)
    }
}

impl<C, R> TakesRows<C, R> for SqliteConnection
where
    C: RowColumns<R>,
    R: Send,
{
    fn take_rows(
        &mut self,
        rows: InsertRows<C, R>,
    ) -> impl Future<Output = QueryResult<usize>> + Send {
        // What is sent to the thread may not borrow, and the rows may.
        let sent = send(self, rows);
        async move {
            match sent? {
                Some(inserted) => inserted.await,
                None => Ok(0),
            }
        }
    }
}

type Inserted = futures_core::future::BoxFuture<'static, QueryResult<usize>>;

/// `None` without rows. All rows are one statement to whoever watches the connection: the first of them.
fn send<C, R>(
    connection: &SqliteConnection,
    rows: InsertRows<C, R>,
) -> QueryResult<Option<Inserted>>
where
    C: RowColumns<R>,
{
    let conflict = rows.conflict;
    let mut rows = rows.rows.into_iter().map(|row| OneRow::<C, R> {
        table: C::table(),
        row,
        conflict,
    });
    let Some(first) = rows.next() else {
        return Ok(None);
    };
    let text = first.text()?;
    let others = rows
        .map(|row| row.values())
        .collect::<QueryResult<Vec<Values>>>()?;
    let inserted = connection.run(&first, move |connection, first| {
        if others.is_empty() {
            return connection.execute_returning_count(&first);
        }
        connection.batch_execute("SAVEPOINT db_pool_rows")?;
        let others = others
            .into_iter()
            .map(|values| CollectedQuery::new(text.clone(), true, values));
        let inserted = std::iter::once(first)
            .chain(others)
            .map(|row| connection.execute_returning_count(&row))
            .sum::<QueryResult<usize>>()
            .and_then(|inserted| {
                connection.batch_execute("RELEASE db_pool_rows")?;
                Ok(inserted)
            });
        if inserted.is_err() {
            // Fails where SQLite has rolled back everything by itself.
            drop(connection.batch_execute("ROLLBACK TO db_pool_rows; RELEASE db_pool_rows"));
        }
        inserted
    });
    Ok(Some(inserted))
}

macro_rules! row {
    ([$first:ident $first_value:ident $first_at:tt] $([$column:ident $value:ident $at:tt])*) => {
        #[expect(non_camel_case_types, reason = "the macro's names of the values' types")]
        impl<$first, $first_value, $($column, $value,)*> RowColumns<($first_value, $($value,)*)>
            for ($first, $($column,)*)
        where
            Self: InsertColumns<Table: QueryFragment<Sqlite>>,
            $first: Expression,
            Sqlite: HasSqlType<$first::SqlType>,
            $first_value: ToSql<$first::SqlType, Sqlite>,
            $(
                $column: Expression,
                Sqlite: HasSqlType<$column::SqlType>,
                $value: ToSql<$column::SqlType, Sqlite>,
            )*
        {
            fn push<'b>(
                row: &'b ($first_value, $($value,)*),
                mut out: AstPass<'_, 'b, Sqlite>,
            ) -> QueryResult<()> {
                out.push_bind_param::<$first::SqlType, _>(&row.$first_at)?;
                $(
                    out.push_sql(", ");
                    out.push_bind_param::<$column::SqlType, _>(&row.$at)?;
                )*
                Ok(())
            }
        }
    };
}

for_each_length!(row);
