//! From the function as written to one that asks the cache first, and one that invalidates.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{Error, Expr, FnArg, ItemFn, Result, parse_quote};

use crate::{
    arguments::{Arguments, Key},
    invalidate,
    parameters::Parameters,
    returned::Returned,
};

pub(crate) fn expand(arguments: &Arguments, mut function: ItemFn) -> Result<TokenStream> {
    if function.sig.asyncness.is_none() {
        let message = "`cached` goes on an async function: the loader is awaited";
        return Err(Error::new_spanned(function.sig.fn_token, message));
    }
    let returned = Returned::of(&function.sig)?;
    returned.check(arguments)?;
    let parameters = Parameters::of(&function.sig);
    check_names(arguments, &parameters)?;
    check_self(&function)?;
    let invalidate = arguments
        .invalidate
        .then(|| invalidate::write(arguments, &function));
    let (krate, value) = (&arguments.krate, &returned.value);
    *function.block = block(arguments, &function, &returned);
    function.sig.output = parse_quote! {
        -> ::core::result::Result<#krate::Lookup<#value>, #krate::LoadError>
    };
    Ok(quote!(#function #invalidate))
}

fn block(arguments: &Arguments, function: &ItemFn, returned: &Returned) -> syn::Block {
    let Arguments {
        cache, tags, krate, ..
    } = arguments;
    let key = key(&arguments.key);
    let ttl = arguments.ttl.iter();
    let negative = arguments.negative.iter().map(|(_, negative)| negative);
    let when = arguments.when.iter();
    let (body, declared) = (&function.block, &returned.declared);
    let convert = returned.convert(arguments);
    // All that the parameters are needed for comes before the body takes them.
    parse_quote!({
        let __key = #key;
        let __cache = ::core::clone::Clone::clone(&(#cache));
        #(let __ttl: ::core::time::Duration = #ttl;)*
        #(let __negative: ::core::time::Duration = #negative;)*
        let __entry = #krate::TieredCache::entry(&__cache, &__key);
        #(let __entry = __entry.tag(#tags);)*
        #(let __entry = if #when { __entry } else { __entry.bypass() };)*
        __entry
            .get_or_load_with(move |_| async move {
                let __body: #declared = async move #body.await;
                #convert
            })
            .await
    })
}

/// The expression of the key.
pub(crate) fn key(key: &Key) -> TokenStream {
    match key {
        Key::Template(template) => quote!(#template),
        Key::Typed(typed) => quote!(::core::clone::Clone::clone(&(#typed))),
    }
}

/// The expressions of the key.
pub(crate) fn key_expressions(key: &Key) -> Vec<&Expr> {
    match key {
        Key::Template(template) => template.expressions().collect(),
        Key::Typed(typed) => vec![typed],
    }
}

fn check_names(arguments: &Arguments, parameters: &Parameters) -> Result<()> {
    match &arguments.key {
        Key::Template(template) => template.check(parameters)?,
        Key::Typed(typed) => {
            let at = syn::spanned::Spanned::span(typed);
            parameters.check(typed, at)?;
        }
    }
    arguments
        .tags
        .iter()
        .try_for_each(|tag| tag.check(parameters))
}

/// A borrowed `self` cannot go with the body to its task; the compiler's own words for that do not say
/// why.
fn check_self(function: &ItemFn) -> Result<()> {
    let borrowed = function.sig.inputs.iter().any(|input| match input {
        FnArg::Receiver(receiver) => receiver.reference.is_some(),
        FnArg::Typed(_) => false,
    });
    let body = &function.block;
    match find_self(quote!(#body)).filter(|_| borrowed) {
        Some(here) => Err(Error::new(here, SELF)),
        None => Ok(()),
    }
}

fn find_self(tokens: TokenStream) -> Option<proc_macro2::Span> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(name) if name == "self" => Some(name.span()),
        TokenTree::Group(group) => find_self(group.stream()),
        _ => None,
    })
}

const SELF: &str = "the body runs on a task of its own and goes on when its caller leaves, so it \
     cannot borrow `self`: take `self: Arc<Self>`, or pass what the body needs as a parameter";
