//! A fresh database for each test, values to put into it, and ways to look at it.

use std::{panic::resume_unwind, time::Duration};

use crate::support::{PostgresDatabase, with_database};
use db_pool::{Pool, PoolConfig, Postgres, Sqlite};
use diesel_async::SimpleAsyncConnection;
use jiff::Timestamp;
use reference_service::{
    domain::{NewRecord, NewTask, Record, RecordFilter, Task},
    store::Store,
};

pub(super) type Never = std::convert::Infallible;

/// A store on a fresh database, and a way around it.
pub(super) struct Fixture {
    pub(super) store: Store,
    url: String,
}

impl Fixture {
    async fn open(config: PoolConfig) -> Self {
        let url = config.url.clone();
        let store = Store::connect(config).await.unwrap();
        assert_eq!(store.migrate().await.unwrap().len(), 3);
        Self { store, url }
    }

    /// The same server, another database.
    pub(super) fn beside(&self, name: &str) -> PoolConfig {
        PoolConfig::web(with_database(&self.url, name))
    }

    /// The name of this PostgreSQL database.
    pub(super) fn name(&self) -> &str {
        let address = self.url.split('?').next().unwrap();
        address.rsplit('/').next().unwrap()
    }

    /// Drops this PostgreSQL database under the store's feet.
    pub(super) async fn vanish(&self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name());
        execute(self.beside("postgres"), &drop).await;
    }

    /// Runs statements past the store, as an administrator would.
    pub(super) async fn sql(&self, statements: &str) {
        let config = PoolConfig {
            max_size: 2,
            min_idle: 0,
            ..PoolConfig::batch(&self.url)
        };
        match self.store.backend() {
            db_pool::BackendKind::Sqlite => {
                let pool = Pool::<Sqlite>::connect(config).await.unwrap();
                pool.acquire()
                    .await
                    .unwrap()
                    .batch_execute(statements)
                    .await
                    .unwrap();
                pool.close().await;
            }
            _ => execute(config, statements).await,
        }
    }
}

pub(super) async fn on_sqlite(test: impl AsyncFnOnce(Fixture)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    let fixture = Fixture::open(PoolConfig::embedded(path.to_str().unwrap())).await;
    let store = fixture.store.clone();
    test(fixture).await;
    store.close().await;
}

pub(super) async fn on_postgres<Done: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Fixture) -> Done + Send + 'static,
) {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    let config = PoolConfig {
        max_size: 6,
        ..PoolConfig::web(database.url().expose())
    };
    // In a task of its own, so that the database is dropped even when the test fails.
    let outcome = tokio::spawn(async move {
        let fixture = Fixture::open(config).await;
        let store = fixture.store.clone();
        test(fixture).await;
        store.close().await;
    });
    let outcome = outcome.await;
    database.drop_it().await;
    if let Err(failure) = outcome {
        resume_unwind(failure.into_panic());
    }
}

async fn execute(config: PoolConfig, statements: &str) {
    let pool = Pool::<Postgres>::connect(config).await.unwrap();
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(statements)
        .await
        .unwrap();
    pool.close().await;
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn task(title: &str, priority: i16) -> Task {
    let new = NewTask {
        title: title.to_owned(),
        description: None,
        assigned_agent_id: None,
        priority,
    };
    Task::new(new, Timestamp::now()).unwrap()
}

pub(super) fn record(title: &str, text: &str, tags: &[&str]) -> Record {
    let new = NewRecord {
        title: title.to_owned(),
        text: text.to_owned(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        importance: 3,
    };
    Record::new(new, Timestamp::now()).unwrap()
}

pub(super) fn titles(tasks: &[Task]) -> Vec<&str> {
    tasks.iter().map(|task| task.title.as_str()).collect()
}

pub(super) async fn found(store: &Store, query: &str) -> Vec<String> {
    let filter = RecordFilter {
        query: Some(query.to_owned()),
        ..Default::default()
    };
    let records = store.records(&filter, None, 100).await.unwrap();
    records.into_iter().map(|record| record.title).collect()
}

pub(super) async fn tagged(store: &Store, tag: &str) -> Vec<String> {
    let filter = RecordFilter {
        tag: Some(tag.to_owned()),
        ..Default::default()
    };
    let records = store.records(&filter, None, 100).await.unwrap();
    records.into_iter().map(|record| record.title).collect()
}

/// Waits until the condition is true.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("the condition became true");
}
