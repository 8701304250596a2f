//! Uses `db-pool` from a project of its own, as a stranger would.

use db_pool::{BackendKind, Pool, PoolConfig, Postgres, Sqlite};

async fn connect() -> Result<usize, Box<dyn std::error::Error>> {
    let embedded = Pool::<Sqlite>::connect(PoolConfig::embedded("app.db")).await?;
    let server = Pool::<Postgres>::connect(PoolConfig::web("postgres://localhost/app")).await?;
    drop(embedded.acquire().await?);
    Ok(format!("{}{}", embedded.status(), server.status()).len())
}

fn main() {
    assert!(matches!(BackendKind::from_url("sqlite:app.db"), Ok(BackendKind::Sqlite)));
    drop(connect());
}
