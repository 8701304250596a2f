//! The arguments of `#[cached]`: which are known, what each holds, and what is said of a wrong one.

use proc_macro2::{Span, TokenTree};
use syn::{
    Error, Expr, ExprLit, Ident, Lit, LitBool, LitStr, Path, Result, Token, bracketed,
    ext::IdentExt as _,
    parse::{Parse, ParseStream},
    parse_quote,
};

use crate::{duration::duration, near::near, template::Template};

/// As written; each at most once.
pub(crate) struct Arguments {
    pub(crate) cache: Expr,
    pub(crate) key: Key,
    pub(crate) ttl: Option<Expr>,
    pub(crate) negative: Option<(Span, Expr)>,
    pub(crate) tags: Vec<Template>,
    pub(crate) when: Option<Expr>,
    pub(crate) skip: Option<Expr>,
    pub(crate) invalidate: bool,
    pub(crate) krate: Path,
}

/// How the key is made of the parameters.
pub(crate) enum Key {
    /// A text: the key is a `String`.
    Template(Template),
    /// An expression of the key's own type, which is cloned.
    Typed(Expr),
}

#[derive(Default)]
struct Given {
    cache: Option<Expr>,
    key: Option<Key>,
    ttl: Option<Expr>,
    negative: Option<(Span, Expr)>,
    tags: Vec<Template>,
    when: Option<Expr>,
    skip: Option<Expr>,
    invalidate: Option<bool>,
    krate: Option<Path>,
}

impl Parse for Arguments {
    /// Goes on after an error, so that every mistake is reported at once.
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut given = Given::default();
        let mut seen: Vec<String> = Vec::new();
        let mut errors: Option<Error> = None;
        let mut note = |error: Error| match &mut errors {
            Some(all) => all.combine(error),
            None => errors = Some(error),
        };
        while !input.is_empty() {
            if let Err(error) = given.one(&mut seen, input) {
                note(error);
                pass_over(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        if !seen.iter().any(|name| name == "cache") {
            note(missing("cache", "cache = self.users"));
        }
        if !seen.iter().any(|name| name == "key") {
            note(missing("key", "key = \"user:{id}\"` or `key = id"));
        }
        match (errors, given.cache, given.key) {
            (None, Some(cache), Some(key)) => Ok(Self {
                cache,
                key,
                ttl: given.ttl,
                negative: given.negative,
                tags: given.tags,
                when: given.when,
                skip: given.skip,
                invalidate: given.invalidate.unwrap_or(true),
                krate: given.krate.unwrap_or_else(|| parse_quote!(::tiered_cache)),
            }),
            (Some(errors), ..) => Err(errors),
            (None, ..) => Err(Error::new(Span::call_site(), known())),
        }
    }
}

impl Given {
    fn one(&mut self, seen: &mut Vec<String>, input: ParseStream<'_>) -> Result<()> {
        // `crate` is a keyword.
        let name = input.call(Ident::parse_any)?;
        let text = name.to_string();
        if !KNOWN.contains(&text.as_str()) {
            return Err(Error::new(name.span(), unknown(&text)));
        }
        if seen.contains(&text) {
            return Err(Error::new(name.span(), format!("`{text}` is given twice")));
        }
        seen.push(text.clone());
        if input.parse::<Token![=]>().is_err() {
            let message = format!("`{text}` needs a value: `{}`", example(&text));
            return Err(Error::new(name.span(), message));
        }
        match text.as_str() {
            "cache" => self.cache = Some(expression(input)?),
            "key" => self.key = Some(key(input)?),
            "ttl" => self.ttl = Some(time(input)?),
            "negative" => self.negative = Some((name.span(), time(input)?)),
            "tags" => self.tags = tags(input)?,
            "when" => self.when = Some(expression(input)?),
            "skip" => self.skip = Some(expression(input)?),
            "invalidate" => self.invalidate = Some(input.parse::<LitBool>()?.value),
            _ => {
                let path: LitStr = input.parse()?;
                self.krate = Some(path.parse_with(Path::parse_mod_style)?);
            }
        }
        Ok(())
    }
}

/// An expression, bare or in quotes.
fn expression(input: ParseStream<'_>) -> Result<Expr> {
    match input.parse()? {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => text.parse(),
        bare => Ok(bare),
    }
}

fn key(input: ParseStream<'_>) -> Result<Key> {
    match input.parse()? {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Template::read(&text).map(Key::Template),
        typed => Ok(Key::Typed(typed)),
    }
}

/// A duration as text, or an expression that gives one.
fn time(input: ParseStream<'_>) -> Result<Expr> {
    match input.parse()? {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => duration(&text),
        bare => Ok(bare),
    }
}

/// One text or a list of them in brackets.
fn tags(input: ParseStream<'_>) -> Result<Vec<Template>> {
    if input.peek(LitStr) {
        return Ok(vec![Template::read(&input.parse()?)?]);
    }
    let inside;
    bracketed!(inside in input);
    let texts = inside.parse_terminated(<LitStr as Parse>::parse, Token![,])?;
    texts.iter().map(Template::read).collect()
}

/// Passes over the rest of an argument that could not be read.
fn pass_over(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn missing(name: &str, example: &str) -> Error {
    let message = format!("`cached` needs `{name}`, such as `{example}`");
    Error::new(Span::call_site(), message)
}

fn unknown(name: &str) -> String {
    match near(name, KNOWN.iter().copied()) {
        Some(near) => format!(
            "unknown argument `{name}`, did you mean `{near}`?\n{}",
            known()
        ),
        None => format!("unknown argument `{name}`\n{}", known()),
    }
}

fn known() -> String {
    let names: Vec<_> = KNOWN.iter().map(|name| format!("`{name}`")).collect();
    format!("`cached` takes {}", names.join(", "))
}

fn example(name: &str) -> &'static str {
    match name {
        "cache" => "cache = self.users",
        "key" => "key = \"user:{id}\"",
        "ttl" => "ttl = \"10m\"",
        "negative" => "negative = \"30s\"",
        "tags" => "tags = [\"team:{team}\"]",
        "when" => "when = id != 0",
        "skip" => "skip = |user| user.hidden",
        "invalidate" => "invalidate = false",
        _ => "crate = \"path::to::tiered_cache\"",
    }
}

const KNOWN: [&str; 9] = [
    "cache",
    "key",
    "ttl",
    "negative",
    "tags",
    "when",
    "skip",
    "invalidate",
    "crate",
];
