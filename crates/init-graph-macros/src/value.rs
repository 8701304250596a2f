//! What stands behind the `=` of an option: texts, times, lists.

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Path, Result, Token, bracketed, token};

use crate::option::shape;

/// A duration as written, in milliseconds.
pub(crate) struct Time {
    pub(crate) text: LitStr,
    pub(crate) milliseconds: u64,
}

/// The value of `key`, or an error that shows how the option is written.
pub(crate) fn value<T: Parse>(key: &Ident, input: ParseStream<'_>) -> Result<T> {
    equals(key, input)?;
    let at = input.span();
    let at = if input.is_empty() { key.span() } else { at };
    input.parse().map_err(|_| Error::new(at, shape(key)))
}

pub(crate) fn equals(key: &Ident, input: ParseStream<'_>) -> Result<()> {
    match input.parse::<Token![=]>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(key.span(), shape(key))),
    }
}

/// A text that says something.
pub(crate) fn text(key: &Ident, input: ParseStream<'_>) -> Result<LitStr> {
    let text: LitStr = value(key, input)?;
    not_empty(key, &text)?;
    Ok(text)
}

fn not_empty(key: &Ident, text: &LitStr) -> Result<()> {
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), format!("`{key}` is empty")));
    }
    Ok(())
}

/// One value or a list of them in brackets.
pub(crate) fn list<T: Parse>(key: &Ident, input: ParseStream<'_>) -> Result<Vec<T>> {
    equals(key, input)?;
    let wrong = |at| Error::new(at, shape(key));
    if !input.peek(token::Bracket) {
        let at = if input.is_empty() {
            key.span()
        } else {
            input.span()
        };
        return input.parse().map(|one| vec![one]).map_err(|_| wrong(at));
    }
    let inside;
    let brackets = bracketed!(inside in input);
    let values = inside.parse_terminated(T::parse, Token![,]);
    let values = values.map_err(|error| wrong(error.span()))?;
    if values.is_empty() {
        return Err(Error::new(
            brackets.span.join(),
            format!("`{key}` is empty"),
        ));
    }
    Ok(values.into_iter().collect())
}

pub(crate) fn texts(key: &Ident, input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    let texts: Vec<LitStr> = list(key, input)?;
    texts.iter().try_for_each(|text| not_empty(key, text))?;
    Ok(texts)
}

/// The path in the text of `crate = "..."`.
pub(crate) fn path(key: &Ident, input: ParseStream<'_>) -> Result<Path> {
    let text = text(key, input)?;
    text.parse_with(Path::parse_mod_style)
        .map_err(|_| Error::new(text.span(), shape(key)))
}

pub(crate) fn time(key: &Ident, input: ParseStream<'_>) -> Result<Time> {
    let text = text(key, input)?;
    match milliseconds(&text.value()) {
        Some(0) => Err(Error::new(text.span(), zero(key))),
        Some(milliseconds) => Ok(Time { text, milliseconds }),
        None => {
            let message = format!(
                "`{}` is not a duration; write a whole number and `ms`, `s`, `m` or `h`, as in `{key} = \"1500ms\"`",
                text.value()
            );
            Err(Error::new(text.span(), message))
        }
    }
}

fn zero(key: &Ident) -> String {
    if key.to_string().ends_with("timeout") {
        format!("a `{key}` of zero cannot be met; leave it out for no limit")
    } else {
        format!("a time of zero for `{key}` says nothing; leave it out for the default")
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        let read = ["250ms", "5s", "2 m", "1h", "0s"].map(milliseconds);
        assert_eq!(
            read,
            [
                Some(250),
                Some(5_000),
                Some(120_000),
                Some(3_600_000),
                Some(0)
            ]
        );
        for wrong in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "5 parsecs",
            "99999999999999999999s",
        ] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
        assert_eq!(milliseconds("18446744073709551615h"), None);
    }
}
