//! Lines of a file as records: each is one, or is bad with its number and a reason.

use std::io::{self, BufRead, Read as _};

use jiff::Timestamp;

use crate::domain::{NewRecord, Record};

/// A line that is no record.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct BadLine {
    /// Counted from 1, empty lines included.
    pub(super) number: u64,
    /// What is wrong with it.
    pub(super) reason: String,
}

/// The records of a reader; empty lines are passed over.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            number: 0,
            line: Vec::new(),
        }
    }

    /// Reads the next line into `line`; false at the end. A line over the limit is read to its end
    /// without being kept.
    fn read(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX + 1);
        let read = limited.read_until(b'\n', &mut self.line)?;
        if self.line.len() as u64 > LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
        }
        self.number += 1;
        Ok(read > 0)
    }

    fn parse(&self) -> Result<NewRecord, String> {
        if self.line.len() as u64 > LINE_BYTES_MAX {
            return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
        }
        // serde would also read a record from a list of its fields.
        if self.line.trim_ascii_start().first() != Some(&b'{') {
            return Err("not a JSON object".to_owned());
        }
        let new: NewRecord =
            serde_json::from_slice(&self.line).map_err(|error| error.to_string())?;
        Record::new(new.clone(), Timestamp::UNIX_EPOCH).map_err(|invalid| invalid.to_string())?;
        Ok(new)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Result<NewRecord, BadLine>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Ok(true) if self.line.trim_ascii().is_empty() => {}
                Ok(true) => {
                    let number = self.number;
                    return Some(Ok(self
                        .parse()
                        .map_err(|reason| BadLine { number, reason })));
                }
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Several times the largest record.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Vec<Result<String, u64>> {
        Lines::new(text)
            .map(|line| {
                line.expect("memory")
                    .map(|new| new.title)
                    .map_err(|bad| bad.number)
            })
            .collect()
    }

    #[test]
    fn bad_lines_are_told_with_their_numbers_and_do_not_hide_the_good_ones() {
        let text = b"[\"a\",\"\",[],3]\n{\"title\":\"a\",\"text\":\"\"}\n\nnot json\n{\"title\":\"\",\"text\":\"\"}\n\
                     {\"title\":\"b\",\"text\":\"\",\"surprise\":1}\n\xff\xfe\n{\"title\":\"c\",\"text\":\"\"}";
        assert_eq!(
            parse(text),
            [
                Err(1),
                Ok("a".to_owned()),
                Err(4),
                Err(5),
                Err(6),
                Err(7),
                Ok("c".to_owned())
            ]
        );
    }

    #[test]
    fn a_line_over_the_limit_is_bad_and_the_next_one_is_read() {
        let mut text = vec![b'x'; 3 * 1024 * 1024];
        text.extend(b"\n{\"title\":\"a\",\"text\":\"\"}\n");
        assert_eq!(parse(&text), [Err(1), Ok("a".to_owned())]);
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        assert_eq!(parse(b""), []);
        assert_eq!(parse(b"\n\n"), []);
    }
}
