//! Invalidations beside a database transaction: prepared before it commits, in force when it has.
//!
//! Run it with `cargo run -p tiered-cache --example 06_transactions`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tiered_cache::{BoxError, Caches, Invalidation, Lookup, Policy, TieredCache};

/// Stands for a database.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<HashMap<u32, u64>>>);

/// How a commit can end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Commit {
    Done,
    /// A conflict: nothing was written.
    RolledBack,
    /// The connection broke before the answer came: nobody knows. Here it had been written.
    Unknown,
}

impl Database {
    fn rows(&self) -> MutexGuard<'_, HashMap<u32, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the balances in one transaction, which ends as told.
    async fn commit(&self, changes: &[(u32, u64)], end: Commit) -> Commit {
        if end != Commit::RolledBack {
            self.rows().extend(changes.iter().copied());
        }
        end
    }
}

struct Bank {
    caches: Caches,
    database: Database,
    balances: TieredCache<u32, u64>,
}

impl Bank {
    async fn balance(&self, account: u32) -> Result<Lookup<u64>, BoxError> {
        let database = self.database.clone();
        let load =
            move || async move { Ok::<_, Infallible>(database.rows().get(&account).copied()) };
        Ok(self.balances.get_or_load(&account, load).await?)
    }

    /// Writes two balances, and sees to it that nobody is shown an old one afterwards.
    async fn transfer(&self, changes: [(u32, u64); 2], end: Commit) -> Result<(), BoxError> {
        let mut batch = self.caches.invalidations().begin();
        for (account, _) in &changes {
            batch.push(Invalidation::key(&self.balances, account).remove());
        }
        // On record, in the log of the replicas and in the disk folder as far as there are such: a crash
        // after the commit costs nobody an old value for longer than `intent_timeout` and a little.
        batch.prepare().await?;
        match self.database.commit(&changes, end).await {
            Commit::Done => batch.commit().await,
            Commit::RolledBack => batch.rollback().await,
            // Invalidating what did not change costs a load; the other mistake shows old balances.
            Commit::Unknown => drop(batch),
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let caches = Caches::builder().namespace("bank").build().await?;
    let bank = Bank {
        database: Database::default(),
        balances: caches.cache("balances", Policy::default())?,
        caches,
    };
    bank.database.rows().extend([(1, 500), (2, 500)]);
    for account in [1, 2] {
        bank.balance(account).await?;
    }

    let ends = [Commit::Done, Commit::RolledBack, Commit::Unknown];
    println!(
        "{:<12}{:<28}{:<28}in the database",
        "", "account 1", "account 2"
    );
    for (round, end) in (1..).zip(ends) {
        let changes = [(1, 500 - round * 100), (2, 500 + round * 100)];
        bank.transfer(changes, end).await?;
        let found = [bank.balance(1).await?, bank.balance(2).await?];
        let rows = [1, 2].map(|account| bank.database.rows()[&account]);
        let [one, two] = found.each_ref().map(shown);
        println!("{:<12}{one:<28}{two:<28}{rows:?}", format!("{end:?}"));

        let seen = found
            .each_ref()
            .map(|found| found.value().map(|value| **value));
        assert_eq!(seen, rows.map(Some), "nobody sees an old balance");
        // A transaction that did not happen costs nothing; the others cost a load for each key.
        let loaded = found
            .iter()
            .all(|found| matches!(found, Lookup::Loaded { .. }));
        assert_eq!(loaded, end != Commit::RolledBack);
    }

    println!("\n{}", bank.balances.stats());
    bank.caches.close().await;
    Ok(())
}

fn shown(found: &Lookup<u64>) -> String {
    match found {
        Lookup::Hit { value, tier } => format!("{value} from {tier}"),
        Lookup::Loaded { value } => format!("{value} loaded anew"),
        other => format!("{other:?}"),
    }
}
