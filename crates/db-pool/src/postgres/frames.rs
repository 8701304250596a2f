//! Cuts a stream of bytes into PostgreSQL's frames as they pass, keeping only the beginnings that somebody wants.

/// One frame: its letter (0 for the first frames of a session, which have none) and the wanted part of its body.
pub(super) type Frame<'a> = (u8, &'a [u8]);

/// The place in a stream of frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that are known.
    known: usize,
    /// Bytes of the body that are still to come.
    left: usize,
    wanted: usize,
    kept: Vec<u8>,
    bare: bool,
    /// What came was no frame; nothing that follows can be understood.
    lost: bool,
}

impl Frames {
    /// The next byte stands alone.
    pub(super) fn expect_bare_byte(&mut self) {
        self.bare = true;
    }

    /// Takes the next bytes and calls `each` at the end of every frame, with as much of its body as `wanted` says.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        wanted: fn(u8) -> usize,
        mut each: impl FnMut(Frame<'_>),
    ) {
        if self.bare && !bytes.is_empty() {
            self.bare = false;
            bytes = &bytes[1..];
        }
        while !bytes.is_empty() && !self.lost {
            if self.left == 0 {
                bytes = self.read_header(bytes, wanted);
            }
            let now = bytes.len().min(self.left);
            let (body, rest) = bytes.split_at(now);
            let room = self.wanted.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&body[..room.min(now)]);
            self.left -= now;
            bytes = rest;
            if self.left == 0 && self.known == HEADER {
                self.known = 0;
                each((self.header[0], &self.kept));
                self.kept.clear();
            }
        }
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8], wanted: fn(u8) -> usize) -> &'a [u8] {
        // A frame without a letter begins with its length, whose first byte is 0: then 0 is its letter.
        if self.known == 0 && bytes[0] == 0 {
            self.header[0] = 0;
            self.known = 1;
        }
        let now = bytes.len().min(HEADER - self.known);
        let (header, rest) = bytes.split_at(now);
        self.header[self.known..self.known + now].copy_from_slice(header);
        self.known += now;
        if self.known == HEADER {
            let [kind, length @ ..] = self.header;
            let length = u32::from_be_bytes(length) as usize;
            self.lost = length < LENGTH;
            self.left = length.saturating_sub(LENGTH);
            self.wanted = wanted(kind);
        }
        rest
    }
}

const HEADER: usize = 5;
const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(parts: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        let (mut frames, mut seen) = (Frames::default(), Vec::new());
        for part in parts {
            frames.feed(
                part,
                |kind| if kind == b'E' { 2 } else { 0 },
                |(kind, body)| seen.push((kind, body.to_vec())),
            );
        }
        seen
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let bytes = b"\0\0\0\x06abE\0\0\0\x07xyzS\0\0\0\x04E\0\0\0\x05q";
        let whole = all(&[bytes]);
        let expected = [(0, &b""[..]), (b'E', b"xy"), (b'S', b""), (b'E', b"q")];
        assert_eq!(whole, expected.map(|(kind, body)| (kind, body.to_vec())));
        for at in 0..bytes.len() {
            let (start, end) = bytes.split_at(at);
            assert_eq!(all(&[start, end]), whole, "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_looking() {
        assert_eq!(all(&[b"HTTP/1.1 400", b"E\0\0\0\x05q"]), []);
        assert_eq!(all(&[b"E\0\0\0\0", b"E\0\0\0\x05q"]), [(b'E', vec![])]);
    }
}
