//! HTTP/1.1 as a client needs it to measure: whole answers out of a stream of bytes.

use std::net::SocketAddr;
use std::time::Duration;

/// An answer to [`get`].
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Blocking `GET` on a connection of its own, bounded by `timeout` as a whole; at most 16 MiB of body.
pub(crate) fn get(
    _address: SocketAddr,
    _host: &str,
    _path: &str,
    _headers: &[(String, String)],
    _timeout: Duration,
) -> std::io::Result<Answer> {
    todo!()
}
