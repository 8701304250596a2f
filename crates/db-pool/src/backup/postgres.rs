//! Copies of a PostgreSQL database by `pg_dump`, restored by `pg_restore`: child processes that end with the future.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use diesel::prelude::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::config::Host;

use super::error::BackupError;
use super::manifest::TableRows;
use super::{Backup, BackupConfig, BackupProgress, Recoverable};
use crate::config::PoolConfig;
use crate::pool::Pool;
use crate::postgres::{LibpqTls, PgConnection, Postgres};
use crate::url::redact;

impl Recoverable for Postgres {
    const ENDING: &'static str = "dump";

    async fn copy(
        pool: &Pool<Self>,
        config: &BackupConfig,
        to: &Path,
        progress: &BackupProgress,
    ) -> Result<Vec<TableRows>, BackupError> {
        let server = &Server::of(pool.config());
        within(config, async {
            let own = connect(server, "copied").await?;
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
            let mut dump = Call::new(config, "pg_dump", server)?;
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
        pool: &Pool<Self>,
        config: &BackupConfig,
        copy: &Backup,
        url: &str,
        progress: &BackupProgress,
    ) -> Result<(), BackupError> {
        let server = &Server {
            url,
            ..Server::of(pool.config())
        };
        within(config, async {
            let target = connect(server, "restored").await?;
            let mut connection = target
                .acquire()
                .await
                .map_err(BackupError::database("restored"))?;
            if let Some(name) = occupied(&mut connection).await? {
                return Err(BackupError::TargetInUse {
                    target: redact(url),
                    problem: format!("has {name} already"),
                });
            }
            let mut restore = Call::new(config, "pg_restore", server)?;
            restore
                .command
                .args(["--exit-on-error", "--single-transaction", "--verbose"])
                .args(["--no-password", "--no-owner", "--no-privileges"])
                .arg(format!("--dbname={}", restore.database))
                .arg(copy.path());
            progress.expect(list(config, copy.path()).await?);
            restore.run(progress, "processing data for table").await?;
            let found = count(&mut connection).await?;
            drop(connection);
            target.close().await;
            copy.compare(&found)
        })
        .await
    }

    async fn drill(
        pool: &Pool<Self>,
        config: &BackupConfig,
        copy: &Backup,
        progress: &BackupProgress,
    ) -> Result<(), BackupError> {
        let unique = fastrand::u64(..);
        let name = format!("drill_{unique:016x}");
        let url = with_database(&pool.config().url, &name);
        let admin = connect(&Server::of(pool.config()), "restored").await?;
        let mut connection = admin
            .acquire()
            .await
            .map_err(BackupError::database("restored"))?;
        let mut run = async |sql: String| {
            let result = connection.batch_execute(&sql).await;
            result.map_err(BackupError::database("restored"))
        };
        run(format!("CREATE DATABASE {name}")).await?;
        let restored = Self::restore(pool, config, copy, &url, progress).await;
        let dropped = run(format!("DROP DATABASE {name} WITH (FORCE)")).await;
        drop(connection);
        admin.close().await;
        restored.and(dropped)
    }
}

/// Where the database is, and how it is reached.
struct Server<'a> {
    url: &'a str,
    pgbouncer: bool,
    root_certificates: Option<&'a Path>,
}

impl<'a> Server<'a> {
    fn of(pool: &'a PoolConfig) -> Self {
        Self {
            url: &pool.url,
            pgbouncer: pool.pgbouncer,
            root_certificates: pool.root_certificates.as_deref(),
        }
    }
}

/// A connection of its own: a copy takes long, and the pool's are for its users.
async fn connect(server: &Server<'_>, action: &'static str) -> Result<Pool<Postgres>, BackupError> {
    let mut config = PoolConfig::batch(server.url);
    "backup".clone_into(&mut config.name);
    config.pgbouncer = server.pgbouncer;
    config.root_certificates = server.root_certificates.map(Path::to_owned);
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
           AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                           AND d.objid = c.oid AND d.deptype = 'e')
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

/// Something that is in the database already, other than what extensions bring.
async fn occupied(connection: &mut PgConnection) -> Result<Option<String>, BackupError> {
    let found: Vec<Word> = diesel::sql_query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS word
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
           AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
           AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                           AND d.objid = c.oid AND d.deptype = 'e')
         LIMIT 1",
    )
    .load(connection)
    .await
    .map_err(BackupError::database("looked at"))?;
    Ok(found.into_iter().next().map(|found| found.word))
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
    command
        .env("LC_ALL", "C")
        .arg("--list")
        .arg(copy)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let started = command.spawn();
    let mut child = started.map_err(BackupError::io("start pg_restore for", copy))?;
    let (mut tables, mut said) = (0, Said::default());
    let listed = read(child.stdout.take(), |line| {
        tables += u64::from(line.contains(" TABLE DATA "));
    });
    let told = read(child.stderr.take(), |line| said.push(line));
    tokio::join!(listed, told);
    let status = child.wait().await;
    let status = status.map_err(BackupError::io("wait for pg_restore of", copy))?;
    if !status.success() {
        return Err(BackupError::Damaged {
            path: copy.to_owned(),
            problem: said.or(status),
        });
    }
    Ok(tables)
}

