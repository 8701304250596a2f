//! The code that the attribute writes: the function, whose return type now also carries the options.
//!
//! A unit struct of the function's name would be simpler, but then no variable of that name could be bound any more.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, Pat, ReturnType, Type, parse_quote};

use crate::options::Options;

pub(crate) fn component(options: Result<Options, Error>, function: &ItemFn) -> TokenStream {
    match options.and_then(|options| check(function).map(|()| options)) {
        Ok(options) => write(&options, function),
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

fn write(options: &Options, function: &ItemFn) -> TokenStream {
    let mut outer = function.sig.clone();
    outer.asyncness = None;
    let output = match &function.sig.output {
        ReturnType::Type(_, output) => output.clone(),
        ReturnType::Default => parse_quote! { () },
    };
    // The options are in the type, since they are needed before the function is called; `impl` hides their name.
    outer.output = parse_quote! {
        -> ::init_graph::__private::Declared<
            impl ::core::future::Future<Output = #output> + ::core::marker::Send + 'static,
            impl ::init_graph::__private::Declaration,
        >
    };
    let name = &function.sig.ident;
    let arguments = (1..).zip(&mut outer.inputs);
    let arguments: Vec<_> = arguments
        .map(|(number, argument)| plain(number, argument, name))
        .collect();
    let checks: TokenStream = function
        .sig
        .inputs
        .iter()
        .filter_map(check_parameter)
        .collect();
    let apply = apply(options);
    // Spanned at the name, so that `line!()` is the line of the function and not that of the attribute.
    let file = quote_spanned! { name.span() => ::core::file!() };
    let line = quote_spanned! { name.span() => ::core::line!() };
    let vis = &function.vis;
    let (both, inner): (Vec<&Attribute>, Vec<_>) = function
        .attrs
        .iter()
        .partition(|attribute| is_outer(attribute));
    let (signature, block) = (&function.sig, &function.block);
    quote! {
        #(#both)*
        #vis #outer {
            #(#inner)*
            #signature #block

            struct __Options;

            impl ::init_graph::__private::Declaration for __Options {
                const FILE: &'static str = #file;
                const LINE: u32 = #line;

                fn apply(component: &mut ::init_graph::__private::Component) {
                    #checks
                    #apply
                }
            }

            ::init_graph::__private::Declared::<_, __Options>::new(#name(#(#arguments),*))
        }
    }
}

/// What belongs on the function that the world sees; everything else belongs on its body.
fn is_outer(attribute: &Attribute) -> bool {
    ["doc", "cfg", "deprecated"]
        .iter()
        .any(|name| attribute.path().is_ident(name))
}

/// Gives an argument a plain name, which it is passed on by; patterns stay inside. Not the function's name, which it
/// would hide.
fn plain(number: usize, argument: &mut FnArg, function: &Ident) -> Ident {
    let FnArg::Typed(typed) = argument else {
        return format_ident!("self");
    };
    typed.attrs.clear();
    let name = match &*typed.pat {
        Pat::Ident(pattern) if pattern.ident != *function => pattern.ident.clone(),
        _ => format_ident!("argument_{number}"),
    };
    typed.pat = parse_quote! { #name };
    name
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
        quote! { let _ = component; }
    } else {
        calls
    }
}

/// As many as `init_graph::IntoComponent` is implemented for.
const PARAMETERS_MAX: usize = 16;
