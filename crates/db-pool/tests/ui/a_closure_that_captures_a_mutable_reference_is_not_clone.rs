//! A closure that counts in a variable of its own function cannot be run again.

use db_pool::{Pool, Sqlite, TransactionOptions};

async fn count(pool: Pool<Sqlite>) -> Result<(), diesel::result::Error> {
    let mut runs = 0;
    let counted = &mut runs;
    pool.transaction(TransactionOptions::default(), async move |_tx| {
        *counted += 1;
        Ok::<_, diesel::result::Error>(())
    })
    .await
}

fn main() {
    drop(count);
}
