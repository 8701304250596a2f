//! A PostgreSQL server of the bench's own, on loopback, gone with it.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A table `items` of `ROWS` rows with a primary key.
pub(crate) struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

pub(crate) const ROWS: i32 = 10_000;

impl Server {
    /// `None` where no PostgreSQL is installed.
    pub(crate) async fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().ok()?;
        let account = account();
        if let Some((uid, gid)) = account {
            chown(folder.path(), Some(uid), Some(gid)).ok()?;
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).ok()?;
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.current_dir(folder.path());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            if let Some((uid, gid)) = account {
                command.uid(uid).gid(gid);
            }
            command
        };
        let data = folder.path().join("data");
        let initialised = command("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .status();
        initialised
            .is_ok_and(|status| status.success())
            .then_some(())?;
        // Free now, and nobody else is about to take it.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let child = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .spawn()
            .ok()?;
        let server = Self {
            child,
            port,
            _folder: folder,
        };
        server.fill().await.then_some(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    /// Waits until it answers, and makes the table.
    async fn fill(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && let Ok((client, connection)) =
                    tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await
            {
                let driver = tokio::spawn(connection);
                let filled = client.batch_execute(TABLE).await;
                drop(client);
                let _ = driver.await;
                return filled.is_ok();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once: nothing here is worth keeping.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "fsync=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "log_min_messages=panic",
];

const TABLE: &str = "
    CREATE TABLE items (id INT PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO items SELECT id, 'item ' || id FROM generate_series(1, 10000) AS id;
    CREATE TABLE written (id INT NOT NULL, name TEXT NOT NULL);
    ANALYZE items;";

/// The folder with `postgres` and `initdb`: one on `PATH`, else the newest of Debian's.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    let has = |folder: &Path, program| folder.join(program).is_file();
    folders
        .into_iter()
        .find(|folder| has(folder, "postgres") && has(folder, "initdb"))
}

/// PostgreSQL refuses root: whom it runs as then.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            (fields[0] == name && uid != 0).then_some((uid, gid))
        })
    };
    of("postgres")
        .or_else(|| of("nobody"))
        .or(Some((65534, 65534)))
}
