//! Small pieces of text for terminals and logs: counts, times, and words of others that are too long or would do more than
//! be read.

use std::borrow::Cow;
use std::time::Duration;

/// "1 node", "2 nodes".
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Three or four digits and a unit.
pub(crate) fn human(time: Duration) -> String {
    match time.as_micros() {
        0 => "0ms".to_owned(),
        micros @ 1..1_000 => format!("{micros}us"),
        micros @ 1_000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        micros @ 10_000..10_000_000 => format!("{}ms", micros / 1_000),
        _ => format!("{:.1}s", time.as_secs_f64()),
    }
}

/// `text` on one line, with an escape in place of whatever would break the line, steer the terminal or turn the reading
/// order round.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_steering(letter) {
            plain.extend(letter.escape_default());
        } else {
            plain.push(letter);
        }
    }
    plain.into()
}

/// Whether a letter would break a line, steer the terminal or turn the reading order round.
pub(crate) fn is_steering(letter: char) -> bool {
    let ends_line = matches!(letter, '\u{2028}' | '\u{2029}');
    let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || ends_line || turns
}

/// [`plain`], and at most `max` characters of it, the last of them an ellipsis where some were left out.
pub(crate) fn short(text: &str, max: usize) -> String {
    // An escape is longer than what it stands for, so more than these are never wanted.
    let end = text
        .char_indices()
        .nth(max + 1)
        .map_or(text.len(), |(at, _)| at);
    cut(&plain(&text[..end]), max).into_owned()
}

/// At most `max` characters, the last of them an ellipsis where some were left out.
pub(crate) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => text.into(),
        Some(_) => {
            let kept: String = text.chars().take(max.saturating_sub(1)).collect();
            format!("{kept}…").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_have_a_unit() {
        let shown: Vec<_> = [0, 1, 999, 1_500, 10_000, 9_999_999, 12_345_678]
            .into_iter()
            .map(|micros| human(Duration::from_micros(micros)))
            .collect();
        assert_eq!(
            shown,
            ["0ms", "1us", "999us", "1.5ms", "10ms", "9999ms", "12.3s"]
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(cut("größer", 6), "größer");
        assert_eq!(cut("größer", 5), "größ…");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn words_of_others_stay_on_their_line_and_steer_no_terminal() {
        assert_eq!(plain("größer 名"), "größer 名");
        assert_eq!(
            plain("a\r\n\u{1b}[31mb\u{9b}\u{202e}\u{2028}\0"),
            r"a\r\n\u{1b}[31mb\u{9b}\u{202e}\u{2028}\u{0}"
        );
        assert_eq!(short("a\u{1b}b", 8), r"a\u{1b}b");
        assert_eq!(short("a\u{1b}b", 7), r"a\u{1b…");
        assert_eq!(short(&"\n".repeat(9), 5), r"\n\n…");
        assert_eq!(
            (short("", 3), short("abc", 3), short("abcd", 3)),
            ("".into(), "abc".into(), "ab…".into())
        );
    }
}
