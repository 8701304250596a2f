//! The pools of PostgreSQL connections that are compared, all with the same number of connections.

use db_pool::{Pool, PoolConfig, Postgres};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use std::time::Duration;

pub(crate) const CONNECTIONS: u32 = 8;

diesel::table! {
    items (id) {
        id -> Integer,
        name -> Text,
    }
}

pub(crate) type Bb8 = bb8::Pool<AsyncDieselConnectionManager<AsyncPgConnection>>;

/// `change` may set what the bench is about.
pub(crate) async fn ours(url: &str, change: impl FnOnce(&mut PoolConfig)) -> Pool<Postgres> {
    let mut config = PoolConfig::web(url);
    config.max_size = CONNECTIONS;
    // Many tasks may wait here, and that is the point.
    config.max_waiting = 10_000;
    config.acquire_timeout = Duration::from_secs(30);
    change(&mut config);
    Pool::connect(config).await.expect("a server")
}

pub(crate) async fn bb8(url: &str, size: u32, tested: bool) -> Bb8 {
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
    bb8::Pool::builder()
        .max_size(size)
        .test_on_check_out(tested)
        .build(manager)
        .await
        .expect("a server")
}

pub(crate) fn deadpool(url: &str) -> deadpool_postgres::Pool {
    let config = url.parse().expect("a URL");
    let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
    deadpool_postgres::Pool::builder(manager)
        .max_size(CONNECTIONS as usize)
        .build()
        .expect("a runtime")
}

pub(crate) async fn sqlx(url: &str, tested: bool) -> sqlx::PgPool {
    sqlx::postgres::PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(tested)
        .connect(url)
        .await
        .expect("a server")
}
