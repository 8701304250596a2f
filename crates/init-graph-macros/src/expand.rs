//! The code that the attribute writes: a unit struct in place of the function, and its way into a graph.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, ReturnType, Type, parse_quote};

use crate::options::Options;

pub(crate) fn component(options: &Options, function: ItemFn) -> TokenStream {
    match check(&function) {
        Ok(()) => write(options, function),
        Err(error) => {
            // The function stays, so that its uses give no errors of their own.
            let error = error.into_compile_error();
            quote! { #error #function }
        }
    }
}

/// Every error at once, each where it is.
fn check(function: &ItemFn) -> Result<(), Error> {
    let signature = &function.sig;
    let mut errors = Vec::new();
    if signature.asyncness.is_none() {
        errors.push(Error::new(
            signature.fn_token.span(),
            "a component is an `async fn`",
        ));
    }
    if !signature.generics.params.is_empty() {
        errors.push(Error::new(
            signature.generics.span(),
            "a component cannot be generic: a graph holds one of each type",
        ));
    }
    if matches!(signature.output, ReturnType::Default) {
        let message = "a component returns a `Result`: `-> init_graph::Result<T>`";
        errors.push(Error::new(signature.ident.span(), message));
    }
    if signature.inputs.len() > PARAMETERS_MAX {
        let message = "a component has at most 16 parameters; group some values into one component";
        errors.push(Error::new(signature.inputs.span(), message));
    }
    errors.extend(signature.inputs.iter().filter_map(|input| match input {
        FnArg::Receiver(receiver) => Some(Error::new(
            receiver.span(),
            "a component cannot take `self`",
        )),
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(_) => Some(Error::new(
                typed.ty.span(),
                "a component cannot borrow; take `Dep<T>`, which is shared",
            )),
            Type::ImplTrait(_) => Some(Error::new(
                typed.ty.span(),
                "a component cannot take `impl Trait`; take `Dep<T>` of one type",
            )),
            _ => None,
        },
    }));
    errors
        .into_iter()
        .reduce(|mut all, error| {
            all.combine(error);
            all
        })
        .map_or(Ok(()), Err)
}

fn write(options: &Options, function: ItemFn) -> TokenStream {
    let ItemFn {
        attrs,
        vis,
        mut sig,
        block,
    } = function;
    let (docs, others): (Vec<Attribute>, Vec<Attribute>) = attrs.into_iter().partition(is_for_both);
    let name = sig.ident.clone();
    let checks = sig.inputs.iter().filter_map(check_parameter);
    let checks: TokenStream = checks.collect();
    let apply = apply(options);
    let default_name = name.to_string();
    // Spanned at the name, so that `line!()` is the line of the function and not that of the attribute.
    let place = quote_spanned! { name.span() => ::core::file!(), ::core::line!() };
    sig.ident = Ident::new("call", name.span());
    let cfgs: Vec<_> = docs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    let call_docs: Attribute =
        parse_quote! { #[doc = " Runs the initialiser by hand, for a test without a graph."] };
    quote! {
        #(#docs)*
        #[allow(non_camel_case_types, reason = "it stands where a function was written")]
        #[derive(Clone, Copy, Debug)]
        #vis struct #name;

        #(#cfgs)*
        impl #name {
            #call_docs
            #(#others)*
            #vis #sig #block
        }

        #(#cfgs)*
        impl ::init_graph::__private::IntoComponent<::init_graph::__private::Declared> for #name {
            #[track_caller]
            fn into_component(self) -> ::init_graph::__private::Component {
                #checks
                let mut component = ::init_graph::__private::declared(Self::call, #default_name, #place);
                #apply
                component
            }
        }
    }
}

/// What belongs on the struct: its documentation, and whether it exists at all.
fn is_for_both(attribute: &Attribute) -> bool {
    ["doc", "cfg", "deprecated"]
        .iter()
        .any(|name| attribute.path().is_ident(name))
}

/// Reports a parameter of a wrong type at that parameter.
fn check_parameter(input: &FnArg) -> Option<TokenStream> {
    let FnArg::Typed(typed) = input else {
        return None;
    };
    let ty = &typed.ty;
    Some(quote_spanned! { ty.span() => ::init_graph::__private::is_parameter::<#ty>(); })
}

fn apply(options: &Options) -> TokenStream {
    let mut calls = TokenStream::new();
    if let Some(name) = &options.name {
        calls.extend(quote! { component.named(#name); });
    }
    if let Some(stage) = &options.stage {
        calls.extend(quote! { component.stage(#stage); });
    }
    if let Some(limit) = options.timeout {
        calls.extend(quote! { component.timeout(::core::time::Duration::from_millis(#limit)); });
    }
    if let Some(limit) = options.stop_timeout {
        calls.extend(
            quote! { component.stop_timeout(::core::time::Duration::from_millis(#limit)); },
        );
    }
    if options.optional {
        calls.extend(quote! { component.optional(); });
    }
    if calls.is_empty() {
        quote! { let _ = &mut component; }
    } else {
        calls
    }
}

/// As many as `init_graph::IntoComponent` is implemented for.
const PARAMETERS_MAX: usize = 16;
