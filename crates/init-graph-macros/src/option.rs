//! One option of the attribute: how it is read, and the call of `Component` that it stands for.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitStr, Path, Result, Token, Type, UnOp,
    parenthesized, token,
};

use crate::all;
use crate::component::shown_at;
use crate::retry::{self, Retry};
use crate::value::{Time, list, text, texts, time, value};

/// An option that becomes a call; `blocking` and `crate` are none.
pub(crate) enum Setting {
    Flag,
    Text(LitStr),
    Time(Time),
    Retry(Retry),
    /// Handed on as it is, at its own place.
    Expression(Expr),
    Class(LitStr),
    After(Vec<LitStr>),
    Types(Vec<Type>),
    Provide(Vec<Type>),
    Wire(Vec<(Type, LitStr)>),
}

impl Setting {
    /// Reads what follows `key`, which is one of [`OPTIONS`].
    pub(crate) fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Self> {
        Ok(match key.to_string().as_str() {
            "name" | "stage" => Self::Text(text(key, input)?),
            "retry" => retry::parse(key, input)?,
            "when" => Self::Expression(value(key, input)?),
            "priority" => Self::Expression(priority(key, input)?),
            "class" => class(key, input)?,
            "after" => Self::After(texts(key, input)?),
            "needs" => Self::Types(list(key, input)?),
            "provide" => Self::Provide(list(key, input)?),
            "tag" => Self::Types(vec![value(key, input)?]),
            "wire" => Self::Wire(wires(key, input)?),
            "optional" | "background" => flag(key, input).map(|()| Self::Flag)?,
            _ => Self::Time(time(key, input)?),
        })
    }

