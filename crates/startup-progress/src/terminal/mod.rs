//! The terminal view: a live list on a terminal, one line per change anywhere else.
//!
//! ```
//! # use startup_progress::{Progress, terminal::TerminalMode};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let progress = Progress::new("reference-service");
//! let painting = tokio::spawn(progress.paint(TerminalMode::Auto).run());
//! progress.step("database").finish();
//! progress.ready();
//! painting.await.expect("the view does not panic");
//! # }
//! ```

mod line;
mod list;
mod log;
mod text;

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use self::{list::View, log::Log};
use crate::{Progress, Readiness, Snapshot};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TerminalMode {
    /// `Tty` when standard error is a terminal that can move its cursor (`TERM` is not `dumb`),
    /// otherwise `Plain`; `Plain` as well with a writer of your own.
    #[default]
    Auto,
    /// A list that is drawn anew in place.
    Tty,
    /// One line per change, for logs.
    Plain,
    /// Nothing.
    Off,
}

/// Draws one [`Progress`] until the service is ready or has failed; made by [`Progress::paint`].
///
/// It writes from the task that runs it, whole frames at a time. Other output to the same terminal
/// meanwhile disturbs the list (it is not erased, only drawn over), so log to a file or use
/// [`TerminalMode::Plain`] beside a logger.
pub struct Painter {
    progress: Progress,
    mode: TerminalMode,
    /// `None` for standard error.
    writer: Option<Box<dyn Write + Send>>,
    /// Columns and rows, when not asked of the terminal.
    size: Option<(u16, u16)>,
    colors: Option<bool>,
}

/// Time between two frames of the list, and least time between two looks of the log.
const FRAME_INTERVAL: Duration = Duration::from_millis(80);

impl Progress {
    /// A view of this progress on standard error: `tokio::spawn(progress.paint(mode).run())`.
    #[must_use]
    pub fn paint(&self, mode: TerminalMode) -> Painter {
        let progress = self.clone();
        Painter {
            progress,
            mode,
            writer: None,
            size: None,
            colors: None,
        }
    }
}

impl Painter {
    /// Writes to `writer` instead of standard error.
    #[must_use]
    pub fn to_writer(self, writer: impl Write + Send + 'static) -> Self {
        Self {
            writer: Some(Box::new(writer)),
            ..self
        }
    }

    /// Draws for so many columns and rows instead of asking the terminal.
    #[must_use]
    pub fn size(self, columns: u16, rows: u16) -> Self {
        Self {
            size: Some((columns, rows)),
            ..self
        }
    }

    /// Whether the list is coloured; by default, unless `NO_COLOR` is set. The log never is.
    #[must_use]
    pub fn colors(self, colors: bool) -> Self {
        Self {
            colors: Some(colors),
            ..self
        }
    }

    /// Draws until the service is ready, draining or failed or the streams are closed; the last
    /// frame shows that state.
    ///
    /// Dropping the future stops the drawing after a whole frame. A writer that fails ends it as
    /// well: a closed terminal is no reason to fail a service.
    pub async fn run(mut self) {
        let result = match self.effective_mode() {
            TerminalMode::Off | TerminalMode::Auto => Ok(()),
            TerminalMode::Tty => self.run_list().await,
            TerminalMode::Plain => self.run_log().await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "terminal view ended: its writer failed");
        }
    }

    fn effective_mode(&self) -> TerminalMode {
        let dumb = || env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self.mode {
            TerminalMode::Auto if self.writer.is_some() => TerminalMode::Plain,
            TerminalMode::Auto if io::stderr().is_terminal() && !dumb() => TerminalMode::Tty,
            TerminalMode::Auto => TerminalMode::Plain,
            chosen => chosen,
        }
    }

    async fn run_list(&mut self) -> io::Result<()> {
        let no_color = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors = self.colors.unwrap_or_else(|| !no_color());
        let mut lines_drawn = 0;
        for tick in 0_usize.. {
            let (columns, rows) = self.current_size();
            let snapshot = self.progress.peek();
            let lines = list::lines(
                &snapshot,
                View {
                    columns,
                    rows,
                    tick,
                },
            );
            let frame = line::frame(&lines, lines_drawn, colors);
            lines_drawn = lines.len();
            self.write(&frame)?;
            if self.is_last(&snapshot) {
                break;
            }
            pause(&self.progress).await;
        }
        Ok(())
    }

    async fn run_log(&mut self) -> io::Result<()> {
        let mut log = Log::default();
        loop {
            let snapshot = self.progress.peek();
            let text = log.lines(&snapshot);
            self.write(&text)?;
            if self.is_last(&snapshot) {
                return Ok(());
            }
            // Dropped at either await, the log is whole: lines are written before and after only.
            self.progress.changed(snapshot.seq).await;
            pause(&self.progress).await;
        }
    }

    fn is_last(&self, snapshot: &Snapshot) -> bool {
        snapshot.status != Readiness::Starting || self.progress.has_ended_for(&snapshot.cursor())
    }

    fn current_size(&self) -> (u16, u16) {
        self.size.unwrap_or_else(|| {
            let (rows, columns) = console::Term::stderr().size();
            (columns, rows)
        })
    }

    /// One write per frame, so that a frame is not torn by other output.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        match &mut self.writer {
            Some(writer) => put(writer, text),
            // Locked for this frame only: other threads may write between two frames.
            None => put(&mut io::stderr().lock(), text),
        }
    }
}

/// Waits for the next frame, or for the end, which is shown at once.
async fn pause(progress: &Progress) {
    let end = progress.wait_for(|now| now != Readiness::Starting || progress.streams_closed());
    // Either way there is something to draw.
    let _ = tokio::time::timeout(FRAME_INTERVAL, end).await;
}

fn put(writer: &mut impl Write, text: &str) -> io::Result<()> {
    writer.write_all(text.as_bytes())?;
    writer.flush()
}

impl fmt::Debug for Painter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Painter")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
