//! A TCP proxy inside the test that fails on demand: holds bytes back without closing, resets, delays, refuses, counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Stands in front of a server on a port of its own; everything ends with it.
pub(crate) struct Proxy {
    address: String,
    target: String,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

struct State {
    mode: watch::Sender<Mode>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Bytes that came from the server and went to clients.
    answered: AtomicU64,
}

#[derive(Clone)]
struct Mode {
    to_server: bool,
    to_client: bool,
    refusing: bool,
    latency: Duration,
    /// Connections up to this number get nothing through any more.
    dead: usize,
    /// Connections up to this number are reset.
    reset: usize,
    /// How many bytes each connection opened from now on gets from the server.
    allowance: Option<u64>,
}

impl Proxy {
    /// In front of `target`, which is `host:port`.
    pub(crate) async fn to(target: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = target.into();
        let through = Mode {
            to_server: true,
            to_client: true,
            refusing: false,
            latency: Duration::ZERO,
            dead: 0,
            reset: 0,
            allowance: None,
        };
        let state = Arc::new(State {
            mode: watch::Sender::new(through),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target.clone(), Arc::clone(&state)));
        Self {
            address,
            target,
            state,
            _accepting: accepting,
        }
    }

    /// In front of the server that a URL names.
    pub(crate) async fn before(url: &str) -> Self {
        let (_, rest) = url.split_once("://").unwrap();
        let authority = rest.split(['/', '?']).next().unwrap();
        let target = authority.rsplit('@').next().unwrap();
        Self::to(target).await
    }

    /// `host:port` of this proxy.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The URL, with this proxy in the place of its server.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(&self.target, &self.address)
    }

    /// Lets everything through again; what was held back arrives now.
    pub(crate) fn forward(&self) {
        self.change(|mode| {
            (mode.to_server, mode.to_client) = (true, true);
            (mode.dead, mode.allowance, mode.refusing) = (0, None, false);
            mode.latency = Duration::ZERO;
        });
    }

    /// Nothing gets through, in either direction, on old and new connections; no side is told.
    pub(crate) fn black_hole(&self) {
        self.change(|mode| (mode.to_server, mode.to_client) = (false, false));
    }

    /// The same for the connections open now; new ones get through.
    pub(crate) fn black_hole_open(&self) {
        let accepted = self.state.accepted.load(Ordering::SeqCst);
        self.change(|mode| mode.dead = accepted);
    }

    /// The server hears everything, and none of its answers arrives.
    pub(crate) fn swallow_answers(&self) {
        self.change(|mode| mode.to_client = false);
    }

    /// The connections open now end with a reset on both sides.
    pub(crate) fn reset(&self) {
        let accepted = self.state.accepted.load(Ordering::SeqCst);
        self.change(|mode| mode.reset = accepted);
    }

    /// New connections are reset as soon as they are accepted.
    pub(crate) fn refuse(&self) {
        self.change(|mode| mode.refusing = true);
    }

    /// Everything takes this much longer, in each direction.
    pub(crate) fn delay(&self, latency: Duration) {
        self.change(|mode| mode.latency = latency);
    }

    /// New connections get this many bytes from the server, and then silence.
    pub(crate) fn stop_after(&self, bytes: u64) {
        self.change(|mode| mode.allowance = Some(bytes));
    }

