//! A statement together with its text, so that the text is not made a second time.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use std::sync::Arc;

/// The query `Q`, whose text is known.
pub(crate) struct Worded<Q> {
    query: Q,
    sql: Arc<str>,
}

impl<Q> Worded<Q> {
    pub(crate) fn new(query: Q, sql: Arc<str>) -> Self {
        Self { query, sql }
    }
}

impl<Q: Query> Query for Worded<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryId> QueryId for Worded<Q> {
    type QueryId = Q::QueryId;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID;
}

impl<DB: Backend, Q: QueryFragment<DB>> QueryFragment<DB> for Worded<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn to_sql(&self, out: &mut DB::QueryBuilder, _: &DB) -> QueryResult<()> {
        out.push_sql(&self.sql);
        Ok(())
    }
}
