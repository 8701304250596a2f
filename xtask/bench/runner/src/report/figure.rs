//! Numbers as a person reads them: three digits that mean something, in the unit that keeps them short.

use harness::Metric;

/// `value` in `unit` as text: `51.5 ns`, `1.23 ms`, `42.0 MiB`, `41,200/s`.
pub(crate) fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ns" => scaled(value, 1e3, &["ns", "µs", "ms", "s"]),
        "us" => scaled(value * 1e3, 1e3, &["ns", "µs", "ms", "s"]),
        "ms" => scaled(value * 1e6, 1e3, &["ns", "µs", "ms", "s"]),
        "bytes" => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB"]),
        "req/s" => format!("{}/s", number(value)),
        "ratio" => percent(value),
        "count" => number(value),
        other => format!("{} {other}", number(value)),
    }
}

/// A share as percent. What is not all is never rounded to 100 %.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match format!("{percent:.2}").as_str() {
        "100.00" if share < 1.0 => "99.99 %".to_owned(),
        "100.00" => "100 %".to_owned(),
        "0.00" if share > 0.0 => "<0.01 %".to_owned(),
        "0.00" => "0 %".to_owned(),
        text => format!("{text} %"),
    }
}

/// Half the width of the interval as a share of the value, `± 3 %`; empty where nothing is known.
pub(crate) fn spread(metric: &Metric) -> String {
    let half = (metric.high - metric.low) / 2.0;
    if half <= 0.0 || metric.value == 0.0 {
        return String::new();
    }
    let percent = (half / metric.value).abs() * 100.0;
    if percent < 1.0 {
        "± <1 %".to_owned()
    } else {
        format!("± {percent:.0} %")
    }
}

/// A whole number with commas.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits, with commas from a thousand up.
fn number(value: f64) -> String {
    if value.abs() >= 999.5 && value.abs() < 1e15 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", thousands(value.abs().round() as u64));
    }
    if value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    three_digits(value)
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut place) = (value, 0);
    // 999.6 would be written as 1000.
    while value.abs() >= step - 0.5 && place + 1 < units.len() {
        value /= step;
        place += 1;
    }
    let digits = if value == 0.0 {
        "0".to_owned()
    } else {
        three_digits(value)
    };
    format!("{digits} {}", units[place])
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_in_the_unit_that_keeps_them_short() {
        for (value, unit, expected) in [
            (51.53, "ns", "51.5 ns"),
            (999.7, "ns", "1.00 µs"),
            (1234.0, "us", "1.23 ms"),
            (250.0, "ms", "250 ms"),
            (61_000.0, "ms", "61.0 s"),
            (0.0, "ms", "0 ns"),
            (512.0, "bytes", "512 B"),
            (44_040_192.0, "bytes", "42.0 MiB"),
            (41_234.4, "req/s", "41,234/s"),
            (999.6, "req/s", "1,000/s"),
            (3.0, "count", "3"),
            (2.346, "count", "2.35"),
            (7.5, "widgets", "7.50 widgets"),
        ] {
            assert_eq!(figure(value, unit), expected);
        }
    }

    #[test]
    fn a_share_is_all_or_nothing_only_if_it_is() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999), "99.99 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_001), "<0.01 %");
        assert_eq!(percent(0.5), "50.00 %");
    }

    #[test]
    fn commas_stand_between_thousands() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
    }
}
