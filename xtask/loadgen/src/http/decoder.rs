//! One answer after another out of the bytes of a connection, without input or output and without allocating on the
//! usual path: a head that arrives in one piece is parsed where it lies, a body that nobody wants is only counted.

use std::mem::MaybeUninit;

use super::chunked::{Chunked, Piece};

/// Most bytes of one head.
const HEAD_MAX: usize = 64 * 1024;

/// Most fields of one head. It bounds how often a head that arrives in pieces is parsed again.
const FIELDS_MAX: usize = 100;

/// Most interim answers (1xx) before the real one.
const INTERIM_MAX: u8 = 16;

/// Bytes that are no HTTP/1.1 answer, or none that this client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("the head of the answer is not HTTP/1.1")]
    Head,
    #[error("the head of the answer does not say clearly how long its body is")]
    Length,
    #[error("the chunked body of the answer is malformed")]
    Chunk,
    #[error("a part of the answer is longer than this client accepts")]
    TooLong,
    #[error("bytes follow the answer that no request asked for")]
    Trailing,
}

/// Decodes the answers of one connection: [`expect`](Self::expect), [`feed`](Self::feed) until it says that the answer
/// is whole, and again.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    is_head: bool,
    /// Most bytes of a body that are kept; all others are only counted.
    keeps: usize,
    status: u16,
    keeps_alive: bool,
    interim: u8,
    /// The beginning of a head that has not arrived whole.
    head: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes are to come.
    Counted(u64),
    Chunked(Chunked),
    /// Everything until the connection ends.
    UntilClose,
    Whole,
}

/// What a head says of its answer.
struct Head {
    status: u16,
    keeps_alive: bool,
    /// `None` if the status or the request says that no body follows.
    body: Option<State>,
}

impl Decoder {
    /// Begins the next answer: one to a `HEAD` request or not, of whose body so many bytes are kept.
    pub(crate) fn expect(&mut self, is_head: bool, keeps: usize) {
        self.state = State::Head;
        self.is_head = is_head;
        self.keeps = keeps;
        self.keeps_alive = false;
        self.interim = 0;
        self.head.clear();
        self.body.clear();
    }

    /// Takes bytes as they arrive and says whether the answer is whole.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, ProtocolError> {
        while !bytes.is_empty() {
            match self.state {
                State::Head => self.feed_head(&mut bytes)?,
                State::Counted(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(length);
                    self.keep(data);
                    bytes = rest;
                    self.state = match left - length as u64 {
                        0 => State::Whole,
                        left => State::Counted(left),
                    };
                }
                State::Chunked(mut chunked) => {
                    let piece = chunked.next(&mut bytes)?;
                    self.state = State::Chunked(chunked);
                    match piece {
                        Piece::Data(data) => self.keep(data),
                        Piece::End => self.state = State::Whole,
                        Piece::More => {}
                    }
                }
                State::UntilClose => {
                    self.keep(bytes);
                    bytes = &[];
                }
                State::Whole => return Err(ProtocolError::Trailing),
            }
        }
        Ok(matches!(self.state, State::Whole))
    }

    /// The connection has ended: whether that made the answer whole.
    pub(crate) fn close(&mut self) -> bool {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Whole;
        }
        matches!(self.state, State::Whole)
    }

    /// The status of the present answer, once its head is there.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The body of the present answer, as far as it is kept.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The same, by value.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Whether another request may follow on this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    fn feed_head(&mut self, bytes: &mut &[u8]) -> Result<(), ProtocolError> {
        if self.head.is_empty() {
            match parse_head(bytes, self.is_head)? {
                Some((length, head)) => {
                    *bytes = &bytes[length..];
                    return self.begin_body(&head);
                }
                None => self.head.extend_from_slice(bytes),
            }
        } else {
            let before = self.head.len();
            let line_ended = bytes.contains(&b'\n');
            self.head.extend_from_slice(bytes);
            if line_ended && let Some((length, head)) = parse_head(&self.head, self.is_head)? {
                // What of these bytes is no longer head; `length` exceeds `before`, for that much was no whole head.
                *bytes = &bytes[length.saturating_sub(before)..];
                self.head.clear();
                return self.begin_body(&head);
            }
        }
        *bytes = &[];
        if self.head.len() > HEAD_MAX {
            Err(ProtocolError::TooLong)
        } else {
            Ok(())
        }
    }

    fn begin_body(&mut self, head: &Head) -> Result<(), ProtocolError> {
        self.state = match (head.status, head.body) {
            // Nobody asked for another protocol.
            (101, _) => return Err(ProtocolError::Head),
            (100..200, _) => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(ProtocolError::TooLong);
                }
                State::Head
            }
            (_, None | Some(State::Counted(0))) => State::Whole,
            (_, Some(body)) => body,
        };
        self.status = head.status;
        self.keeps_alive = head.keeps_alive && !matches!(self.state, State::UntilClose);
        Ok(())
    }

    fn keep(&mut self, data: &[u8]) {
        let room = self.keeps - self.body.len();
        self.body.extend_from_slice(&data[..room.min(data.len())]);
    }
}

/// The head at the front of `bytes` with its length, or `None` if it is not whole.
fn parse_head(bytes: &[u8], is_head: bool) -> Result<Option<(usize, Head)>, ProtocolError> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut fields)
        .map_err(|_| ProtocolError::Head)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    if length > HEAD_MAX {
        return Err(ProtocolError::TooLong);
    }
    let status = response.code.unwrap_or_default();
    if status < 100 {
        return Err(ProtocolError::Head);
    }
    let mut keeps_alive = response.version == Some(1);
    let mut counted = None;
    let mut chunked = false;
    for field in response.headers.iter() {
        // By length first: few fields have one of these three.
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                keeps_alive = connection(field.value, keeps_alive);
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = decimal(field.value).ok_or(ProtocolError::Length)?;
                if counted.is_some_and(|before| before != length) {
                    return Err(ProtocolError::Length);
                }
                counted = Some(length);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                // No other coding was asked for, and twice chunked is not allowed.
                if chunked || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(ProtocolError::Length);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    let body = match (chunked, counted) {
        _ if is_head || matches!(status, 100..200 | 204 | 304) => None,
        // Both at once is how requests are smuggled: whoever sends it is to be repaired, not measured.
        (true, Some(_)) => return Err(ProtocolError::Length),
        (true, None) => Some(State::Chunked(Chunked::new())),
        (false, Some(length)) => Some(State::Counted(length)),
        (false, None) => Some(State::UntilClose),
    };
    Ok(Some((
        length,
        Head {
            status,
            keeps_alive,
            body,
        },
    )))
}

/// What a `Connection` field says of reuse; `before` if it says nothing.
fn connection(value: &[u8], before: bool) -> bool {
    let mut keeps_alive = before;
    for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keeps_alive
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
