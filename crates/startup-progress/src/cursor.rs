//! A client's place in the stream of changes, apart because it crosses the wire as `<run>:<seq>`.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc};

/// How far one client has seen the changes of one run; written `<run>:<seq>`.
///
/// It is the `id` of every server-sent event and what `Last-Event-ID` brings back. A cursor of
/// another run (the process was restarted) is answered with a whole snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The run that the number belongs to.
    pub run: Arc<str>,
    /// The last change that the client has seen.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.run, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (run, seq) = text.rsplit_once(':').ok_or(CursorError::NoColon)?;
        let seq = seq.parse().map_err(CursorError::BadNumber)?;
        Ok(Self {
            run: run.into(),
            seq,
        })
    }
}

/// Why a text is no [`Cursor`].
#[derive(Debug)]
#[non_exhaustive]
pub enum CursorError {
    /// There is no colon between run and number.
    NoColon,
    /// What follows the last colon is no number.
    BadNumber(ParseIntError),
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoColon => f.write_str("a cursor is written <run>:<seq>; the colon is missing"),
            Self::BadNumber(_) => f.write_str("a cursor ends in a sequence number"),
        }
    }
}

impl std::error::Error for CursorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoColon => None,
            Self::BadNumber(error) => Some(error),
        }
    }
}
