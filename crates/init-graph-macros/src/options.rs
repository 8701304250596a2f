//! The options between the parentheses of the attribute.

use std::collections::HashSet;

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Result, Token};

/// As written; times are in milliseconds.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) stage: Option<LitStr>,
    pub(crate) timeout: Option<u64>,
    pub(crate) stop_timeout: Option<u64>,
    pub(crate) optional: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut seen = HashSet::new();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            if !seen.insert(key.to_string()) {
                return Err(Error::new(key.span(), format!("`{key}` is given twice")));
            }
            options.set(&key, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        match key.to_string().as_str() {
            "name" => self.name = Some(text(key, input)?),
            "stage" => self.stage = Some(text(key, input)?),
            "timeout" => self.timeout = Some(milliseconds(&text(key, input)?)?),
            "stop_timeout" => self.stop_timeout = Some(milliseconds(&text(key, input)?)?),
            "optional" => self.optional = true,
            unknown => {
                let message = format!(
                    "unknown option `{unknown}`; a component takes `name`, `stage`, `timeout`, `stop_timeout` and `optional`"
                );
                return Err(Error::new(key.span(), message));
            }
        }
        Ok(())
    }
}

fn text(key: &Ident, input: ParseStream<'_>) -> Result<LitStr> {
    let wrong = |at| Error::new(at, format!("`{key}` takes a text: `{key} = \"...\"`"));
    if !input.peek(Token![=]) {
        return Err(wrong(key.span()));
    }
    input.parse::<Token![=]>()?;
    let value: LitStr = input.parse().map_err(|error| wrong(error.span()))?;
    if value.value().trim().is_empty() {
        return Err(Error::new(value.span(), format!("`{key}` is empty")));
    }
    Ok(value)
}

fn milliseconds(text: &LitStr) -> Result<u64> {
    let value = text.value();
    let wrong = || {
        let message = format!(
            "`{value}` is not a duration; write a whole number and `ms`, `s`, `m` or `h`: `\"5s\"`"
        );
        Error::new(text.span(), message)
    };
    let unit_at = value
        .find(|letter: char| !letter.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (number, unit) = value.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(factor).ok_or_else(wrong)? {
        0 => Err(Error::new(
            text.span(),
            "a time limit of zero cannot be met; leave it out for no limit",
        )),
        milliseconds => Ok(milliseconds),
    }
}
