//! A PostgreSQL database of its own for each test, dropped with the fixture; none where no server is named.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use db_pool::{Pool, PoolConfig, Postgres};
use tokio_postgres::NoTls;

/// A fresh, empty database on the server that `TEST_DATABASE_URL` names; dropped with this value, whoever is connected.
pub(crate) struct Database {
    admin: tokio_postgres::Client,
    server: String,
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Database {
    /// `None`, after saying so, where no server is named.
    pub(crate) async fn new() -> Option<Self> {
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            let _ = writeln!(std::io::stderr(), "skipped: TEST_DATABASE_URL is not set");
            return None;
        };
        let admin = raw(&server).await;
        let name = unique_name();
        let create = format!("CREATE DATABASE {name}");
        admin.batch_execute(&create).await.unwrap();
        let url = with_database(&server, &name);
        Some(Self {
            admin,
            server,
            name,
            url,
        })
    }

    /// A pool of at most four connections, none kept idle, changed at will.
    pub(crate) async fn pool(&self, change: impl FnOnce(&mut PoolConfig)) -> Pool<Postgres> {
        self.pool_at(&self.url, change).await
    }

    /// The same at another address, such as that of a proxy.
    pub(crate) async fn pool_at(
        &self,
        url: &str,
        change: impl FnOnce(&mut PoolConfig),
    ) -> Pool<Postgres> {
        let mut config = PoolConfig::web(url);
        (config.max_size, config.min_idle) = (4, 0);
        change(&mut config);
        Pool::connect(config).await.unwrap()
    }

    /// Asks the server through a connection of its own to another database; `$database` stands for the name of this
    /// one, quoted.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let sql = sql.replace("$database", &format!("'{}'", self.name));
        self.admin.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Runs SQL through the same connection, outside of this database.
    pub(crate) async fn admin(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// A driver's connection to this database that no pool knows of.
    pub(crate) async fn raw(&self) -> tokio_postgres::Client {
        raw(&self.url).await
    }

    /// Ends all sessions in this database and says how many there were.
    pub(crate) async fn terminate_all(&self) -> i64 {
        self.count(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $database",
        )
        .await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, drop) = (
            self.server.clone(),
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        );
        // On a thread: the runtime of the test is the one that drops this, and may be stopping.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { raw(&server).await.batch_execute(&drop).await })
        });
        let dropped = dropped.join();
        if !std::thread::panicking() {
            dropped.unwrap().unwrap();
        }
    }
}

async fn raw(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // Ends with the client.
    tokio::spawn(connection);
    client
}

/// The URL with another database in it.
fn with_database(url: &str, name: &str) -> String {
    let (start, parameters) = match url.split_once('?') {
        Some((start, parameters)) => (start, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let (authority, _) = start.rsplit_once('/').unwrap();
    format!("{authority}/{name}{parameters}")
}

fn unique_name() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let started = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let (process, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    format!("db_pool_{process}_{}_{made}", started.as_nanos())
}
