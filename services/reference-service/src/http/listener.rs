//! The accept loop: our own on hyper-util, with a header timeout, a connection cap and a bounded
//! drain.
//!
//! `axum::serve` sets no timer, so that a client may hold a connection for ever by sending its
//! header byte by byte, and at shutdown it waits for open streams without a bound.

use std::{io, iter, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, Response, header::CONNECTION},
};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A bound socket that does not serve yet: connections wait in its backlog.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

/// What one listener allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest wait for the head of a request, and for the next one of an idle connection.
    pub header_timeout: Duration,
    /// Longest wait for a client to take more of its answer.
    pub write_timeout: Duration,
    /// Connections served at the same time; further ones wait in the backlog.
    pub connections_max: usize,
    /// Longest wait for running requests once the drain has begun.
    pub drain_timeout: Duration,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Drained {
    /// Connections that were cut because the drain took too long.
    pub aborted: usize,
}

impl Listener {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The port is in use, or the address is not one of this machine.
    pub async fn bind(address: SocketAddr, limits: Limits) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let limits = Limits {
            connections_max: within_open_files(limits.connections_max),
            ..limits
        };
        Ok(Self {
            socket,
            address,
            limits,
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain` is cancelled, then finishes running requests within the drain timeout.
    ///
    /// Dropping the future cuts every connection at once.
    pub async fn serve(self, router: Router, drain: CancellationToken) -> Drained {
        let Self { socket, limits, .. } = self;
        let permits = Arc::new(Semaphore::new(limits.connections_max));
        let mut connections = JoinSet::new();
        loop {
            let permit = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                permit = Arc::clone(&permits).acquire_owned() => {
                    permit.expect("the semaphore is never closed")
                }
                // Finished tasks are collected here and below, so that the set stays small.
                Some(_) = connections.join_next() => continue,
            };
            let accepted = tokio::select! {
                biased;
                () = drain.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _peer)) => {
                    let (router, drain) = (router.clone(), drain.clone());
                    connections.spawn(connection(stream, permit, router, limits, drain));
                }
                Err(error) => pause_after(&error).await,
            }
        }
        for stream in queued(socket) {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                break;
            };
            let (router, drain) = (router.clone(), drain.clone());
            connections.spawn(connection(stream, permit, router, limits, drain));
        }
        finish(connections, limits.drain_timeout).await
    }
}

/// The connections that were made before the drain and not accepted yet: to their clients they are as
/// good as any. With the last one the socket is closed, so that a new client is refused at once and
/// goes elsewhere.
fn queued(socket: TcpListener) -> impl Iterator<Item = TcpStream> {
    // Asked of the system itself: tokio knows of those only that it has been woken for.
    let socket = socket.into_std().ok();
    let accepted = iter::from_fn(move || socket.as_ref()?.accept().ok());
    accepted.filter_map(|(stream, _peer)| {
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok()
    })
}

/// Serves one connection; on drain it finishes the running request, or the one that is on its way,
/// and closes.
async fn connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    router: Router,
    limits: Limits,
    drain: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let mut stream = TimeoutStream::new(stream);
    // A client that reads nothing would hold its connection, and what is being sent, for ever.
    stream.set_write_timeout(Some(limits.write_timeout));
    let ending = drain.clone();
    let service = ServiceExt::<Request<Incoming>>::map_response(router, move |mut response| {
        if ending.is_cancelled() {
            say_close(&mut response);
        }
        response
    });
    // Not hyper-util's `auto` builder: to tell HTTP/1 from HTTP/2 it waits for the first bytes
    // without a bound, even when only HTTP/1 is allowed.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(service),
        );
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => match timeout(LINGER, connection.as_mut()).await {
            Ok(ended) => ended,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Tells the client that no further request is read on this connection, before it sends one.
fn say_close<B>(response: &mut Response<B>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

async fn finish(mut connections: JoinSet<()>, limit: Duration) -> Drained {
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limit, all).await.is_ok() {
        return Drained::default();
    }
    let aborted = connections.len();
    connections.shutdown().await;
    Drained { aborted }
}

/// A client that went away costs nothing; a process without file descriptors has to wait for one.
async fn pause_after(error: &io::Error) {
    let of_the_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    );
    if !of_the_client {
        tracing::error!(%error, "cannot accept connections, next try in a second");
        sleep(Duration::from_secs(1)).await;
    }
}

/// Each connection is an open file; without some left, probes, logs and the database fail as well.
#[cfg(unix)]
fn within_open_files(connections_max: usize) -> usize {
    use rustix::process::{Resource, getrlimit};

    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    // For everything else, and the other listener: half.
    let usable = (files / 2).max(1);
    if usable < connections_max {
        tracing::warn!(
            files,
            connections = usable,
            "fewer connections than http.max_connections: the limit of open files is low"
        );
    }
    connections_max.min(usable)
}

#[cfg(not(unix))]
fn within_open_files(connections_max: usize) -> usize {
    connections_max
}

/// How long an idle connection stays open once the drain has begun. A request that is already on its
/// way is answered, and told that it was the last one; closed at once, the connection would take it
/// along: 16 busy clients lost up to 15 requests at a stop, with this none.
const LINGER: Duration = Duration::from_millis(100);

/// Head of a request; hyper answers a longer one with 431.
const HEADER_BYTES_MAX: usize = 64 * 1024;
