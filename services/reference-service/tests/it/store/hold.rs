//! The lock by which servers and offline writers know of each other, also over a broken session.

use std::time::Duration;

use reference_service::store::{DataHold, Hold, Store};
use tokio::time::timeout;

use super::fixture::{Fixture, on_postgres, on_sqlite, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_the_data_and_an_offline_writer_has_it_alone() {
    on_postgres(async |db: Fixture| {
        let first = db.store.hold(Hold::Shared).await.unwrap().unwrap();
        let second = db.store.hold(Hold::Shared).await.unwrap().unwrap();
        assert!(db.store.hold(Hold::Alone).await.unwrap().is_none());
        drop(first);
        assert!(db.store.hold(Hold::Alone).await.unwrap().is_none());
        drop(second);

        let alone = granted(&db.store).await;
        assert_eq!(alone.trouble(), None);
        assert!(db.store.hold(Hold::Shared).await.unwrap().is_none());
        assert!(db.store.hold(Hold::Alone).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_whose_session_broke_says_so_and_takes_the_lock_again() {
    on_postgres(async |db: Fixture| {
        let hold = db.store.hold(Hold::Shared).await.unwrap().unwrap();
        assert!(db.store.hold(Hold::Alone).await.unwrap().is_none());

        // Somebody else is faster, so that the loss lasts until it is seen.
        let faster = async {
            loop {
                db.sql(KILL_HOLDERS).await;
                if let Some(alone) = db.store.hold(Hold::Alone).await.unwrap() {
                    return alone;
                }
            }
        };
        let faster = timeout(LIMIT, faster).await.unwrap();
        until(|| hold.trouble().is_some()).await;
        assert!(hold.trouble().unwrap().starts_with("lost"));

        drop(faster);
        until(|| hold.trouble().is_none()).await;
        assert!(db.store.hold(Hold::Alone).await.unwrap().is_none());

        drop(hold);
        granted(&db.store).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_held_by_its_lock_file_and_never_in_trouble() {
    on_sqlite(async |db: Fixture| {
        let first = db.store.hold(Hold::Alone).await.unwrap().unwrap();
        let second = db.store.hold(Hold::Alone).await.unwrap().unwrap();
        assert_eq!((first.trouble(), second.trouble()), (None, None));
    })
    .await;
}

/// The hold alone, as soon as the server has noticed that the others are gone.
async fn granted(store: &Store) -> DataHold {
    let asking = async {
        loop {
            if let Some(alone) = store.hold(Hold::Alone).await.unwrap() {
                return alone;
            }
        }
    };
    timeout(LIMIT, asking).await.unwrap()
}

const KILL_HOLDERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks \
     WHERE locktype = 'advisory' AND database = \
     (SELECT oid FROM pg_database WHERE datname = current_database())";

const LIMIT: Duration = Duration::from_secs(30);
