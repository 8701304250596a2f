//! The response body that knows when it has ended, and whether it ended well.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::endpoint::Outcome;
use super::guard::InFlight;

pin_project! {
    /// The body of a measured response: passes everything on and counts the request out at its end.
    ///
    /// Dropped before its end, it counts the request as aborted, with the status that was sent.
    #[derive(Debug)]
    pub struct PerfBody<B> {
        #[pin]
        inner: B,
        in_flight: Option<InFlight>,
        // Bytes still to come, if the response said how many there are: a server may stop polling
        // after the last one.
        remaining: Option<u64>,
    }
}

impl<B: Body> PerfBody<B> {
    pub(crate) fn wrap(
        response: Response<B>,
        in_flight: Option<InFlight>,
        is_head: bool,
    ) -> Response<Self> {
        let (parts, inner) = response.into_parts();
        let declared = parts.headers.get(header::CONTENT_LENGTH);
        let declared: Option<u64> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
        let remaining = declared.or_else(|| inner.size_hint().exact());
        let mut body = Self {
            inner,
            in_flight,
            remaining,
        };
        if let Some(in_flight) = &mut body.in_flight {
            in_flight.head_sent(parts.status.as_u16());
        }
        let is_empty = declared == Some(0) || body.inner.is_end_stream();
        if is_head || has_no_body(parts.status) || is_empty {
            // A server need not poll such a body.
            finish(&mut body.in_flight, Outcome::Complete);
        }
        Response::from_parts(parts, body)
    }
}

impl<B: Body> Body for PerfBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let polled = match this.in_flight {
            Some(in_flight) => in_flight.run(|| this.inner.as_mut().poll_frame(cx)),
            None => this.inner.as_mut().poll_frame(cx),
        };
        let frame = ready!(polled);
        match &frame {
            None => finish(this.in_flight, Outcome::Complete),
            Some(Err(_)) => finish(this.in_flight, Outcome::BodyError),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining) as u64;
                if let Some(remaining) = this.remaining {
                    *remaining = remaining.saturating_sub(bytes);
                }
                if *this.remaining == Some(0) || this.inner.is_end_stream() {
                    finish(this.in_flight, Outcome::Complete);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn finish(in_flight: &mut Option<InFlight>, outcome: Outcome) {
    if let Some(mut in_flight) = in_flight.take() {
        in_flight.finish(outcome);
    }
}

/// Statuses whose responses carry no body, or hand the connection over.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
