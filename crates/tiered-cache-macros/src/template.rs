//! Key and tag templates: text with `{expression}` in it, checked against the parameters.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, Expr, LitStr, Result};

use crate::parameters::Parameters;

/// A text with places for expressions over the parameters.
pub(crate) struct Template {
    written: LitStr,
    /// The text in the syntax of `format!`, with `{}` for each expression.
    format: String,
    expressions: Vec<Expr>,
}

impl Template {
    pub(crate) fn read(written: &LitStr) -> Result<Self> {
        let text = written.value();
        let wrong = |message: &str| Error::new(written.span(), message.to_owned());
        if text.is_empty() {
            return Err(wrong(
                "the text is empty: everything would have the same name",
            ));
        }
        let (mut format, mut expressions) = (String::new(), Vec::new());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            format.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                format.push_str("{{");
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                format.push_str("}}");
                rest = after;
            } else if let Some(after) = from.strip_prefix('{') {
                let Some(end) = after.find('}') else {
                    return Err(wrong(
                        "a `{` is never closed; write `{{` for the brace itself",
                    ));
                };
                let (expression, how) = split(&after[..end]);
                if expression.is_empty() {
                    return Err(wrong(
                        "`{}` names nothing; put a parameter in it, as in `{id}`",
                    ));
                }
                expressions.push(LitStr::new(expression, written.span()).parse().map_err(
                    |_| wrong(&format!("`{expression}` in the braces is no expression")),
                )?);
                format.push('{');
                format.push_str(how);
                format.push('}');
                rest = &after[end + 1..];
            } else {
                return Err(wrong(
                    "a `}` was never opened; write `}}` for the brace itself",
                ));
            }
        }
        format.push_str(rest);
        Ok(Self {
            written: written.clone(),
            format,
            expressions,
        })
    }

    /// Whether every expression begins with a parameter.
    pub(crate) fn check(&self, parameters: &Parameters) -> Result<()> {
        self.expressions
            .iter()
            .try_for_each(|expression| parameters.check(expression, self.written.span()))
    }

    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.expressions.iter()
    }
}

/// What is named, and how it is to be formatted (with its colon).
fn split(inside: &str) -> (&str, &str) {
    let bytes = inside.as_bytes();
    let colon = (0..bytes.len()).find(|&at| {
        let path = bytes.get(at + 1) == Some(&b':') || at > 0 && bytes[at - 1] == b':';
        bytes[at] == b':' && !path
    });
    let (expression, how) = inside.split_at(colon.unwrap_or(inside.len()));
    (expression.trim(), how)
}

impl ToTokens for Template {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let format = LitStr::new(&self.format, self.written.span());
        let expressions = &self.expressions;
        tokens.extend(quote!(::std::format!(#format #(, #expressions)*)));
    }
}
