//! A statement on one row by its key, of a table whose name is known at run time only; prepared once a connection.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Text};

/// `sql_query` would do, but diesel prepares its text anew each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByKey<'a> {
    verb: &'static str,
    table: &'a str,
    rest: &'static str,
    id: i64,
}

impl<'a> ByKey<'a> {
    pub(super) fn read(table: &'a str, id: i64) -> Self {
        Self {
            verb: "SELECT value FROM ",
            table,
            rest: " WHERE id = ",
            id,
        }
    }

    pub(super) fn update(table: &'a str, id: i64) -> Self {
        Self {
            verb: "UPDATE ",
            table,
            rest: " SET version = version + 1 WHERE id = ",
            id,
        }
    }
}

impl Query for ByKey<'_> {
    type SqlType = Text;
}

impl QueryId for ByKey<'_> {
    type QueryId = ();
    // Found among the prepared statements by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for ByKey<'_>
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.verb);
        out.push_identifier(self.table)?;
        out.push_sql(self.rest);
        out.push_bind_param::<BigInt, i64>(&self.id)
    }
}
