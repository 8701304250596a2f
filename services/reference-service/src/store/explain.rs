//! Tests ask SQLite here how it would run a query.

use db_pool::PoolConfig;
use diesel::{
    QueryResult,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Integer, Text},
    sqlite::Sqlite,
};
use diesel_async::RunQueryDsl;

use super::{Pools, Store};

#[derive(QueryId)]
struct Explain<Q>(Q);

impl<Q: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Explain<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("EXPLAIN QUERY PLAN ");
        self.0.walk_ast(out)
    }
}

impl<Q> Query for Explain<Q> {
    type SqlType = (Integer, Integer, Integer, Text);
}

/// The steps of the query's plan on an empty database of the newest schema.
pub(super) async fn explain<Q>(query: Q) -> String
where
    Q: QueryFragment<Sqlite> + QueryId + Send,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    let store = Store::connect(PoolConfig::embedded(path.to_str().unwrap()))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let Pools::Sqlite(pool) = &store.pools else {
        unreachable!("opened as SQLite")
    };
    let mut lane = pool.read().await.unwrap();
    let steps: Vec<(i32, i32, i32, String)> = Explain(query).load(&mut lane).await.unwrap();
    drop(lane);
    store.close().await;
    steps
        .into_iter()
        .map(|step| step.3)
        .collect::<Vec<_>>()
        .join("; ")
}
