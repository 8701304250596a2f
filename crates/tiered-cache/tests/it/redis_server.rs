//! Redis servers of a test's own, on free ports of this machine; each ends with its handle.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A running `redis-server` (or `valkey-server`) with a folder of its own.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Number(i64),
    Text(String),
    Error(String),
    Many(Vec<Self>),
}

impl Server {
    /// Starts a server that keeps nothing on disk unless `arguments` say so; `None` where no server is
    /// installed, which is said.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_as(arguments, None).await
    }

    /// Starts a Sentinel with the settings.
    pub(crate) async fn start_sentinel(settings: &str) -> Option<Self> {
        Self::start_as(&["--sentinel"], Some(settings)).await
    }

    async fn start_as(arguments: &[&str], sentinel: Option<&str>) -> Option<Self> {
        let program = program()?;
        let mut server = Self {
            program,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            port: 0,
            folder: TempDir::new().expect("a writable temporary folder"),
            child: None,
        };
        if let Some(settings) = sentinel {
            let file = server.folder.path().join(SENTINEL);
            std::fs::write(file, settings).expect("a folder of our own");
        }
        // Between the probe and the start somebody else may take the port.
        for _ in 0..5 {
            server.port = free_port();
            if server.launch().await {
                return Some(server);
            }
        }
        panic!("no redis-server came up on five free ports");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and folder.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        // The kernel may hold the port for a moment.
        for _ in 0..50 {
            if self.launch().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server did not come back");
    }

    /// Stops the process (it neither answers nor closes its sockets) until [`thaw`](Self::thaw).
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Sends one command over a connection of its own.
    pub(crate) async fn command(&self, parts: &[&str]) -> Reply {
        let reply = tokio::time::timeout(LIMIT, ask(self.port, parts)).await;
        reply
            .expect("the server answers in time")
            .expect("the server is there")
    }

    /// The same of a server that may be away; `None` then.
    pub(crate) async fn try_command(&self, parts: &[&str]) -> Option<Reply> {
        let reply = tokio::time::timeout(LIMIT, ask(self.port, parts)).await;
        reply.ok()?.ok()
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let mut kill = Command::new("kill");
        let status = kill.args([signal, &child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "{signal}");
    }

    async fn launch(&mut self) -> bool {
        let mut command = Command::new(&self.program);
        // A Sentinel keeps its state in its file, which is named first.
        let file = self.folder.path().join(SENTINEL);
        let sentinel = file.exists();
        if sentinel {
            command.arg(file);
        }
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--daemonize", "no", "--dir"])
            .arg(self.folder.path());
        if !sentinel {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the program was found"));
        let up = async {
            loop {
                let child = self.child.as_mut().expect("spawned above");
                if child.try_wait().is_ok_and(|status| status.is_some()) {
                    return false;
                }
                if matches!(ask(self.port, &["PING"]).await, Ok(Reply::Text(text)) if text == "PONG")
                {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, up).await.unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    pub(crate) fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }
}

async fn ask(port: u16, parts: &[&str]) -> std::io::Result<Reply> {
    let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
    let mut request = format!("*{}\r\n", parts.len());
    for part in parts {
        request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    stream.write_all(request.as_bytes()).await?;
    reply(&mut stream).await
}

fn reply(stream: &mut BufReader<TcpStream>) -> BoxFuture<'_, std::io::Result<Reply>> {
    async move {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let end = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(end)?;
        let number = || rest.parse::<i64>().map_err(|_| end());
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(number()?),
            "$" => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    stream.read_exact(&mut bytes).await?;
                    bytes.truncate(length);
                    Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
                }
            },
            "*" => {
                let mut many = Vec::new();
                for _ in 0..number()?.max(0) {
                    many.push(reply(stream).await?);
                }
                Reply::Many(many)
            }
            _ => return Err(end()),
        })
    }
    .boxed()
}

/// Where the program is; says so when it is nowhere.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: neither redis-server nor valkey-server is on PATH (`cargo xtask test --install` \
             installs one)"
        );
    }
    found
}

/// A port that is free now and leaves room for the bus of a cluster, 10,000 above.
pub(crate) fn free_port() -> u16 {
    loop {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = probe.local_addr().expect("it is bound").port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| TcpListener::bind((Ipv4Addr::LOCALHOST, bus)).is_ok()) {
            return port;
        }
    }
}

const SENTINEL: &str = "sentinel.conf";
/// For whatever takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);
