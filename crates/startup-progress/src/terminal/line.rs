//! A coloured line that knows its width, and the frame made of such lines.

use std::fmt::Write;

use console::measure_text_width;

/// The role of a piece of text; one place decides on its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Normal,
    Strong,
    Dim,
    Good,
    Bad,
    Busy,
    Warn,
}

impl Role {
    fn code(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Strong => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Busy => "\x1b[36m",
            Self::Warn => "\x1b[33m",
        }
    }
}

/// One line of the list, never wider than it was made for.
#[derive(Debug, Default)]
pub(super) struct Line {
    pieces: Vec<(Role, String)>,
    width: usize,
    width_max: usize,
}

impl Line {
    pub(super) fn new(width_max: usize) -> Self {
        Self {
            width_max,
            ..Self::default()
        }
    }

    /// Adds a piece, cut to what is left of the line.
    pub(super) fn push(&mut self, role: Role, text: &str) {
        let text = cut(text, self.width_max.saturating_sub(self.width));
        self.width += measure_text_width(&text);
        self.pieces.push((role, text));
    }

    /// Adds a piece, padded with spaces on the right to `width` columns.
    pub(super) fn push_padded(&mut self, role: Role, text: &str, width: usize) {
        let text = cut(text, width);
        let padding = width.saturating_sub(measure_text_width(&text));
        self.push(role, &text);
        self.push(Role::Normal, &" ".repeat(padding));
    }

    fn render(&self, colors: bool) -> String {
        let mut text = String::new();
        for (role, piece) in &self.pieces {
            let code = if colors && !piece.is_empty() {
                role.code()
            } else {
                ""
            };
            text.push_str(code);
            text.push_str(piece);
            if !code.is_empty() {
                text.push_str("\x1b[0m");
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// What to write to show `lines` in the place of the `drawn` lines before.
///
/// The synchronized-update marks let a terminal show the frame at once; others ignore them.
pub(super) fn frame(lines: &[Line], drawn: usize, colors: bool) -> String {
    let mut text = String::from("\x1b[?2026h");
    if drawn > 0 {
        // Up to the first line's beginning. Writing to a String cannot fail.
        let _ = write!(text, "\x1b[{drawn}F");
    }
    for line in lines {
        text.push_str(&line.render(colors));
        // Erases what a longer line has left.
        text.push_str("\x1b[K\n");
    }
    // Erases the lines that a longer list has left.
    text.push_str("\x1b[J\x1b[?2026l");
    text
}

/// `text` in at most `width` columns, ending in `…` where something was cut.
fn cut(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = measure_text_width(c.encode_utf8(&mut [0; 4]));
        // One column stays free for the ellipsis.
        if used + next >= width {
            break;
        }
        cut.push(c);
        used += next;
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}
