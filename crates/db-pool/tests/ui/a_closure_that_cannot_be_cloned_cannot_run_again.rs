//! A closure that owns what there is only one of cannot run again where others were in the way.

use db_pool::{Pool, Sqlite, TransactionOptions};

struct Ticket;

async fn spend(pool: Pool<Sqlite>, ticket: Ticket) -> Result<(), diesel::result::Error> {
    pool.transaction(TransactionOptions::default(), async move |_tx| {
        drop(ticket);
        Ok::<_, diesel::result::Error>(())
    })
    .await
}

fn main() {
    drop(spend);
}
