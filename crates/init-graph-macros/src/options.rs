//! What stands between the parentheses of the attribute: each option once, and none against another.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, Path, Result, Token, parse_quote};

use crate::all;
use crate::option::{OPTIONS, Setting, flag};
use crate::value::{Time, path};

/// As written.
pub(crate) struct Options {
    /// Where the crate is.
    pub(crate) krate: Path,
    pub(crate) blocking: bool,
    settings: Vec<(Ident, Setting)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            krate: parse_quote! { ::init_graph },
            blocking: false,
            settings: Vec::new(),
        }
    }
}

impl Parse for Options {
    /// Goes on after an error, so that every mistake is reported at once.
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        while !input.is_empty() {
            if let Err(error) = options.parse_one(&mut seen, input) {
                errors.push(error);
                skip(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.contradictions(&mut errors);
        all(errors).map(|()| options)
    }
}

impl Options {
    fn parse_one(&mut self, seen: &mut Vec<String>, input: ParseStream<'_>) -> Result<()> {
        let key = input
            .call(Ident::parse_any)
            .map_err(|_| Error::new(input.span(), format!("not an option\n{}", allowed())))?;
        let name = key.to_string();
        if !OPTIONS.iter().any(|(option, _)| *option == name) {
            return Err(Error::new(key.span(), unknown(&name)));
        }
        if seen.contains(&name) {
            return Err(Error::new(key.span(), format!("`{name}` is given twice")));
        }
        seen.push(name.clone());
        match name.as_str() {
            "blocking" => {
                self.blocking = true;
                flag(&key, input)?;
            }
            "crate" => self.krate = path(&key, input)?,
            _ => {
                let setting = Setting::parse(&key, input)?;
                self.settings.push((key, setting));
            }
        }
        if input.is_empty() || input.peek(Token![,]) {
            Ok(())
        } else {
            Err(Error::new(input.span(), "a `,` is missing before this"))
        }
    }

    /// The calls on `__component`, in the order as written.
    pub(crate) fn calls(&self, output: &TokenStream) -> TokenStream {
        let calls = self.settings.iter();
        let calls: TokenStream = calls
            .map(|(key, setting)| setting.call(key, &self.krate, output))
            .collect();
        if calls.is_empty() {
            quote! { let _ = __component; }
        } else {
            calls
        }
    }

    fn contradictions(&self, errors: &mut Vec<Error>) {
        for (shorter, longer, why) in CONTRADICTIONS {
            let (Some(inner), Some(outer)) = (self.time(shorter), self.time(longer)) else {
                continue;
            };
            if inner.milliseconds > outer.milliseconds {
                let (inner, outer) = (&inner.text, outer.text.value());
                let message = format!(
                    "`{shorter}` of {} is longer than `{longer}` of {outer}: {why}",
                    inner.value(),
                );
                errors.push(Error::new(inner.span(), message));
            }
        }
        if let (Some(Setting::Text(own)), Some(Setting::After(others))) =
            (self.setting("name"), self.setting("after"))
        {
            let itself = others.iter().filter(|other| other.value() == own.value());
            let message = "a component cannot come after itself";
            errors.extend(itself.map(|other| Error::new(other.span(), message)));
        }
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        let mut settings = self.settings.iter();
        settings
            .find(|(key, _)| key == name)
            .map(|(_, setting)| setting)
    }

    fn time(&self, name: &str) -> Option<&Time> {
        match self.setting(name) {
            Some(Setting::Time(time)) => Some(time),
            _ => None,
        }
    }
}

/// The first may not be longer than the second.
const CONTRADICTIONS: &[(&str, &str, &str)] = &[
    ("timeout", "total_timeout", "an attempt ends with the whole"),
    ("stall_timeout", "timeout", "it could never be reached"),
    (
        "stall_timeout",
        "total_timeout",
        "it could never be reached",
    ),
    ("expected", "timeout", "it would never be ready"),
    ("expected", "total_timeout", "it would never be ready"),
];

/// Passes over the rest of an option that could not be read.
fn skip(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn allowed() -> String {
    let names: Vec<_> = OPTIONS
        .iter()
        .map(|(option, _)| format!("`{option}`"))
        .collect();
    format!("a component takes {}", names.join(", "))
}

fn unknown(name: &str) -> String {
    let near = OPTIONS
        .iter()
        .map(|(option, _)| (strsim::levenshtein(name, option), *option))
        .min()
        .filter(|(changes, _)| changes * 2 <= name.len());
    match near {
        Some((_, near)) => format!(
            "unknown option `{name}`, did you mean `{near}`?\n{}",
            allowed()
        ),
        None => format!("unknown option `{name}`\n{}", allowed()),
    }
}
