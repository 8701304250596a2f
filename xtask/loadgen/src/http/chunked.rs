//! The chunked transfer coding: where data begins and ends within a stream, fed in any pieces.

use super::decoder::ProtocolError;

/// Longest line of a chunk's size with its extensions, and most bytes of all trailers.
const LINE_MAX: u32 = 16 * 1024;

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Data bytes of the present chunk that are still to come.
    left: u64,
    /// Bytes of the present line, or of all trailers.
    line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a size yet: at least one digit has to come.
    SizeStart,
    Size,
    /// `;name=value` after a size; ignored.
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line; an empty one ends the body.
    TrailerStart,
    Trailer,
    EndLf,
}

/// What [`Chunked::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Some data of the body.
    Data(&'a [u8]),
    /// The end; what follows is no longer of this answer.
    End,
    /// All bytes are used up.
    More,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            state: State::SizeStart,
            left: 0,
            line: 0,
        }
    }

    /// Takes the next piece from the front of `bytes`.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Piece<'a>, ProtocolError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.state == State::Data {
                let length = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let (data, rest) = bytes.split_at(length);
                *bytes = rest;
                self.left -= length as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece::Data(data));
            }
            *bytes = rest;
            if self.state == State::EndLf {
                return if byte == b'\n' {
                    Ok(Piece::End)
                } else {
                    Err(ProtocolError::Chunk)
                };
            }
            self.state = self.after(byte)?;
        }
        Ok(Piece::More)
    }

    /// The state after one byte that is neither data nor the last one.
    fn after(&mut self, byte: u8) -> Result<State, ProtocolError> {
        self.line += 1;
        if self.line > LINE_MAX {
            return Err(ProtocolError::TooLong);
        }
        let next = match (self.state, byte) {
            (State::SizeStart | State::Size, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                let shifted = self.left.checked_mul(16).ok_or(ProtocolError::Chunk)?;
                self.left = shifted + u64::from(digit);
                State::Size
            }
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Extension, byte) if byte != b'\n' => State::Extension,
            (State::SizeLf, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\n') => State::TrailerStart,
            (State::TrailerStart | State::Trailer, byte) if byte != b'\n' => State::Trailer,
            _ => return Err(ProtocolError::Chunk),
        };
        // All trailers share one limit; each size line and the end of each chunk's data begins a new one.
        if matches!(next, State::SizeStart | State::Data) {
            self.line = 0;
        }
        Ok(next)
    }
}
