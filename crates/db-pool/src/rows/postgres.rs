//! `INSERT INTO t (a, b) SELECT * FROM UNNEST($1, $2)`: an array per column, whatever the number of rows.

use std::future::Future;

use diesel::QueryResult;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, HasSqlType};
use diesel_async::AsyncConnectionCore;

use super::columns::{InsertColumns, for_each_length};
use super::{Conflict, InsertRows, TakesRows, push_conflict, push_head};
use crate::postgres::{PgConnection, UnknownTypes};

/// Columns that rows of type `R` fit, on PostgreSQL.
pub trait UnnestColumns<R>: InsertColumns<Table: QueryFragment<Pg>> {
    /// A vector for each column.
    type Arrays: Send;
    /// Turns rows into columns.
    fn turn(rows: impl Iterator<Item = R>, wanted: usize) -> Self::Arrays;
    /// How many rows there are.
    fn rows(arrays: &Self::Arrays) -> usize;
    /// Cuts off the rows from `at` on.
    fn split_off(arrays: &mut Self::Arrays, at: usize) -> Self::Arrays;
    /// `$1, $2`.
    fn push<'b>(arrays: &'b Self::Arrays, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

struct Unnest<C: UnnestColumns<R>, R> {
    table: C::Table,
    arrays: C::Arrays,
    conflict: Conflict,
}

impl<C: UnnestColumns<R>, R> Unnest<C, R> {
    fn new(arrays: C::Arrays, conflict: Conflict) -> Self {
        Self {
            table: C::table(),
            arrays,
            conflict,
        }
    }

    /// Whether its values are more than one statement should have.
    fn is_too_large(&self) -> QueryResult<bool> {
        let mut binds = RawBytesBindCollector::<Pg>::new();
        self.collect_binds(&mut binds, &mut UnknownTypes::default(), &Pg)?;
        let bytes: usize = binds.binds.iter().flatten().map(Vec::len).sum();
        Ok(bytes > CHUNK_BYTES)
    }
}

/// Cached by its text, which holds what the type does not tell: the conflict.
impl<C: UnnestColumns<R>, R> QueryId for Unnest<C, R> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C: UnnestColumns<R>, R> QueryFragment<Pg> for Unnest<C, R> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        push_head(&mut out, &self.table, C::NAMES)?;
        out.push_sql(" SELECT * FROM UNNEST(");
        C::push(&self.arrays, out.reborrow())?;
        out.push_sql(")");
        push_conflict(&mut out, C::NAMES, self.conflict)
    }
}

impl<C, R> TakesRows<C, R> for PgConnection
where
    C: UnnestColumns<R>,
    R: Send,
{
    fn take_rows(
        &mut self,
        rows: InsertRows<C, R>,
    ) -> impl Future<Output = QueryResult<usize>> + Send {
        let InsertRows {
            rows,
            chunk,
            conflict,
            ..
        } = rows;
        let mut rows = rows.into_iter();
        async move {
            let mut inserted = 0;
            // Halves of what was too large, the next one last.
            let mut chunks = Vec::new();
            loop {
                let wanted = chunk.min(rows.len());
                let arrays = match chunks.pop() {
                    Some(arrays) => arrays,
                    None if wanted > 0 => C::turn(rows.by_ref(), wanted),
                    None => return Ok(inserted),
                };
                let running = {
                    let mut statement = Unnest::<C, R>::new(arrays, conflict);
                    let count = C::rows(&statement.arrays);
                    if count > 1 && statement.is_too_large()? {
                        chunks.push(C::split_off(&mut statement.arrays, count / 2));
                        chunks.push(statement.arrays);
                        continue;
                    }
                    AsyncConnectionCore::execute_returning_count(self, statement)
                };
                inserted += running.await?;
            }
        }
    }
}

macro_rules! unnest {
    ([$first:ident $first_value:ident $first_at:tt] $([$column:ident $value:ident $at:tt])*) => {
        #[expect(non_camel_case_types, reason = "the macro's names of the values' types")]
        impl<$first, $first_value, $($column, $value,)*> UnnestColumns<($first_value, $($value,)*)>
            for ($first, $($column,)*)
        where
            Self: InsertColumns<Table: QueryFragment<Pg>>,
            $first: Expression<SqlType: 'static>,
            Pg: HasSqlType<Array<$first::SqlType>>,
            Vec<$first_value>: ToSql<Array<$first::SqlType>, Pg>,
            $first_value: Send,
            $(
                $column: Expression<SqlType: 'static>,
                Pg: HasSqlType<Array<$column::SqlType>>,
                Vec<$value>: ToSql<Array<$column::SqlType>, Pg>,
                $value: Send,
            )*
        {
            type Arrays = (Vec<$first_value>, $(Vec<$value>,)*);

            fn turn(
                rows: impl Iterator<Item = ($first_value, $($value,)*)>,
                wanted: usize,
            ) -> Self::Arrays {
                let mut arrays: Self::Arrays = (
                    Vec::<$first_value>::with_capacity(wanted),
                    $(Vec::<$value>::with_capacity(wanted),)*
                );
                for row in rows.take(wanted) {
                    arrays.$first_at.push(row.$first_at);
                    $(arrays.$at.push(row.$at);)*
                }
                arrays
            }

            fn rows(arrays: &Self::Arrays) -> usize {
                arrays.0.len()
            }

            fn split_off(arrays: &mut Self::Arrays, at: usize) -> Self::Arrays {
                (arrays.$first_at.split_off(at), $(arrays.$at.split_off(at),)*)
            }

            fn push<'b>(
                arrays: &'b Self::Arrays,
                mut out: AstPass<'_, 'b, Pg>,
            ) -> QueryResult<()> {
                out.push_bind_param::<Array<$first::SqlType>, _>(&arrays.$first_at)?;
                $(
                    out.push_sql(", ");
                    out.push_bind_param::<Array<$column::SqlType>, _>(&arrays.$at)?;
                )*
                Ok(())
            }
        }
    };
}

for_each_length!(unnest);

/// So much the server and this process can hold several times over.
const CHUNK_BYTES: usize = 8 << 20;
