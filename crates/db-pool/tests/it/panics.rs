//! Panics of what diesel calls while a connection opens: an error for who waits, and nothing is left behind.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use db_pool::{AcquireError, ConnectErrorKind, Connection, Pool, PoolConfig, Sqlite};
use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};

use crate::support::chain;

/// Part of the name of the file whose opening may panic; other tests open others.
const FILE: &str = "panics_while_opening";
static PANICS_IN_THE_DRIVER: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// SQLite opens on threads of its own, so this one stands for the tasks of the pool.
    static PANICS_ON_THIS_THREAD: Cell<bool> = const { Cell::new(false) };
}

fn panicky() -> Option<Box<dyn Instrumentation>> {
    assert!(!PANICS_ON_THIS_THREAD.get(), "on purpose, by the pool");
    Some(Box::new(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartEstablishConnection { url, .. } = event {
            let panics = url.contains(FILE) && PANICS_IN_THE_DRIVER.load(Ordering::SeqCst);
            assert!(!panics, "on purpose, by the driver");
        }
    }))
}

#[tokio::test]
async fn a_panic_while_connecting_is_an_error_and_the_next_connect_works() {
    set_default_instrumentation(panicky).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let config = PoolConfig::embedded(file.to_str().unwrap());
    let pool = Pool::<Sqlite>::connect(config).await.unwrap();
    let panics = |driver, pool| {
        PANICS_IN_THE_DRIVER.store(driver, Ordering::SeqCst);
        PANICS_ON_THIS_THREAD.set(pool);
    };
    for (in_driver, in_pool) in [(true, false), (false, true)] {
        Connection::discard(pool.acquire().await.unwrap());
        panics(in_driver, in_pool);
        let in_vain = pool.acquire_within(Duration::from_millis(200));
        let error = in_vain.await.unwrap_err();
        panics(false, false);
        let AcquireError::ConnectFailed { source, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(source.kind(), ConnectErrorKind::Other);
        assert!(chain(&error).contains("panicked"), "{}", chain(&error));
        assert!(pool.acquire().await.is_ok());
        let status = pool.status();
        assert_eq!((status.size, status.connecting, status.in_use), (1, 0, 0));
    }
    assert_eq!(pool.close().await, 0, "no connection is counted as open");
}
