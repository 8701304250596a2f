//! A stream that follows the protocol passing through it, in the clear or inside of TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::wire::{Follower, Wire};

/// A stream and what has been understood of it.
#[derive(Debug)]
pub(super) struct Followed<S> {
    inner: S,
    follower: Follower,
    /// Whoever shares the connection has had a turn since the last write.
    gathered: bool,
}

impl<S> Followed<S> {
    pub(super) fn new(inner: S, wire: Arc<Wire>) -> Self {
        Self::from_parts(inner, Follower::new(wire))
    }

    /// Takes the follower off, to be put on what TLS makes of the stream.
    pub(super) fn into_parts(self) -> (S, Follower) {
        (self.inner, self.follower.restarted())
    }

    pub(super) fn from_parts(inner: S, follower: Follower) -> Self {
        Self {
            inner,
            follower,
            gathered: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buffer);
        match &result {
            Poll::Ready(Ok(())) => this.follower.received(&buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.follower.nothing_received(),
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.follower.is_shared() && !std::mem::replace(&mut this.gathered, true) {
            // The first statement wakes the task that writes at once, ahead of the tasks whose statements could go along:
            // they run before this one comes again. With a write for each, a read costs a seventh more processor time.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.gathered = false;
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        match &result {
            Poll::Ready(Ok(length)) => this.follower.written(&bytes[..*length]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => this.follower.nothing_written(),
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Followed<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}