/// One run of a client program against a server; the password goes by the environment, which other users cannot read.
struct Call {
    program: &'static str,
    command: Command,
    database: String,
    password: String,
}

impl Call {
    fn new(
        config: &BackupConfig,
        name: &'static str,
        server: &Server<'_>,
    ) -> Result<Self, BackupError> {
        let tls = LibpqTls::new(server.url, server.root_certificates);
        let server: tokio_postgres::Config = tls
            .url
            .parse()
            .map_err(BackupError::database("understood"))?;
        let mut command = Command::new(program(config, name)?);
        // What the pool does not heed must not lead the program to another server.
        for foreign in FOREIGN {
            command.env_remove(foreign);
        }
        let host = match server.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        let user = server.get_user().unwrap_or("postgres");
        let database = server.get_dbname().unwrap_or(user).to_owned();
        if let Some(address) = server.get_hostaddrs().first() {
            command.env("PGHOSTADDR", address.to_string());
        }
        if let Some(roots) = &tls.roots {
            command.env("PGSSLROOTCERT", roots);
        }
        command
            .env("PGHOST", host)
            .env("PGPORT", port.to_string())
            .env("PGUSER", user)
            .env("PGDATABASE", &database)
            .env("PGSSLMODE", tls.mode)
            .env("PGAPPNAME", name)
            .env("PGCONNECT_TIMEOUT", "10")
            // The words of its progress are English.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let password = server.get_password().unwrap_or_default();
        let password = String::from_utf8_lossy(password).into_owned();
        if !password.is_empty() {
            command.env("PGPASSWORD", &password);
        }
        Ok(Self {
            program: name,
            command,
            database,
            password,
        })
    }

    /// Runs it to its end; each line that contains `step` is a table done.
    async fn run(mut self, progress: &BackupProgress, step: &str) -> Result<(), BackupError> {
        let mut child = self
            .command
            .spawn()
            .map_err(BackupError::io("start", self.program))?;
        let mut said = Said::default();
        read(child.stderr.take(), |line| {
            if line.contains(step) {
                progress.advance();
            } else {
                said.push(line);
            }
        })
        .await;
        let status = child
            .wait()
            .await
            .map_err(BackupError::io("wait for", self.program))?;
        if status.success() {
            return Ok(());
        }
        let mut said = said.or(status);
        // No such program tells it. Should one, it goes no further.
        if !self.password.is_empty() {
            said = said.replace(&self.password, "***");
        }
        Err(BackupError::Program {
            program: self.program,
            said,
        })
    }
}

/// Variables of libpq that the pool knows nothing of, or that are set anew.
const FOREIGN: [&str; 9] = [
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGPASSWORD",
    "PGSSLROOTCERT",
    "PGSSLNEGOTIATION",
    "PGREQUIRESSL",
    "PGTARGETSESSIONATTRS",
];

/// What a program said at last, bounded.
#[derive(Default)]
struct Said(String);

impl Said {
    /// Keeps a line that tells what went wrong; what else programs say is how far they are.
    fn push(&mut self, line: &str) {
        if ["error:", "fatal:", "detail:"]
            .iter()
            .any(|word| line.contains(word))
        {
            self.0.push_str(line);
            self.0.push('\n');
        }
        if self.0.len() > 2 * SAID {
            self.0 = tail(&self.0);
        }
    }

    /// That, or how it ended if it said nothing.
    fn or(self, status: ExitStatus) -> String {
        match tail(&self.0) {
            said if said.is_empty() => status.to_string(),
            said => said,
        }
    }
}

/// Gives each line to `line`, of very long ones the beginning.
async fn read(output: Option<impl AsyncRead + Unpin>, mut line: impl FnMut(&str)) {
    let Some(mut output) = output else { return };
    let mut buffer = vec![0; 8 * 1024];
    let mut begun = Vec::new();
    // A pipe that breaks has ended as well.
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        for byte in &buffer[..count] {
            if *byte == b'\n' {
                line(&String::from_utf8_lossy(&begun));
                begun.clear();
            } else if begun.len() < LINE {
                begun.push(*byte);
            }
        }
    }
    if !begun.is_empty() {
        line(&String::from_utf8_lossy(&begun));
    }
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

/// What is kept of one line.
const LINE: usize = 4_000;

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

    #[tokio::test]
    async fn of_what_a_program_says_without_end_only_the_end_of_its_errors_stays() {
        let endless = "x".repeat(3 * LINE);
        let text = format!(
            "{endless}\n{}pg_dump: error: at last",
            "error: é\n".repeat(SAID)
        );
        let (mut lines, mut longest, mut said) = (0, 0, Said::default());
        read(Some(text.as_bytes()), |line| {
            (lines, longest) = (lines + 1, longest.max(line.len()));
            said.push(line);
        })
        .await;
        assert_eq!((lines, longest), (SAID + 2, LINE));
        let said = said.or(ExitStatus::default());
        assert!(said.len() <= SAID && said.ends_with("at last"), "{said}");
    }

    #[test]
    fn the_end_of_a_long_text_stays() {
        assert_eq!(tail(" short \n"), "short");
        let long = "é".repeat(SAID);
        assert!(tail(&long).len() <= SAID && tail(&long).ends_with('é'));
    }
}
