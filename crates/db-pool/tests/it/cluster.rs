//! A private PostgreSQL of one primary and its streaming replicas, that a test may stop, promote and hold back.
//!
//! Everything lies in a temporary folder and ends with its owner, also when a test panics. Data is worth nothing, so
//! nothing waits for the disk.

use std::ffi::OsStr;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::Count;

/// What all nodes share: programs, the account they run under, and the folder they live in.
struct Home {
    folder: TempDir,
    programs: PathBuf,
    account: Option<(u32, u32)>,
}

/// One server. Dropping it ends it at once.
pub(crate) struct Node {
    home: Arc<Home>,
    data: PathBuf,
    port: u16,
    process: Option<Child>,
}

/// How to end a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// Rolls back what is open, and hands everything to the replicas first.
    Fast,
    /// As if it crashed.
    Immediate,
}

impl Node {
    /// A new primary; `None`, after saying so, where there is no PostgreSQL to start.
    pub(crate) async fn primary() -> Option<Self> {
        let programs = match (std::env::var_os("TEST_DATABASE_URL"), programs()) {
            (Some(_), Some(programs)) => programs,
            (None, _) => return skip("TEST_DATABASE_URL is not set"),
            (_, None) => return skip("no initdb on PATH or in /usr/lib/postgresql/*/bin"),
        };
        let folder = tempfile::Builder::new()
            .prefix("db-pool-cluster-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let home = Arc::new(Home {
            folder,
            programs,
            account: account(),
        });
        let mut node = Self::new(&home, "primary");
        let password = home.folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let mut initdb = home.command("initdb");
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C"]);
        // The client sends the word itself: a debug build would take long to compute SCRAM.
        initdb.args(["--no-sync", "--no-instructions", "--auth=password"]);
        initdb.arg(option("--pwfile=", &password));
        initdb.arg(option("--pgdata=", &node.data));
        run(initdb).await;
        node.start().await;
        Some(node)
    }

    /// A replica that streams from this server.
    pub(crate) async fn replica(&self, name: &str) -> Self {
        let mut node = Self::new(&self.home, name);
        let mut backup = self.home.command("pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        backup.args(["--host=127.0.0.1", "--username=postgres", "--no-password"]);
        backup.arg(format!("--port={}", self.port));
        backup.arg(option("--pgdata=", &node.data));
        run(backup).await;
        node.start().await;
        node
    }

    fn new(home: &Arc<Home>, name: &str) -> Self {
        let data = home.folder.path().join(name);
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
        if let Some((user, group)) = home.account {
            chown(&data, Some(user), Some(group)).unwrap();
        }
        Self {
            home: Arc::clone(home),
            data,
            port: free_port(),
            process: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same database through a proxy on another port.
    pub(crate) fn url_through(&self, port: u16) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// `127.0.0.1:PORT`, as the pool names it.
    pub(crate) fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the server and waits until it answers.
    pub(crate) async fn start(&mut self) {
        for _ in 0..5 {
            self.process = Some(self.spawn());
            if self.is_up().await {
                return;
            }
            // Somebody else took the port in between, or still has it.
            self.end(Stop::Immediate);
        }
        panic!("no server after five attempts; its log:\n{}", self.log());
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::create(self.data.with_extension("log")).unwrap();
        let mut command = self.home.command("postgres");
        command.arg("-D").arg(&self.data);
        command.args(["-p", &self.port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    async fn is_up(&mut self) -> bool {
        let up = async {
            loop {
                if self.process.as_mut().unwrap().try_wait().unwrap().is_some() {
                    return false;
                }
                if AsyncPgConnection::establish(&self.url()).await.is_ok() {
                    return true;
                }
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, up).await.unwrap_or(false)
    }

    /// Ends the server and waits for its end.
    pub(crate) async fn stop(&mut self, how: Stop) {
        self.signal(how);
        let mut process = self.process.take().unwrap();
        while process.try_wait().unwrap().is_none() {
            sleep(POLL).await;
        }
    }

    /// Makes a primary of a replica; returns when it takes writes.
    pub(crate) async fn promote(&self) {
        assert_eq!(
            self.number("SELECT pg_promote(true, 30)::int::bigint AS n")
                .await,
            1
        );
    }

    /// Makes the server start as a replica of `primary` the next time.
    pub(crate) fn follow(&self, primary: &Self) {
        let conninfo = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres password={PASSWORD}'\n",
            primary.port
        );
        let file = self.data.join("postgresql.auto.conf");
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str(&conninfo);
        std::fs::write(&file, text).unwrap();
        let signal = self.data.join("standby.signal");
        std::fs::write(&signal, "").unwrap();
        if let Some((user, group)) = self.home.account {
            chown(&signal, Some(user), Some(group)).unwrap();
        }
    }

    /// Holds a replica back, or lets it go on.
    pub(crate) async fn pause_replay(&self, pause: bool) {
        let what = if pause { "pause" } else { "resume" };
        self.run(&format!("SELECT pg_wal_replay_{what}()")).await;
    }

    /// Runs statements on a connection of its own.
    pub(crate) async fn run(&self, sql: &str) {
        let mut connection = AsyncPgConnection::establish(&self.url()).await.unwrap();
        connection.batch_execute(sql).await.unwrap();
    }

    /// Asks for one number, called `n`, on a connection of its own.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = AsyncPgConnection::establish(&self.url()).await.unwrap();
        let count = diesel::sql_query(sql).get_result::<Count>(&mut connection);
        count.await.unwrap().n
    }

    /// Waits until a table is there.
    pub(crate) async fn has_table(&self, name: &str) {
        let sql = format!("SELECT count(*) AS n FROM pg_class WHERE relname = '{name}'");
        while self.number(&sql).await == 0 {
            sleep(POLL).await;
        }
    }

    fn signal(&self, how: Stop) {
        if let Some(process) = &self.process {
            let signal = match how {
                Stop::Fast => Signal::SIGINT,
                Stop::Immediate => Signal::SIGQUIT,
            };
            let _ = kill(Pid::from_raw(process.id().try_into().unwrap()), signal);
        }
    }

    fn end(&mut self, how: Stop) {
        self.signal(how);
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end(Stop::Immediate);
    }
}

impl Home {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(self.folder.path())
            .env("LC_ALL", "C")
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Waits until `done`, and leaves the processors to the servers meanwhile.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            sleep(POLL / 4).await;
        }
    };
    assert!(
        timeout(LIMIT, waiting).await.is_ok(),
        "never happened: {what}"
    );
}

/// Runs a program to its end, off the runtime's threads.
async fn run(mut command: Command) {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}: {errors}");
}

fn skip(why: &str) -> Option<Node> {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    None
}

/// The folder that holds all programs needed: one on PATH, else the newest of the distribution's.
fn programs() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| {
        let programs = ["initdb", "postgres", "pg_basebackup"];
        programs.iter().all(|one| folder.join(one).is_file())
    };
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).find(complete);
    on_path.or_else(|| {
        let homes = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let version = |home: &PathBuf| home.file_name()?.to_str()?.parse::<u32>().ok();
        homes
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|home| complete(&home.join("bin")))
            .max_by_key(version)
            .map(|home| home.join("bin"))
    })
}

