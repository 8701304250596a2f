//! Durations as texts, read while compiling: `"250ms"`, `"1h 30m"`.

use syn::{Error, Expr, LitStr, Result, parse_quote_spanned};

/// The expression of the duration that `text` names.
pub(crate) fn duration(text: &LitStr) -> Result<Expr> {
    match milliseconds(&text.value()) {
        Some(0) => Err(Error::new(
            text.span(),
            "a duration of zero keeps nothing; leave the argument out for the policy's",
        )),
        Some(milliseconds) => Ok(
            parse_quote_spanned!(text.span()=> ::core::time::Duration::from_millis(#milliseconds)),
        ),
        None => {
            let message = format!(
                "`{}` is not a duration; write whole numbers with `ms`, `s`, `m`, `h` or `d`, as in `\"1h 30m\"`",
                text.value()
            );
            Err(Error::new(text.span(), message))
        }
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at(unit_at);
        let after = after.trim_start();
        let end = after.find(|letter: char| !letter.is_ascii_alphabetic());
        let (unit, next) = after.split_at(end.unwrap_or(after.len()));
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(factor)?;
        sum = sum.checked_add(part)?;
        rest = next.trim_start();
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn a_duration_is_whole_numbers_with_units() {
        let read = ["250ms", "5s", "2 m", "1h30m", "1h 30m", "7d", "0s"].map(milliseconds);
        let expected = [250, 5_000, 120_000, 5_400_000, 5_400_000, 604_800_000, 0];
        assert_eq!(read, expected.map(Some));
    }

    #[test]
    fn what_is_no_duration_is_none() {
        let wrong = [
            "",
            " ",
            "5",
            "s",
            "1.5s",
            "-1s",
            "5 parsecs",
            "1h 30",
            "99999999999999999999s",
            "18446744073709551615h",
        ];
        for text in wrong {
            assert_eq!(milliseconds(text), None, "{text:?}");
        }
    }
}
