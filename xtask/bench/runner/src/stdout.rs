//! Text on standard output; a reader that has seen enough, such as `head`, is no error.

use std::io::{self, ErrorKind, Write as _};

/// Prints `text` as it is.
///
/// # Errors
/// If standard output takes no more, unless its reader is gone.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
