//! Numbers as people read them: three digits and the unit that fits.

/// Microseconds: `823 µs`, `4.21 ms`, `1.50 s`.
pub(crate) fn time(us: f64) -> String {
    // Just below a step the rounded number would have a digit too many.
    if us < 999.5 {
        format!("{} µs", three_digits(us))
    } else if us < 999_500.0 {
        format!("{} ms", three_digits(us / 1e3))
    } else {
        format!("{} s", three_digits(us / 1e6))
    }
}

/// Bytes: `21.4 MiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{} {unit}", three_digits(value))
}

/// A share of one: `99.95 %`. What is not all is never shown as all.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    for decimals in [0, 1, 2, 3, 4] {
        let text = format!("{percent:.decimals$}");
        let shown: f64 = text.parse().unwrap_or(percent);
        let misleads = (shown >= 100.0 && share < 1.0) || (shown <= 0.0 && share > 0.0);
        if !misleads && (shown - percent).abs() < 0.005 {
            return format!("{text} %");
        }
    }
    format!("{percent} %")
}

/// A whole number with commas: `23,412`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second: whole from a hundred on.
pub(crate) fn rate(rate: f64) -> String {
    if rate >= 99.5 {
        count(rate.round() as u64)
    } else {
        three_digits(rate)
    }
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    match text.strip_suffix(".00").or_else(|| text.strip_suffix(".0")) {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_change_their_unit_before_they_grow_a_fourth_digit() {
        let cases = [
            (0.0, "0 µs"),
            (7.25, "7.25 µs"),
            (823.0, "823 µs"),
            (999.6, "1 ms"),
            (4_210.0, "4.21 ms"),
            (99_960.0, "100 ms"),
            (1_500_000.0, "1.50 s"),
            (60_000_000.0, "60 s"),
        ];
        for (us, text) in cases {
            assert_eq!(time(us), text);
        }
    }

    #[test]
    fn bytes_are_binary() {
        for (amount, text) in [(0.0, "0 B"), (1_023.0, "1 KiB"), (22_439_526.0, "21.4 MiB")] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn nearly_all_is_not_shown_as_all() {
        let cases = [
            (1.0, "100 %"),
            (0.0, "0 %"),
            (0.5, "50 %"),
            (0.9995, "99.95 %"),
            (0.999_99, "99.999 %"),
            (0.000_01, "0.001 %"),
        ];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn counts_have_commas() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(count(number), text);
        }
    }
}
