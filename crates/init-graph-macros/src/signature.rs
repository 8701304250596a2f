//! What can be said of a signature before any type is known; every error at once, each at its place.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Error, FnArg, ItemFn, PatType, Result, ReturnType, Signature, Type};

use crate::all;

/// As many as `init_graph::IntoComponent` is implemented for.
const PARAMETERS_MAX: usize = 16;

pub(crate) fn check(function: &ItemFn, blocking: bool) -> Result<()> {
    let signature = &function.sig;
    let mut errors = Vec::new();
    errors.extend(kind(signature, blocking));
    if let Some(token) = &signature.unsafety {
        errors.push(Error::new(token.span, "a component cannot be `unsafe`"));
    }
    if !signature.generics.params.is_empty() {
        errors.push(Error::new_spanned(
            &signature.generics,
            "a component cannot be generic; write one function for each type that is needed",
        ));
    }
    errors.extend(output(signature));
    if let Some(too_many) = signature.inputs.iter().nth(PARAMETERS_MAX) {
        let message = format!(
            "parameter {} of {}, and a component has at most {PARAMETERS_MAX}; \
             take some together as a tuple or as a struct with `#[derive(Deps)]`",
            PARAMETERS_MAX + 1,
            signature.inputs.len(),
        );
        errors.push(Error::new_spanned(too_many, message));
    }
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.push(Error::new_spanned(
                receiver,
                "a component cannot take `self`; take it as `Dep<T>` in a function outside of the `impl`",
            )),
            FnArg::Typed(typed) => errors.extend(parameter(typed)),
        }
    }
    all(errors)
}

fn kind(signature: &Signature, blocking: bool) -> Option<Error> {
    let at = Spans(signature);
    match (&signature.asyncness, blocking) {
        (None, false) => Some(Error::new_spanned(
            at,
            "a component is an `async fn`; one that blocks its thread stays a plain `fn`, \
             with `#[component(blocking)]` and `graph.add_blocking`",
        )),
        (Some(asyncness), true) => Some(Error::new(
            asyncness.span,
            "`blocking` is for a plain `fn`; remove `async` if the body blocks its thread, or else `blocking`",
        )),
        _ => None,
    }
}

/// `fn name`, without what is around it.
struct Spans<'a>(&'a Signature);

impl quote::ToTokens for Spans<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.fn_token.to_tokens(tokens);
        self.0.ident.to_tokens(tokens);
    }
}

fn output(signature: &Signature) -> Option<Error> {
    match &signature.output {
        ReturnType::Default => Some(Error::new_spanned(
            &signature.ident,
            "a component returns a `Result`; write `-> init_graph::Result<()>` for one that makes nothing",
        )),
        ReturnType::Type(_, ty) => match &**ty {
            Type::ImplTrait(_) => Some(Error::new_spanned(
                ty,
                "a component cannot return `impl Trait`; write `init_graph::Result<T>` with the type that others take",
            )),
            ty => named_self(ty),
        },
    }
}

fn parameter(typed: &PatType) -> Option<Error> {
    let ty = &*typed.ty;
    if let Some(attribute) = typed
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("cfg"))
    {
        let message =
            "a parameter cannot have a `cfg`; put it on the function, and write the function twice";
        return Some(Error::new_spanned(attribute, message));
    }
    borrowed(ty).or_else(|| named_self(ty)).or_else(|| match ty {
        Type::ImplTrait(_) => Some(Error::new_spanned(
            ty,
            "a component cannot take `impl Trait`; take `Dep<T>` of one type, or `Dep<dyn Trait>`",
        )),
        _ => None,
    })
}

/// What a graph could not hand out, since it lives as long as it likes.
pub(crate) fn borrowed(ty: &Type) -> Option<Error> {
    if let Type::Reference(reference) = ty {
        let inner = reference.elem.to_token_stream().to_string();
        let message = match &*reference.elem {
            Type::Path(_) if inner == "str" => {
                "a component cannot borrow; take `Dep<String>`, which is shared".to_owned()
            }
            Type::Path(_) if !inner.contains(' ') => {
                format!("a component cannot borrow; take `Dep<{inner}>`, which is shared")
            }
            _ => "a component cannot borrow; take `Dep<T>`, which is shared".to_owned(),
        };
        return Some(Error::new_spanned(ty, message));
    }
    let message = "a component cannot borrow, not even inside of a type; take an owned type";
    reference_in(ty.to_token_stream()).map(|at| Error::new(at, message))
}

/// The first `&` or lifetime that is not `'static`; those of `Fn(&A) -> &B` are no loans.
fn reference_in(tokens: TokenStream) -> Option<Span> {
    let mut before = [None, None];
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is = |token: &Option<TokenTree>, character| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character);
        let of_function = is(&before[0], '-') && is(&before[1], '>');
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let is_lifetime = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '\'');
                if !of_function && !is_lifetime {
                    return Some(punct.span());
                }
            }
            TokenTree::Ident(name) if is(&before[1], '\'') && name != "static" => {
                return Some(name.span());
            }
            TokenTree::Group(group) => {
                let arguments = group.delimiter() == Delimiter::Parenthesis
                    && matches!(before[1], Some(TokenTree::Ident(_)));
                if !arguments && let Some(span) = reference_in(group.stream()) {
                    return Some(span);
                }
            }
            _ => {}
        }
        let [_, last] = before;
        before = [last, Some(token)];
    }
    None
}

/// `Self`, which the inner function would not know.
fn named_self(ty: &Type) -> Option<Error> {
    let message = "`#[component]` does not know `Self`; write the name of the type";
    self_in(ty.to_token_stream()).map(|at| Error::new(at, message))
}

/// The first `Self`.
pub(crate) fn self_in(tokens: TokenStream) -> Option<Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(name) if name == "Self" => Some(name.span()),
        TokenTree::Group(group) => self_in(group.stream()),
        _ => None,
    })
}
