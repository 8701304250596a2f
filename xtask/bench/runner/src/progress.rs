//! What is being done, on standard error: one line that counts up on a terminal, plain lines anywhere else.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often a line is drawn anew. Rarely: drawing takes time from what is being measured.
const REDRAW: Duration = Duration::from_millis(500);

/// Where progress is shown. Clones show it at the same place.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    style: Style,
}

/// Something that takes time; its line ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Phase {
    progress: Progress,
    bar: ProgressBar,
    what: Cow<'static, str>,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Terminal,
    Plain,
    #[cfg(test)]
    Hidden,
}

impl Progress {
    /// On standard error.
    pub(crate) fn stderr() -> Self {
        Self {
            style: if stderr().is_terminal() {
                Style::Terminal
            } else {
                Style::Plain
            },
        }
    }

    /// Nowhere.
    #[cfg(test)]
    pub(crate) fn hidden() -> Self {
        Self {
            style: Style::Hidden,
        }
    }

    /// A line that stays. Not while a [`Phase`] runs: it would tear its line.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        #[cfg(test)]
        if self.style == Style::Hidden {
            return;
        }
        eprintln!("{text}");
    }

    /// Begins something that takes about `expected`, where that is known.
    pub(crate) fn phase(
        &self,
        what: impl Into<Cow<'static, str>>,
        expected: Option<Duration>,
    ) -> Phase {
        let what = what.into();
        let bar = match (self.style, expected) {
            (Style::Terminal, expected) => terminal_bar(&what, expected),
            (_, expected) => {
                let about = expected.map(|time| format!(", about {}", words(time)));
                self.line(format_args!("{what}{}", about.unwrap_or_default()));
                ProgressBar::hidden()
            }
        };
        Phase {
            progress: self.clone(),
            bar,
            what,
            since: Instant::now(),
        }
    }
}

impl Phase {
    /// Says what is being done within it; seen on a terminal only.
    pub(crate) fn say(&self, text: impl Into<Cow<'static, str>>) {
        self.bar.set_message(text);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.progress.style == Style::Terminal {
            self.progress.line(format_args!(
                "{}  {}",
                self.what,
                words(self.since.elapsed())
            ));
        }
    }
}

/// Counts towards `expected`, or only up.
fn terminal_bar(what: &str, expected: Option<Duration>) -> ProgressBar {
    let template = match expected {
        Some(_) => "{prefix}  {time} of about {total}  {wide_msg}",
        None => "{prefix}  {time}  {wide_msg}",
    };
    let total = expected.unwrap_or_default();
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("time", |state: &ProgressState, f: &mut dyn fmt::Write| {
            // A line that cannot be drawn is no reason to stop measuring.
            let _ = f.write_str(&words(state.elapsed()));
        })
        .with_key("total", move |_: &_, f: &mut dyn fmt::Write| {
            let _ = f.write_str(&words(total));
        });
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(what.to_owned());
    bar.enable_steady_tick(REDRAW);
    bar
}

/// A time as one would say it.
fn words(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_unit_one_would_say() {
        let said = |millis| words(Duration::from_millis(millis));
        assert_eq!(said(240), "0 s");
        assert_eq!(said(12_900), "13 s");
        assert_eq!(said(125_000), "2 min 5 s");
    }

    #[test]
    fn a_phase_of_a_hidden_progress_says_nothing_and_ends() {
        let progress = Progress::hidden();
        let phase = progress.phase("measuring", Some(Duration::from_secs(1)));
        phase.say("warm-up");
        assert!(!phase.bar.is_finished());
        let bar = phase.bar.clone();
        drop(phase);
        assert!(bar.is_finished());
    }
}
