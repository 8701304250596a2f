//! Small pieces of text for terminals and logs: counts, times, and names that are too long.

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
}
