//! Where requests go: an HTTP/1.1 address, resolved once before the clock starts.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// An HTTP/1.1 server, as `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of the addresses of the host's name the first that takes a connection, or the first of all.
    pub address: SocketAddr,
    /// What the `Host` header says.
    pub host: String,
    /// The path of the URL, with its query; `/` when it named none. A mix replaces it.
    pub path: String,
}

/// A URL that no load can be sent to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It does not begin with `http://`.
    #[error("{url}: only http:// is spoken here; for TLS, measure behind the proxy that ends it")]
    Scheme {
        /// The URL as it was given.
        url: String,
    },
    /// It names no host, or a port that is no number.
    #[error("{url}: expected http://host:port/path")]
    Form {
        /// The URL as it was given.
        url: String,
    },
    /// The host's name has no address.
    #[error("{host}: no address found for this name")]
    Resolve {
        /// Name and port.
        host: String,
        /// What the resolver said.
        #[source]
        source: Option<std::io::Error>,
    },
}

impl Target {
    /// Reads a URL and resolves its host.
    ///
    /// # Errors
    /// [`TargetError`] names the URL and what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| TargetError::Scheme {
                url: url.to_owned(),
            })?;
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let form = || TargetError::Form {
            url: url.to_owned(),
        };
        let bad = |letter: char| letter.is_whitespace() || letter.is_control();
        if host.is_empty() || host.contains('@') || url.contains(bad) {
            return Err(form());
        }
        let named = host
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        let with_port = match named {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            Some(_) => return Err(form()),
            None => format!("{host}:80"),
        };
        let resolve = |source| TargetError::Resolve {
            host: with_port.clone(),
            source,
        };
        let addresses: Vec<_> = with_port
            .to_socket_addrs()
            .map_err(|error| resolve(Some(error)))?
            .collect();
        let address = *match addresses.as_slice() {
            [] => return Err(resolve(None)),
            [only] => only,
            // `localhost` is often ::1 first, where few services listen.
            [first, ..] => addresses.iter().find(|at| listens(at)).unwrap_or(first),
        };
        let path = path.split('#').next().unwrap_or_default();
        Ok(Self {
            address,
            host: host.to_owned(),
            path: match path.chars().next() {
                None => "/".to_owned(),
                Some('?') => format!("/{path}"),
                Some(_) => path.to_owned(),
            },
        })
    }

    /// A server on this machine.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            host: address.to_string(),
            path: "/".to_owned(),
        }
    }
}

fn listens(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        let target = Target::parse("http://127.0.0.1:8080/api?x=1#top").expect("a URL");
        assert_eq!(
            target.address,
            "127.0.0.1:8080".parse().expect("an address")
        );
        assert_eq!(
            (&*target.host, &*target.path),
            ("127.0.0.1:8080", "/api?x=1")
        );
        let target = Target::parse("http://[::1]?x").expect("a URL");
        assert_eq!(target.address, "[::1]:80".parse().expect("an address"));
        assert_eq!((&*target.host, &*target.path), ("[::1]", "/?x"));
    }

    #[test]
    fn a_name_with_several_addresses_is_the_one_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = format!("http://localhost:{}", address.port());
        assert_eq!(Target::parse(&url).expect("a URL").address, address);
    }

    #[test]
    fn what_cannot_be_reached_is_told_before_a_run() {
        for url in ["https://127.0.0.1/", "127.0.0.1:80", "", "ftp://x"] {
            let error = Target::parse(url).expect_err(url);
            assert!(
                matches!(error, TargetError::Scheme { .. }),
                "{url}: {error}"
            );
        }
        for url in [
            "http://",
            "http:///x",
            "http://h:port/",
            "http://u:p@h/",
            "http://h/a b",
        ] {
            let error = Target::parse(url).expect_err(url);
            assert!(matches!(error, TargetError::Form { .. }), "{url}: {error}");
        }
    }
}
