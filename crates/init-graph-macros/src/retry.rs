//! The option `retry`, which is a number, a list of its own options, or an expression.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::ParseStream;
use syn::{
    Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitFloat, LitInt, Path, Result, Token, UnOp,
    parenthesized, token,
};

use crate::option::{Setting, shape};
use crate::value::{Time, equals, time, value};

pub(crate) struct Retry {
    attempts: LitInt,
    initial: Option<Time>,
    max_delay: Option<Time>,
    jitter: Option<f64>,
    when: Option<Expr>,
}

impl Retry {
    pub(crate) fn call(&self, krate: &Path) -> TokenStream {
        let attempts = &self.attempts;
        let initial = self.initial.iter().map(Time::call);
        let max_delay = self.max_delay.iter().map(Time::call);
        let jitter = self.jitter.iter();
        let when = self.when.iter();
        quote! {
            #krate::__private::Retry::exponential(#attempts)
                #(.initial(#initial))*
                #(.max_delay(#max_delay))*
                #(.jitter(#jitter))*
                #(.when(#when))*
        }
    }
}

pub(crate) fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Setting> {
    if input.peek(token::Paren) {
        let inside;
        parenthesized!(inside in input);
        return parts(key, &inside).map(Setting::Retry);
    }
    Ok(match value(key, input)? {
        Expr::Lit(ExprLit {
            lit: Lit::Int(attempts),
            ..
        }) => Setting::Retry(Retry {
            attempts: several(&attempts)?,
            initial: None,
            max_delay: None,
            jitter: None,
            when: None,
        }),
        Expr::Lit(other) => return Err(Error::new_spanned(other, shape(key))),
        Expr::Unary(
            negative @ ExprUnary {
                op: UnOp::Neg(_), ..
            },
        ) => {
            return Err(Error::new_spanned(negative, shape(key)));
        }
        expression => Setting::Expression(expression),
    })
}

fn parts(retry: &Ident, input: ParseStream<'_>) -> Result<Retry> {
    let (mut attempts, mut initial, mut max_delay) = (None, None, None);
    let (mut jitter, mut when) = (None, None);
    let mut seen: Vec<String> = Vec::new();
    while !input.is_empty() {
        let key: Ident = input
            .parse()
            .map_err(|_| Error::new(input.span(), shape(retry)))?;
        if seen.contains(&key.to_string()) {
            return Err(Error::new(key.span(), format!("`{key}` is given twice")));
        }
        match key.to_string().as_str() {
            "attempts" => attempts = Some(several(&value(&key, input)?)?),
            "initial" => initial = Some(time(&key, input)?),
            "max_delay" => max_delay = Some(time(&key, input)?),
            "jitter" => jitter = Some(share(&key, input)?),
            "when" => when = Some(value(&key, input)?),
            unknown => {
                let message = format!("`retry` has no `{unknown}`; {}", shape(retry));
                return Err(Error::new(key.span(), message));
            }
        }
        seen.push(key.to_string());
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    let attempts = attempts.ok_or_else(|| {
        let message = "`retry(..)` needs `attempts`: how many in all, the first included";
        Error::new(retry.span(), message)
    })?;
    if let Some(initial) = &initial {
        first_wait(initial, max_delay.as_ref())?;
    }
    Ok(Retry {
        attempts,
        initial,
        max_delay,
        jitter,
        when,
    })
}

/// Longer than the longest, it would silently be cut.
fn first_wait(initial: &Time, max_delay: Option<&Time>) -> Result<()> {
    let longest = max_delay.map_or(MAX_DELAY, |max| max.milliseconds);
    if initial.milliseconds <= longest {
        return Ok(());
    }
    let longer = format!("the first wait of {} is longer than", initial.text.value());
    let message = match max_delay {
        Some(max) => format!("{longer} `max_delay = \"{}\"`", max.text.value()),
        None => format!("{longer} the longest of 10s; give `max_delay` as well"),
    };
    Err(Error::new(initial.text.span(), message))
}

/// The default of `init_graph::Retry`, in milliseconds.
const MAX_DELAY: u64 = 10_000;

/// A number of attempts that is a retry at all.
fn several(attempts: &LitInt) -> Result<LitInt> {
    let message = match attempts.base10_parse::<u32>() {
        Ok(0) => "no attempt at all; the number counts the first attempt too, so write 2 or more",
        Ok(1) => {
            "one attempt is no retry; the number counts the first attempt too, so write 2 or more"
        }
        Ok(_) => return Ok(LitInt::new(attempts.base10_digits(), attempts.span())),
        Err(_) => "more attempts than a `u32` counts",
    };
    Err(Error::new(attempts.span(), message))
}

fn share(key: &Ident, input: ParseStream<'_>) -> Result<f64> {
    equals(key, input)?;
    let at = input.span();
    let number: Option<f64> = if input.peek(LitInt) {
        input.parse::<LitInt>()?.base10_parse().ok()
    } else if input.peek(LitFloat) {
        input.parse::<LitFloat>()?.base10_parse().ok()
    } else {
        None
    };
    number
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| Error::new(at, shape(key)))
}

/// How each part is written.
pub(crate) const PARTS: &[(&str, &str)] = &[
    ("attempts", "`attempts = 3`"),
    ("initial", "`initial = \"100ms\"`"),
    ("max_delay", "`max_delay = \"10s\"`"),
    ("jitter", "`jitter = 0.5`, from 0 to 1"),
];
