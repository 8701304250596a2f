//! How a bench program ends, as its caller sees it.

use std::process::{ExitCode, Termination};

/// The result of a bench program: return it from `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "return it from main, or the caller takes every end for a good one"]
pub enum Exit {
    /// Everything selected was measured, or the reader of the figures went away. Code 0.
    Success,
    /// The arguments or the suite make no sense; nothing was measured. Code 2.
    Usage,
    /// A set-up or an operation panicked; the others were measured. Code 3.
    Incomplete,
    /// SIGINT or SIGTERM; what was measured until then is printed. Code 130.
    Interrupted,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Interrupted => 130,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