/// PostgreSQL refuses to run as root; `None` unless this is root.
fn account() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        accounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [this, _, user, group, ..] = fields.as_slice() else {
                return None;
            };
            let ids = (user.parse().ok()?, group.parse().ok()?);
            (*this == name && ids.0 != 0).then_some(ids)
        })
    };
    Some(
        find("postgres")
            .or_else(|| find("nobody"))
            .unwrap_or((65534, 65534)),
    )
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = OsStr::new(name).to_owned();
    option.push(path);
    option
}

const SETTINGS: [&str; 11] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=60",
    "shared_buffers=8MB",
    "fsync=off",
    "full_page_writes=off",
    "wal_level=replica",
    "max_wal_senders=4",
    "wal_keep_size=64MB",
    // A replica that lost its primary looks for it again soon.
    "wal_retrieve_retry_interval=100ms",
    "hot_standby=on",
];

/// The port is open to everybody on this machine.
const PASSWORD: &str = "cluster-of-a-test";
const POLL: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_replica_follows_is_held_back_and_promoted() {
    let Some(mut primary) = Node::primary().await else {
        return;
    };
    primary.run("CREATE TABLE t (id int)").await;
    let replica = primary.replica("replica").await;
    let in_recovery = "SELECT pg_is_in_recovery()::int::bigint AS n";
    assert_eq!(replica.number(in_recovery).await, 1);
    replica.pause_replay(true).await;
    primary.run("INSERT INTO t VALUES (1)").await;
    let rows = "SELECT count(*) AS n FROM t";
    assert_eq!(replica.number(rows).await, 0);
    replica.pause_replay(false).await;
    let arrived = async {
        while replica.number(rows).await == 0 {
            sleep(POLL).await;
        }
    };
    assert!(timeout(LIMIT, arrived).await.is_ok(), "the row never came");
    primary.stop(Stop::Immediate).await;
    replica.promote().await;
    replica.run("INSERT INTO t VALUES (2)").await;
    assert_eq!(replica.number(rows).await, 2);
}
