//! HTTP/1.1 as a client needs it to measure: whole answers out of a stream of bytes.

mod chunked;
mod decoder;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) use decoder::Decoder;
use decoder::ProtocolError;

/// An answer to [`get`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body, decoded if it came in chunks.
    pub body: Vec<u8>,
}

/// Blocking `GET` on a connection of its own, to look at one answer, not to measure. Bounded by `timeout` as a whole; at
/// most 16 MiB of body.
///
/// # Errors
/// If the server does not answer in time, or not with HTTP/1.1.
pub fn get(
    address: SocketAddr,
    host: &str,
    path: &str,
    headers: &[(String, String)],
    timeout: Duration,
) -> io::Result<Answer> {
    let deadline = Instant::now() + timeout.min(DAY);
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    let names_host = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
    if !headers.iter().any(names_host) {
        request.extend(["Host: ", host, "\r\n"]);
    }
    for (name, value) in headers {
        request.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
    }
    request.push_str("\r\n");
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes()).map_err(timed_out)?;

    let mut decoder = Decoder::default();
    decoder.expect(false, BODY_MAX + 1);
    let mut bytes = [0; 16 * 1024];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let whole = match stream.read(&mut bytes) {
            Ok(0) => decoder
                .close()
                .then_some(true)
                .ok_or(io::ErrorKind::UnexpectedEof)?,
            Ok(length) => decoder.feed(&bytes[..length]).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(timed_out(error)),
        };
        if decoder.body().len() > BODY_MAX {
            return Err(io::Error::other(ProtocolError::TooLong));
        }
        if whole {
            let status = decoder.status();
            return Ok(Answer {
                status,
                body: decoder.into_body(),
            });
        }
    }
}

/// Most bytes of a body.
const BODY_MAX: usize = 16 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is left until `deadline`; never zero, which sockets take for "no limit".
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

/// A socket's own time limit shows as "would block".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
