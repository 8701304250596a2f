//! The `invalidate_...` function beside a cached one: the same key of the same cache, removed.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{FnArg, GenericParam, Generics, Ident, ItemFn, WherePredicate};

use crate::{
    arguments::Arguments,
    expand::{key, key_expressions},
    parameters::{binds, used},
};

pub(crate) fn write(arguments: &Arguments, function: &ItemFn) -> TokenStream {
    let signature = &function.sig;
    let mut expressions = key_expressions(&arguments.key);
    expressions.push(&arguments.cache);
    let names = used(expressions);
    let inputs: Vec<&FnArg> = signature
        .inputs
        .iter()
        .filter(|input| binds(input, &names))
        .collect();
    let generics = narrowed(&signature.generics, &inputs);
    let (parameters, _, conditions) = generics.split_for_impl();
    let (krate, cache, key) = (&arguments.krate, &arguments.cache, key(&arguments.key));
    let (visibility, cached) = (&function.vis, &signature.ident);
    let name = format_ident!("invalidate_{cached}", span = cached.span());
    let cfgs = function
        .attrs
        .iter()
        .filter(|one| one.path().is_ident("cfg"));
    let doc = format!(
        "Removes what [`{cached}`](Self::{cached}) has cached under the key of these parameters, in \
         every tier; see `TieredCache::remove`."
    );
    let doc = doc.replace("(Self::", if has_self(signature) { "(Self::" } else { "(" });
    quote! {
        #(#cfgs)*
        #[doc = #doc]
        #[allow(dead_code, reason = "not every cached function is invalidated by its key")]
        #visibility async fn #name #parameters (#(#inputs),*) #conditions {
            let __key = #key;
            let __cache = ::core::clone::Clone::clone(&(#cache));
            #krate::TieredCache::remove(&__cache, &__key).await
        }
    }
}

fn has_self(signature: &syn::Signature) -> bool {
    signature.receiver().is_some()
}

/// The generics that the remaining parameters mention: another one could not be inferred.
fn narrowed(generics: &Generics, inputs: &[&FnArg]) -> Generics {
    let mut needed: Vec<Ident> = Vec::new();
    for input in inputs {
        names(input.to_token_stream(), &mut needed);
    }
    let mut kept = generics.clone();
    // A kept parameter's bounds may mention others.
    for parameter in &generics.params {
        if needed.contains(&name(parameter)) {
            names(parameter.to_token_stream(), &mut needed);
        }
    }
    kept.params = generics
        .params
        .iter()
        .filter(|parameter| needed.contains(&name(parameter)))
        .cloned()
        .collect();
    let all: Vec<Ident> = generics.params.iter().map(name).collect();
    if let Some(conditions) = &mut kept.where_clause {
        conditions.predicates = conditions
            .predicates
            .iter()
            .filter(|condition| mentions_only(condition, &all, &needed))
            .cloned()
            .collect();
    }
    kept
}

fn mentions_only(condition: &WherePredicate, all: &[Ident], needed: &[Ident]) -> bool {
    let mut mentioned = Vec::new();
    names(condition.to_token_stream(), &mut mentioned);
    mentioned
        .iter()
        .all(|name| !all.contains(name) || needed.contains(name))
}

fn name(parameter: &GenericParam) -> Ident {
    match parameter {
        GenericParam::Type(of) => of.ident.clone(),
        GenericParam::Const(of) => of.ident.clone(),
        GenericParam::Lifetime(of) => of.lifetime.ident.clone(),
    }
}

fn names(tokens: TokenStream, found: &mut Vec<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => found.push(name),
            TokenTree::Group(group) => names(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
