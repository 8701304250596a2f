//! A network that swallows everything while connections idle: how long until somebody can read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::QueryDsl as _;
use harness::{Effort, Figures, Suite};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::load::runtime;
use crate::pools::{self, CONNECTIONS, items};
use crate::server::Server;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "dead-network",
        "8 idle connections whose packets all vanish, while new connections get through: seconds until a read succeeds \
         (given up after 10)",
        dead,
    );
}

const PATIENCE: Duration = Duration::from_secs(10);

fn dead(figures: &mut Figures<'_>) {
    let rounds = match figures.effort() {
        Effort::Smoke | Effort::Quick => 1,
        Effort::Normal | Effort::Full => 3,
    };
    let taken = figures.on_all_cores(|| {
        runtime().block_on(async {
            let server = Server::start().await?;
            let mut taken: [Vec<f64>; 2] = Default::default();
            for _ in 0..rounds {
                taken[0].push(ours(&server).await);
                taken[1].push(bb8(&server).await);
            }
            Some(taken)
        })
    });
    let Some([ours, bb8]) = taken else {
        figures.remark("left out: no PostgreSQL is installed");
        return;
    };
    figures.ours("until_read", "s", &ours);
    figures.peer("bb8 diesel-async", "until_read", "s", &bb8);
    figures.goal("until_read", "s", 2.0);
}

async fn ours(server: &Server) -> f64 {
    let hole = Hole::new(server.port()).await;
    let pool = pools::ours(&hole.url(), |config| config.min_idle = CONNECTIONS).await;
    let mut borrowed = Vec::new();
    for _ in 0..CONNECTIONS {
        borrowed.push(pool.acquire().await.expect("a connection"));
    }
    drop(borrowed);
    // Idle for long enough to be asked before they are lent again.
    tokio::time::sleep(Duration::from_millis(600)).await;
    hole.swallow();
    let took = until(async || {
        let Ok(mut connection) = pool.acquire().await else {
            return false;
        };
        read(&mut connection).await
    })
    .await;
    drop(tokio::time::timeout(Duration::from_secs(1), pool.close()).await);
    took
}

async fn bb8(server: &Server) -> f64 {
    let hole = Hole::new(server.port()).await;
    let pool = pools::bb8(&hole.url(), CONNECTIONS, true).await;
    let mut borrowed = Vec::new();
    for _ in 0..CONNECTIONS {
        borrowed.push(pool.get().await.expect("a connection"));
    }
    drop(borrowed);
    hole.swallow();
    until(async || {
        let Ok(mut connection) = pool.get().await else {
            return false;
        };
        read(&mut connection).await
    })
    .await
}

async fn read<C>(connection: &mut C) -> bool
where
    C: diesel_async::AsyncConnection<Backend = diesel::pg::Pg>,
{
    use diesel_async::RunQueryDsl as _;
    let row = items::table.find(1).select(items::name);
    row.first::<String>(connection).await.is_ok()
}

/// Seconds until `read` succeeds.
async fn until(read: impl AsyncFn() -> bool) -> f64 {
    let started = Instant::now();
    let reading = async {
        while !read().await {
            tokio::task::yield_now().await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    started.elapsed().as_secs_f64()
}

/// Forwards to the server; what is open when it is told to swallow hears nothing any more, what comes later does.
struct Hole {
    port: u16,
    current: Arc<std::sync::Mutex<Arc<AtomicBool>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Hole {
    async fn new(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let current: Arc<std::sync::Mutex<Arc<AtomicBool>>> = Arc::default();
        let seen = Arc::clone(&current);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let swallows = Arc::clone(&seen.lock().expect("no panic"));
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await else {
                    return;
                };
                let _ = client.set_nodelay(true);
                let _ = upstream.set_nodelay(true);
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = upstream.into_split();
                tokio::spawn(forward(from_client, to_server, Arc::clone(&swallows)));
                tokio::spawn(forward(from_server, to_client, swallows));
            }
        });
        Self {
            port,
            current,
            accepting,
        }
    }

    fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    fn swallow(&self) {
        let mut current = self.current.lock().expect("no panic");
        std::mem::take(&mut *current).store(true, Ordering::Relaxed);
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    swallows: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !swallows.load(Ordering::Relaxed) && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // Not even the end gets through.
    if swallows.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
