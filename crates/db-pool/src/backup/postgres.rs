//! Copies of a PostgreSQL database by `pg_dump`, restored by `pg_restore`: child processes that end with the future.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use diesel::prelude::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::config::Host;

use super::error::BackupError;
use super::manifest::TableRows;
use super::{BackupConfig, BackupProgress, Recoverable};
use crate::config::PoolConfig;
use crate::pool::Pool;
use crate::postgres::{PgConnection, Postgres};
use crate::url::redact;

impl Recoverable for Postgres {
    const ENDING: &'static str = "dump";

    async fn copy(
        pool: &Pool<Self>,
        config: &BackupConfig,
        to: &Path,
        progress: &BackupProgress,
    ) -> Result<Vec<TableRows>, BackupError> {
        let url = &pool.config().url;
        within(config, async {
            let own = connect(url, "copied").await?;
            let mut connection = own
                .acquire()
                .await
                .map_err(BackupError::database("copied"))?;
            // The transaction keeps the snapshot alive that `pg_dump` then shares, so the counts are exact.
            connection
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await
                .map_err(BackupError::database("copied"))?;
            let snapshot: Word =
                first(&mut connection, "SELECT pg_export_snapshot() AS word").await?;
            let tables = count(&mut connection).await?;
            progress.expect(tables.len() as u64);
            let mut dump = Call::new(config, "pg_dump", url)?;
            dump.command
                .args(["--format=custom", "--verbose", "--no-password"])
                .arg(format!("--snapshot={}", snapshot.word))
                .arg("--file")
                .arg(to);
            dump.run(progress, "dumping contents of table").await?;
            drop(connection);
            own.close().await;
            list(config, to).await?;
            Ok(tables)
        })
        .await
    }

    async fn restore(
        config: &BackupConfig,
        from: &Path,
        url: &str,
        progress: &BackupProgress,
    ) -> Result<Vec<TableRows>, BackupError> {
        within(config, async {
            let target = connect(url, "restored").await?;
            let mut connection = target
                .acquire()
                .await
                .map_err(BackupError::database("restored"))?;
            if let Some(table) = count(&mut connection).await?.into_iter().next() {
                return Err(BackupError::TargetInUse {
                    target: redact(url),
                    problem: format!("has table {} already", table.table),
                });
            }
            let mut restore = Call::new(config, "pg_restore", url)?;
            restore
                .command
                .args(["--exit-on-error", "--single-transaction", "--verbose"])
                .args(["--no-password", "--no-owner", "--no-privileges"])
                .arg(format!("--dbname={}", restore.database))
                .arg(from);
            progress.expect(list(config, from).await?);
            restore.run(progress, "processing data for table").await?;
            let found = count(&mut connection).await;
            drop(connection);
            target.close().await;
            found
        })
        .await
    }

    async fn drill(
        pool: &Pool<Self>,
        config: &BackupConfig,
        from: &Path,
        progress: &BackupProgress,
    ) -> Result<Vec<TableRows>, BackupError> {
        let unique = fastrand::u64(..);
        let name = format!("drill_{unique:016x}");
        let url = with_database(&pool.config().url, &name);
        let admin = connect(&pool.config().url, "restored").await?;
        let mut connection = admin
            .acquire()
            .await
            .map_err(BackupError::database("restored"))?;
        let mut run = async |sql: String| {
            let result = connection.batch_execute(&sql).await;
            result.map_err(BackupError::database("restored"))
        };
        run(format!("CREATE DATABASE {name}")).await?;
        let found = Self::restore(config, from, &url, progress).await;
        let dropped = run(format!("DROP DATABASE {name} WITH (FORCE)")).await;
        drop(connection);
        admin.close().await;
        let found = found?;
        dropped?;
        Ok(found)
    }
}

/// A connection of its own: a copy takes long, and the pool's are for its users.
async fn connect(url: &str, action: &'static str) -> Result<Pool<Postgres>, BackupError> {
    let mut config = PoolConfig::batch(url);
    "backup".clone_into(&mut config.name);
    (config.max_size, config.min_idle, config.lanes) = (1, 0, 0);
    Pool::connect(config)
        .await
        .map_err(BackupError::database(action))
}

async fn within<T>(
    config: &BackupConfig,
    work: impl Future<Output = Result<T, BackupError>>,
) -> Result<T, BackupError> {
    let limit = config.limit;
    timeout(limit, work)
        .await
        .unwrap_or(Err(BackupError::TimedOut { limit }))
}

/// The rows of every table that belongs to no extension and no system.
async fn count(connection: &mut PgConnection) -> Result<Vec<TableRows>, BackupError> {
    let tables: Vec<Word> = diesel::sql_query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS word
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
           AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
         ORDER BY 1",
    )
    .load(connection)
    .await
    .map_err(BackupError::database("counted"))?;
    let mut counted = Vec::with_capacity(tables.len());
    for Word { word: table } in tables {
        let sql = format!("SELECT count(*) AS n FROM ONLY {table}");
        let rows: Number = first(connection, &sql).await?;
        let rows = u64::try_from(rows.n).unwrap_or_default();
        counted.push(TableRows { table, rows });
    }
    Ok(counted)
}

