//! The insertion of many records by one statement, for both databases.
//!
//! diesel's own batch insert is written for one database at a time; on SQLite it needs a blocking
//! connection. The statement itself is the same everywhere.

use diesel::{
    backend::{Backend, DieselReserveSpecialization},
    query_builder::{AstPass, QueryFragment, QueryId},
    result::QueryResult,
    serialize::ToSql,
    sql_types::{BigInt, SmallInt, Text},
};

use super::{
    records::RecordRow,
    types::{Id, Moment, sql},
};

/// How many rows one statement carries.
///
/// Eight parameters each: far below the 32,766 that SQLite and the 65,535 that PostgreSQL allow, and
/// larger batches are no faster.
pub(super) const ROWS_PER_STATEMENT: usize = 500;

/// `INSERT INTO records ... VALUES (...), (...)`; must not be empty.
#[derive(Debug)]
pub(super) struct InsertRecords<'a>(pub(super) &'a [RecordRow]);

impl<DB> QueryFragment<DB> for InsertRecords<'_>
where
    DB: Backend
        + DieselReserveSpecialization
        + diesel::sql_types::HasSqlType<sql::Id>
        + diesel::sql_types::HasSqlType<sql::Moment>,
    Id: ToSql<sql::Id, DB>,
    Moment: ToSql<sql::Moment, DB>,
    String: ToSql<Text, DB>,
    i16: ToSql<SmallInt, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        // Its text depends on the number of rows; keeping each prepared would fill the server.
        out.unsafe_to_cache_prepared();
        out.push_sql(
            "INSERT INTO records \
             (id, title, text, tags, importance, created_at, updated_at, version) VALUES ",
        );
        for (index, row) in self.0.iter().enumerate() {
            out.push_sql(if index == 0 { "(" } else { ", (" });
            out.push_bind_param::<sql::Id, _>(&row.id)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&row.title)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&row.text)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&row.tags)?;
            out.push_sql(", ");
            out.push_bind_param::<SmallInt, _>(&row.importance)?;
            out.push_sql(", ");
            out.push_bind_param::<sql::Moment, _>(&row.created_at)?;
            out.push_sql(", ");
            out.push_bind_param::<sql::Moment, _>(&row.updated_at)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&row.version)?;
            out.push_sql(")");
        }
        Ok(())
    }
}

impl QueryId for InsertRecords<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
