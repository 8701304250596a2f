//! Asks a server to stop the statement of another session, and waits until it has passed that on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::dial::{Address, Place};
use super::tls::Tls;

/// Where and how to ask.
#[derive(Clone)]
pub(super) struct Cancel {
    pub(super) place: Place,
    /// As the session itself is encrypted or not.
    pub(super) tls: Option<Tls>,
    pub(super) process: i32,
    pub(super) secret: i32,
}

impl Cancel {
    /// Returns when the server has closed the socket, which it does after it has signalled the session: only then a
    /// signal cannot hit a later statement any more. (Not waiting killed 40 of 1,500 following statements.)
    ///
    /// The server never says whether there was anything to stop.
    pub(super) async fn run(&self) -> Result<(), NotCancelled> {
        let limit = || {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "the server did not take the request",
            )
        };
        let sent = AtomicBool::new(false);
        let asked = timeout(LIMIT, self.ask(&sent)).await;
        asked
            .unwrap_or_else(|_| Err(limit()))
            .map_err(|error| NotCancelled {
                error,
                may_arrive: AtomicBool::load(&sent, Ordering::Relaxed),
            })
    }

    async fn ask(&self, sent: &AtomicBool) -> io::Result<()> {
        let mut socket = self.place.address.dial().await?;
        let tls = self
            .tls
            .as_ref()
            .filter(|_| matches!(self.place.address, Address::Tcp(_)));
        let Some(tls) = tls else {
            return self.send(socket, sent).await;
        };
        socket.write_all(&SSL_REQUEST).await?;
        if socket.read_u8().await? != b'S' {
            return Err(io::Error::other("the server has no TLS any more"));
        }
        let encrypted = tls.handshake(&self.place.name).with(socket).await?;
        self.send(encrypted, sent).await
    }

    async fn send(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        sent: &AtomicBool,
    ) -> io::Result<()> {
        let mut request = [0; 16];
        request[..4].copy_from_slice(&16_u32.to_be_bytes());
        request[4..8].copy_from_slice(&CANCEL_REQUEST.to_be_bytes());
        request[8..12].copy_from_slice(&self.process.to_be_bytes());
        request[12..].copy_from_slice(&self.secret.to_be_bytes());
        sent.store(true, Ordering::Relaxed);
        stream.write_all(&request).await?;
        stream.flush().await?;
        // However it closes: also by a reset, or without TLS' own farewell.
        while matches!(stream.read(&mut request).await, Ok(length) if length > 0) {}
        Ok(())
    }
}

/// A request that the server has not confirmed.
#[derive(Debug)]
pub(super) struct NotCancelled {
    pub(super) error: io::Error,
    /// It was sent, and may yet stop whatever the session is doing by then.
    pub(super) may_arrive: bool,
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const CANCEL_REQUEST: u32 = 80_877_102;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(1);