async fn first<R>(connection: &mut PgConnection, sql: &str) -> Result<R, BackupError>
where
    R: QueryableByName<diesel::pg::Pg> + Send + 'static,
{
    let row = diesel::sql_query(sql).get_result::<R>(connection).await;
    row.map_err(BackupError::database("counted"))
}

/// How many tables a copy holds data of; an error for what is no copy.
async fn list(config: &BackupConfig, copy: &Path) -> Result<u64, BackupError> {
    let mut command = Command::new(program(config, "pg_restore")?);
    command.arg("--list").arg(copy).kill_on_drop(true);
    let output = command.output().await;
    let output = output.map_err(BackupError::io("start pg_restore for", copy))?;
    if !output.status.success() {
        return Err(BackupError::Damaged {
            path: copy.to_owned(),
            problem: tail(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let data = text.lines().filter(|line| line.contains(" TABLE DATA "));
    Ok(data.count() as u64)
}

/// One run of a client program against a server; the password goes by the environment, which other users cannot read.
struct Call {
    program: &'static str,
    command: Command,
    database: String,
}

impl Call {
    fn new(config: &BackupConfig, name: &'static str, url: &str) -> Result<Self, BackupError> {
        let server: tokio_postgres::Config =
            url.parse().map_err(BackupError::database("copied"))?;
        let mut command = Command::new(program(config, name)?);
        let host = match server.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let user = server.get_user().unwrap_or("postgres");
        let database = server.get_dbname().unwrap_or(user).to_owned();
        let tls = match server.get_ssl_mode() {
            tokio_postgres::config::SslMode::Disable => "disable",
            tokio_postgres::config::SslMode::Require => "require",
            _ => "prefer",
        };
        command
            .env("PGHOST", host)
            .env("PGPORT", port.to_string())
            .env("PGUSER", user)
            .env("PGDATABASE", &database)
            .env("PGSSLMODE", tls)
            .env("PGAPPNAME", name)
            .env("PGCONNECT_TIMEOUT", "10")
            // The words of its progress are English.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(password) = server.get_password() {
            command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
        }
        Ok(Self {
            program: name,
            command,
            database,
        })
    }

    /// Runs it to its end; each line that contains `step` is a table done.
    async fn run(mut self, progress: &BackupProgress, step: &str) -> Result<(), BackupError> {
        let mut child = self
            .command
            .spawn()
            .map_err(BackupError::io("start", self.program))?;
        let said = match child.stderr.take() {
            Some(output) => read(output, progress, step).await,
            None => String::new(),
        };
        let status = child
            .wait()
            .await
            .map_err(BackupError::io("wait for", self.program))?;
        if status.success() {
            return Ok(());
        }
        Err(BackupError::Program {
            program: self.program,
            said: if said.is_empty() {
                status.to_string()
            } else {
                said
            },
        })
    }
}

/// What a program said at last, bounded.
async fn read(output: impl AsyncRead + Unpin, progress: &BackupProgress, step: &str) -> String {
    let mut lines = BufReader::new(output).split(b'\n');
    let mut said = String::new();
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        if line.contains(step) {
            progress.advance();
        } else if line.contains("error:") || line.contains("fatal:") || line.contains("detail:") {
            said.push_str(&line);
            said.push('\n');
        }
        if said.len() > 2 * SAID {
            said = tail(&said);
        }
    }
    tail(&said)
}

/// The end of a text, at most `SAID` bytes.
fn tail(text: &str) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(SAID);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

const SAID: usize = 2_000;

/// Where a client program lies.
fn program(config: &BackupConfig, name: &'static str) -> Result<PathBuf, BackupError> {
    let is_there = |folder: &Path| {
        let path = folder.join(name);
        path.is_file().then_some(path)
    };
    if let Some(folder) = &config.programs {
        return is_there(folder).ok_or(BackupError::NoProgram { program: name });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find_map(|folder| is_there(&folder))
        .or_else(|| is_there(&newest(Path::new(DEBIAN))?))
        .ok_or(BackupError::NoProgram { program: name })
}

/// Debian keeps each version in a folder of its number.
fn newest(home: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(home).ok()?.flatten();
    let version = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()?;
    Some(home.join(version.to_string()).join("bin"))
}

const DEBIAN: &str = "/usr/lib/postgresql";

/// The URL with another database.
fn with_database(url: &str, database: &str) -> String {
    let (start, parameters) = match url.split_once('?') {
        Some((start, parameters)) => (start, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let authority = start.find("://").map_or(0, |at| at + "://".len());
    let end = start[authority..]
        .find('/')
        .map_or(start.len(), |at| authority + at);
    format!("{}/{database}{parameters}", &start[..end])
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_a_url_is_replaced() {
        for (url, expected) in [
            ("postgres://u:p@h:1/app?x=1", "postgres://u:p@h:1/new?x=1"),
            ("postgres://h", "postgres://h/new"),
            ("postgres://h/", "postgres://h/new"),
            ("postgres://h?x=/y", "postgres://h/new?x=/y"),
        ] {
            assert_eq!(with_database(url, "new"), expected);
        }
    }

    #[test]
    fn the_end_of_a_long_text_stays() {
        assert_eq!(tail(" short \n"), "short");
        let long = "é".repeat(SAID);
        assert!(tail(&long).len() <= SAID && tail(&long).ends_with('é'));
    }
}
