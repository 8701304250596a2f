//! Servers that somebody else runs, named by URL; also the check that a server answers, whoever started it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::{Kind, Service};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The servers that the environment names.
pub(crate) fn from_environment() -> Vec<Service> {
    Kind::ALL
        .into_iter()
        .filter_map(|kind| {
            let url = std::env::var(kind.variable()).ok()?;
            (!url.is_empty()).then_some(Service { kind, url })
        })
        .collect()
}

/// Whether something listens where the URL points; the password is not tried and never shown.
pub(crate) fn check(service: &Service) -> anyhow::Result<()> {
    let (host, port) = host_and_port(service.kind, &service.url)?;
    let addresses = (host.as_str(), port)
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {host}"))?;
    for address in addresses {
        if answers(address) {
            return Ok(());
        }
    }
    bail!("nothing listens at {host}:{port}")
}

pub(crate) fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_ok()
}

/// A Redis that still loads, or wants a password, answers with an error: only a plain pong counts.
pub(crate) fn answers_ping(address: SocketAddr) -> bool {
    let pong = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    pong().unwrap_or(false)
}

fn host_and_port(kind: Kind, url: &str) -> anyhow::Result<(String, u16)> {
    let (schemes, default_port) = match kind {
        Kind::Postgres => (["postgres", "postgresql"], 5432),
        Kind::Redis => (["redis", "rediss"], 6379),
    };
    let variable = kind.variable();
    let (scheme, rest) = url
        .split_once("://")
        .with_context(|| format!("{variable} is no URL"))?;
    ensure!(
        schemes.contains(&scheme),
        "{variable} starts with {scheme}, not with {}",
        schemes[0]
    );
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    // [::1]:5432, host:5432, host
    let (host, port) = match host
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => host
            .split_once(':')
            .map_or((host, None), |(host, port)| (host, Some(port))),
    };
    ensure!(!host.is_empty(), "{variable} names no host");
    let port = match port {
        Some(port) => port
            .parse()
            .ok()
            .with_context(|| format!("{variable}: port {port}"))?,
        None => default_port,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn parts(kind: Kind, url: &str) -> Option<(String, u16)> {
        host_and_port(kind, url).ok()
    }

    #[test]
    fn host_and_port_are_found_in_every_usual_form() {
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(
            parts(Kind::Postgres, "postgres://u:p@db:5433/app?x=1"),
            some("db", 5433)
        );
        assert_eq!(parts(Kind::Postgres, "postgresql://db"), some("db", 5432));
        assert_eq!(
            parts(Kind::Postgres, "postgres://u:p@ss@[::1]:1/x"),
            some("::1", 1)
        );
        assert_eq!(
            parts(Kind::Redis, "redis://:secret@cache/0"),
            some("cache", 6379)
        );
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "db:5432",
            "mysql://u:secret@db",
            "postgres://u:secret@/x",
            "postgres://db:x",
        ] {
            let error = host_and_port(Kind::Postgres, url)
                .expect_err(url)
                .to_string();
            assert!(
                error.contains("TEST_DATABASE_URL") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_closed_port_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service = Service {
            kind: Kind::Redis,
            url: format!("redis://{address}"),
        };
        assert!(check(&service).is_ok());
        drop(listener);
        assert!(check(&service).is_err_and(|error| error.to_string().contains("nothing listens")));
        assert!(!answers_ping(address));
    }
}
