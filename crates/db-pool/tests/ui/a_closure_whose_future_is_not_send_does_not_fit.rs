//! A closure that holds an `Rc` across an await cannot move between threads.

use std::rc::Rc;

use db_pool::{Pool, Sqlite, TransactionOptions};

async fn share(pool: Pool<Sqlite>) -> Result<(), diesel::result::Error> {
    pool.transaction(TransactionOptions::default(), async |_tx| {
        let shared = Rc::new(1);
        std::future::ready(()).await;
        drop(shared);
        Ok::<_, diesel::result::Error>(())
    })
    .await
}

fn main() {
    drop(share);
}