    /// How many connections have been accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// How many bytes of the server's answers have been passed on.
    pub(crate) fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Mode)) {
        self.state.mode.send_modify(change);
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        if state.mode.borrow().refusing {
            let _ = client.set_zero_linger();
            continue;
        }
        let number = state.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        connections.spawn(serve(client, target.clone(), number, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut client: TcpStream, target: String, number: usize, state: Arc<State>) {
    let Ok(mut server) = TcpStream::connect(&target).await else {
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    state.open.fetch_add(1, Ordering::SeqCst);
    let mut resets = state.mode.subscribe();
    let allowance = state.mode.borrow().allowance;
    let was_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(to_server, Direction::ToServer, number, &state, None);
        let down = Pump::new(to_client, Direction::ToClient, number, &state, allowance);
        tokio::select! {
            biased;
            _ = resets.wait_for(|mode| mode.reset >= number) => true,
            _ = async { tokio::join!(up.run(from_client), down.run(from_server)) } => false,
        }
    };
    if was_reset {
        let (_, _) = (client.set_zero_linger(), server.set_zero_linger());
    }
    state.open.fetch_sub(1, Ordering::SeqCst);
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToServer,
    ToClient,
}

/// One direction of one connection.
struct Pump<'a> {
    to: WriteHalf<'a>,
    direction: Direction,
    number: usize,
    allowance: Option<u64>,
    mode: watch::Receiver<Mode>,
    state: &'a State,
}

impl<'a> Pump<'a> {
    fn new(
        to: WriteHalf<'a>,
        direction: Direction,
        number: usize,
        state: &'a State,
        allowance: Option<u64>,
    ) -> Self {
        Self {
            to,
            direction,
            number,
            allowance,
            mode: state.mode.subscribe(),
            state,
        }
    }

    /// Reads and writes side by side, so that a delay does not limit how much is under way.
    async fn run(mut self, mut from: ReadHalf<'_>) {
        let (read, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
        let mode = self.mode.clone();
        let reading = async move {
            loop {
                let mut buffer = vec![0; CHUNK];
                let length = from.read(&mut buffer).await.unwrap_or(0);
                buffer.truncate(length);
                let due = Instant::now() + mode.borrow().latency;
                // An empty one is the end.
                if read.send((due, buffer)).await.is_err() || length == 0 {
                    return;
                }
            }
        };
        let writing = async {
            while let Some((due, chunk)) = chunks.recv().await {
                sleep_until(due).await;
                self.may_pass().await;
                if chunk.is_empty() {
                    let _ = self.to.shutdown().await;
                    return;
                }
                if !self.write(&chunk).await {
                    return;
                }
            }
        };
        tokio::join!(reading, writing);
    }

    /// Waits while bytes are held back.
    async fn may_pass(&mut self) {
        let (number, direction) = (self.number, self.direction);
        let passes = move |mode: &Mode| {
            let open = match direction {
                Direction::ToServer => mode.to_server,
                Direction::ToClient => mode.to_client,
            };
            open && mode.dead < number
        };
        // The sender lives in the proxy, whose end ends this task.
        let _ = self.mode.wait_for(passes).await;
    }

    /// False when there is nobody to write to.
    async fn write(&mut self, chunk: &[u8]) -> bool {
        let mut length = chunk.len();
        if let Some(left) = &mut self.allowance {
            length = length.min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= length as u64;
        }
        if self.direction == Direction::ToClient {
            self.state
                .answered
                .fetch_add(length as u64, Ordering::SeqCst);
        }
        self.to.write_all(&chunk[..length]).await.is_ok()
    }
}

const CHUNK: usize = 16 * 1024;
const CHUNKS: usize = 256;

#[tokio::test]
async fn the_proxy_forwards_holds_cuts_and_resets() {
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = echo.local_addr().unwrap().to_string();
    let echoing = tokio::spawn(async move {
        let mut all = JoinSet::new();
        while let Ok((mut socket, _)) = echo.accept().await {
            all.spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let proxy = Proxy::to(target).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let mut answer = [0; 3];
    client.write_all(b"one").await.unwrap();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer, proxy.connections(), proxy.open()), (b"one", 1, 1));
    proxy.black_hole();
    client.write_all(b"two").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(50), client.read(&mut answer));
    assert!(silence.await.is_err());
    proxy.forward();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer, proxy.answered()), (b"two", 6));
    proxy.black_hole_open();
    proxy.stop_after(1);
    let mut second = TcpStream::connect(proxy.address()).await.unwrap();
    second.write_all(b"abc").await.unwrap();
    assert_eq!(second.read_u8().await.unwrap(), b'a');
    assert_eq!(proxy.connections(), 2);
    proxy.reset();
    let error = client.read(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    proxy.refuse();
    let mut third = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(third.read(&mut answer).await.is_err());
    echoing.abort();
}
