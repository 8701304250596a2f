//! The ceiling: one axum handler that answers a constant, without a database.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    peers::serve(axum::Router::new()).await
}
