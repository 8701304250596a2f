//! A hit of the query cache: the key is made of the query's text and values each time.

use diesel::QueryDsl as _;
use harness::Suite;

use crate::sqlite::{self, items};

pub(crate) fn add(suite: &mut Suite) {
    suite
        .bench("query-cache-hit")
        .about("rows by primary key out of the query cache; the peer reads them from SQLite")
        .ours_async("Pool::cached", async || {
            let pool = sqlite::ours(4).await;
            async move || {
                let query = items::table.find(7).select(items::name);
                let rows = pool.cached(query).load::<String>().await;
                rows.expect("a row")
            }
        })
        .peer_async("uncached", async || {
            let pool = sqlite::ours(4).await;
            async move || {
                use diesel_async::RunQueryDsl as _;
                let mut lane = pool.read().await.expect("a connection in time");
                let query = items::table.find(7).select(items::name);
                query.load::<String>(&mut lane).await.expect("a row")
            }
        });
}
