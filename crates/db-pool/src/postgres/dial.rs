//! Where a server may be reached, and opening a socket to one of these places.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::config::{Config, Host, LoadBalanceHosts};

/// One place to try, with the name that its certificate must bear.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) name: String,
}

#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// One host of the URL, not yet looked up.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: Host,
    name: String,
    port: u16,
}

/// The hosts in the order to try them.
pub(super) fn targets(config: &Config) -> Vec<Target> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let mut targets: Vec<Target> = (0..hosts.len().max(addresses.len()))
        .filter_map(|at| {
            let address = addresses.get(at).map(|ip| Host::Tcp(ip.to_string()));
            let host = address.or_else(|| hosts.get(at).cloned())?;
            let name = match hosts.get(at).unwrap_or(&host) {
                Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                Host::Unix(_) => String::new(),
            };
            let port = ports.get(at).or_else(|| ports.first()).copied();
            let port = port.unwrap_or(DEFAULT_PORT);
            Some(Target { host, name, port })
        })
        .collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut targets);
    }
    targets
}

impl Target {
    /// Asks the resolver anew, every time: addresses change when a database moves.
    pub(super) async fn places<F>(
        &self,
        resolve: impl FnOnce(String, u16) -> F,
    ) -> io::Result<Vec<Place>>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        let name = self.name.clone();
        match &self.host {
            Host::Tcp(host) => {
                let found = resolve(host.clone(), self.port).await?;
                if found.is_empty() {
                    return Err(io::Error::new(
                        io::ErrorKind::NotFound,
                        "the host has no address",
                    ));
                }
                let place = |address| Place {
                    address: Address::Tcp(address),
                    name: name.clone(),
                };
                Ok(found.into_iter().map(place).collect())
            }
            #[cfg(unix)]
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", self.port));
                let address = Address::Unix(path);
                Ok(vec![Place { address, name }])
            }
        }
    }
}

/// The system's resolver.
pub(super) async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

impl Address {
    pub(super) fn is_local(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }

    /// Opens a socket. The kernel notices a peer that is gone while nobody waits for an answer, or that takes nothing.
    pub(super) async fn dial(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(
                    &TcpKeepalive::new()
                        .with_time(KEEPALIVE_IDLE)
                        .with_interval(KEEPALIVE_INTERVAL)
                        .with_retries(KEEPALIVE_RETRIES),
                )?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        }
    }
}

/// An open socket of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

const DEFAULT_PORT: u16 = 5432;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// Linux: sent and not acknowledged for this long is lost.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_looked_up_at_every_connect() {
        let config: Config = "postgres://app@db.example:6000/x".parse().expect("a URL");
        let target = targets(&config).remove(0);
        for last in [1, 2] {
            let answer: SocketAddr = ([10, 0, 0, last], 6000).into();
            let asked = target.places(|host, port| async move {
                assert_eq!((host.as_str(), port), ("db.example", 6000));
                Ok(vec![answer])
            });
            let places = asked.await.expect("an answer");
            let [
                Place {
                    address: Address::Tcp(found),
                    name,
                },
            ] = places.as_slice()
            else {
                panic!("{places:?}")
            };
            assert_eq!((*found, name.as_str()), (answer, "db.example"));
        }
        let nothing = target.places(|_, _| async { Ok(vec![]) }).await;
        assert_eq!(nothing.expect_err("none").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn each_host_has_its_port_and_its_name() {
        let url = "postgres://a@one:1,two:2/x?hostaddr=10.0.0.1,10.0.0.2";
        let shown: Vec<String> = targets(&url.parse().expect("a URL"))
            .into_iter()
            .map(|target| format!("{:?} {} {}", target.host, target.name, target.port))
            .collect();
        assert_eq!(
            shown,
            [r#"Tcp("10.0.0.1") one 1"#, r#"Tcp("10.0.0.2") two 2"#]
        );
    }
}