    /// The call on `__component`, in a function whose result is `output`.
    pub(crate) fn call(&self, key: &Ident, krate: &Path, output: &TokenStream) -> TokenStream {
        let method = match key.to_string().as_str() {
            "name" => format_ident!("named"),
            "tag" => format_ident!("tagged"),
            _ => key.clone(),
        };
        match self {
            Self::Flag => quote! { __component.#method(); },
            Self::Text(text) => quote! { __component.#method(#text); },
            Self::Time(time) => {
                let time = time.call();
                quote! { __component.#method(#time); }
            }
            Self::Retry(retry) => {
                let retry = retry.call(krate);
                quote! { __component.#method(#retry); }
            }
            Self::Expression(expression) => {
                quote_spanned! { shown_at(expression.span()) => __component.#method(#expression); }
            }
            Self::Class(name) => {
                let class = match name.value().as_str() {
                    "io" => quote! { IO },
                    "cpu" => quote! { CPU },
                    "blocking" => quote! { BLOCKING },
                    _ => quote! { new(#name) },
                };
                quote! { __component.#method(#krate::__private::Class::#class); }
            }
            Self::After(names) => quote! { #(__component.#method(#names);)* },
            Self::Types(types) => quote! { #(__component.#method::<#types>();)* },
            Self::Provide(types) => types
                .iter()
                .map(|ty| {
                    quote_spanned! { shown_at(ty.span()) =>
                        __component.#method::<#output, #ty>(|made| made);
                    }
                })
                .collect(),
            Self::Wire(wires) => wires
                .iter()
                .map(|(ty, name)| quote! { __component.#method::<#ty>(#name); })
                .collect(),
        }
    }
}

impl Time {
    pub(crate) fn call(&self) -> TokenStream {
        let milliseconds = self.milliseconds;
        quote! { ::core::time::Duration::from_millis(#milliseconds) }
    }
}

/// How `key` is written, for whoever wrote it otherwise.
pub(crate) fn shape(key: &Ident) -> String {
    let name = key.to_string();
    let shapes = OPTIONS.iter().chain(retry::PARTS);
    let shape = shapes
        .into_iter()
        .find(|(option, _)| *option == name)
        .map_or("", |(_, shape)| shape);
    format!("`{name}` is written {shape}")
}

pub(crate) fn flag(key: &Ident, input: ParseStream<'_>) -> Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        Ok(())
    } else {
        Err(Error::new(input.span(), shape(key)))
    }
}

// === options with rules of their own ===

fn priority(key: &Ident, input: ParseStream<'_>) -> Result<Expr> {
    let priority: Expr = value(key, input)?;
    let number = match &priority {
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_),
            expr,
            ..
        }) => expr,
        other => other,
    };
    let fits = match number {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse::<i32>().is_ok(),
        Expr::Lit(_) => false,
        _ => true,
    };
    if fits {
        Ok(priority)
    } else {
        Err(Error::new_spanned(&priority, shape(key)))
    }
}

fn class(key: &Ident, input: ParseStream<'_>) -> Result<Setting> {
    let class: Expr = value(key, input)?;
    match class {
        Expr::Lit(ExprLit {
            lit: Lit::Str(name),
            ..
        }) if !name.value().trim().is_empty() => Ok(Setting::Class(name)),
        Expr::Lit(other) => Err(Error::new_spanned(other, shape(key))),
        expression => Ok(Setting::Expression(expression)),
    }
}

fn wires(key: &Ident, input: ParseStream<'_>) -> Result<Vec<(Type, LitStr)>> {
    if !input.peek(token::Paren) {
        return Err(Error::new(key.span(), shape(key)));
    }
    let inside;
    let parentheses = parenthesized!(inside in input);
    let one = |input: ParseStream<'_>| {
        let ty: Type = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok((ty, input.parse::<LitStr>()?))
    };
    let wires: Punctuated<_, Token![,]> = inside
        .parse_terminated(one, Token![,])
        .map_err(|error| Error::new(error.span(), shape(key)))?;
    if wires.is_empty() {
        return Err(Error::new(parentheses.span.join(), shape(key)));
    }
    let wires: Vec<(Type, LitStr)> = wires.into_iter().collect();
    let mut errors = Vec::new();
    let mut wired: Vec<String> = Vec::new();
    for (ty, name) in &wires {
        if name.value().trim().is_empty() {
            errors.push(Error::new(name.span(), "the name of the provider is empty"));
        }
        let written = ty.to_token_stream().to_string();
        if wired.contains(&written) {
            errors.push(Error::new_spanned(ty, "this type is wired twice"));
        }
        wired.push(written);
    }
    all(errors).map(|()| wires)
}

/// Every option in the order of the documentation, and how it is written.
pub(crate) const OPTIONS: &[(&str, &str)] = &[
    ("name", "`name = \"...\"`"),
    ("stage", "`stage = \"...\"`"),
    ("timeout", "`timeout = \"5s\"`"),
    ("total_timeout", "`total_timeout = \"5s\"`"),
    ("stall_timeout", "`stall_timeout = \"5s\"`"),
    ("stop_timeout", "`stop_timeout = \"5s\"`"),
    (
        "retry",
        "`retry = 3` or `retry(attempts = 3, initial = \"100ms\", max_delay = \"10s\", jitter = 0.5, when = function)`",
    ),
    ("optional", "`optional`, without a value"),
    ("background", "`background`, without a value"),
    (
        "when",
        "`when = function` or `when = |config: Dep<Config>| ..`",
    ),
    ("class", "`class = \"cpu\"` or the path of a `Class`"),
    ("priority", "`priority = 10`, an `i32`"),
    ("expected", "`expected = \"200ms\"`"),
    (
        "after",
        "`after = \"name\"` or `after = [\"name\", \"other\"]`",
    ),
    ("needs", "`needs = Type` or `needs = [Type, Other]`"),
    (
        "provide",
        "`provide = dyn Trait` or `provide = [dyn Trait, dyn Other]`",
    ),
    ("tag", "`tag = Type`"),
    ("wire", "`wire(Type = \"name\", Other = \"name\")`"),
    ("blocking", "`blocking`, without a value"),
    ("crate", "`crate = \"path::to::init_graph\"`"),
];
