//! Hooks of transactions: prepared before COMMIT, told of the outcome exactly once and before the caller.

use std::sync::{Arc, Mutex};

use db_pool::{Outcome, Pool, Sqlite, TransactionError, TransactionHook, TransactionOptions};
use diesel::result::Error;
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use crate::hooks_support::{Noting, Told, name};
use crate::sqlite_support::{INSERT, notes, sqlite};
use crate::support::eventually;

async fn insert(pool: &Pool<Sqlite>, told: &Told, fails: bool) -> Result<(), Error> {
    let options = TransactionOptions::default();
    pool.transaction(options, async |tx| {
        tx.enlist(Noting::new(told));
        for (end, what) in [(true, "on_commit"), (false, "on_rollback")] {
            let told = told.clone();
            let closure = move || told.note(what);
            match end {
                true => tx.on_commit(closure),
                false => tx.on_rollback(closure),
            }
        }
        sql_query(INSERT).execute(tx).await?;
        match fails {
            true => Err(Error::RollbackTransaction),
            false => Ok(()),
        }
    })
    .await
}

#[tokio::test]
async fn hooks_learn_of_a_commit_in_order_and_before_the_caller() {
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    insert(&pool, &told, false).await.unwrap();
    assert_eq!(told.all(), ["prepare", "committed", "on_commit"]);
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn hooks_learn_of_a_rollback_without_being_prepared() {
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let result = insert(&pool, &told, true).await;
    assert_eq!(result, Err(Error::RollbackTransaction));
    assert_eq!(told.all(), ["rolled back", "on_rollback"]);
    assert_eq!(notes(&pool).await, 0);
}

#[tokio::test]
async fn a_hook_that_refuses_rolls_back_and_the_caller_learns_why() {
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let error = pool
        .transaction(TransactionOptions::default(), async |tx| {
            sql_query(INSERT).execute(tx).await?;
            tx.enlist(Noting {
                told: told.clone(),
                refuses: true,
            });
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert_eq!(
        TransactionError::of(&error),
        Some(TransactionError::Refused)
    );
    assert!(error.to_string().ends_with("the log is away"), "{error}");
    assert_eq!(told.all(), ["prepare", "rolled back"]);
    assert_eq!(notes(&pool).await, 0);
    assert_eq!(pool.status().recovered_total, 0, "rolled back in order");
}

#[tokio::test]
async fn a_hook_of_the_pool_takes_part_in_every_transaction_that_may_write() {
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let noting = told.clone();
    pool.hook_transactions(move || Noting::new(&noting));
    for options in [
        TransactionOptions::default(),
        TransactionOptions::read_only(),
    ] {
        pool.transaction(options, async |_| Ok::<_, Error>(()))
            .await
            .unwrap();
    }
    assert_eq!(told.all(), ["prepare", "committed"]);
}

#[tokio::test]
async fn a_panic_in_the_closure_tells_the_hooks_once_the_transaction_is_rolled_back() {
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let (panicking, telling) = (pool.clone(), told.clone());
    let task = tokio::spawn(async move {
        panicking
            .transaction(TransactionOptions::default(), async |tx| {
                tx.enlist(Noting::new(&telling));
                sql_query(INSERT).execute(tx).await?;
                assert_eq!(tx.attempt(), 0, "on purpose");
                Ok::<_, Error>(())
            })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    eventually("told", || told.ends() > 0).await;
    assert_eq!(pool.status().recovering, 0);
    assert_eq!(told.all(), ["rolled back"]);
    assert_eq!(notes(&pool).await, 0);
}

#[tokio::test]
async fn a_hook_that_panics_spoils_neither_the_commit_nor_the_others() {
    struct Panics;
    impl TransactionHook for Panics {
        async fn finished(self, _: Outcome) {
            panic!("on purpose")
        }
    }
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    pool.transaction(TransactionOptions::default(), async |tx| {
        tx.enlist(Panics);
        tx.on_commit(|| panic!("on purpose"));
        tx.enlist(Noting::new(&told));
        sql_query(INSERT).execute(tx).await
    })
    .await
    .unwrap();
    assert_eq!(told.all(), ["prepare", "committed"]);
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_after_the_commit_lets_the_hooks_hear_of_it() {
    struct Slow(Told, Option<tokio::sync::oneshot::Receiver<()>>);
    impl TransactionHook for Slow {
        async fn finished(mut self, outcome: Outcome) {
            self.0.note("begins");
            if let Some(gate) = self.1.take() {
                gate.await.unwrap();
            }
            self.0.note(name(outcome));
        }
    }
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let (open, gate) = tokio::sync::oneshot::channel();
    let gate = Arc::new(Mutex::new(Some(gate)));
    let mut transaction = Box::pin(pool.transaction(TransactionOptions::default(), async |tx| {
        tx.enlist(Slow(told.clone(), gate.lock().unwrap().take()));
        sql_query(INSERT).execute(tx).await
    }));
    eventually("the hook is told", || {
        assert!(transaction.as_mut().now_or_never().is_none());
        told.all() == ["begins"]
    })
    .await;
    drop(transaction);
    open.send(()).unwrap();
    eventually("the hook goes on", || told.all() == ["begins", "committed"]).await;
}

#[tokio::test]
async fn more_hooks_than_a_transaction_takes_roll_it_back() {
    let (_folder, pool) = sqlite().await;
    let told = Told::default();
    let result = pool
        .transaction(TransactionOptions::default(), async |tx| {
            sql_query(INSERT).execute(tx).await?;
            for _ in 0..10_001 {
                let told = told.clone();
                tx.on_end(move |outcome| told.note(name(outcome)));
            }
            Ok::<_, Error>(())
        })
        .await;
    let error = result.unwrap_err();
    assert_eq!(
        TransactionError::of(&error),
        Some(TransactionError::Refused)
    );
    assert_eq!(told.ends(), 10_000);
    assert!(told.all().iter().all(|what| what == "rolled back"));
    assert_eq!(notes(&pool).await, 0);
}
