//! The code that `#[component]` writes: the function, whose return type now also carries the options.
//!
//! A unit struct of the function's name would be simpler, but then no variable of that name could be bound any more.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, FnArg, Ident, Item, ItemFn, Pat, Path, ReturnType, Type, parse_quote};

use crate::options::Options;
use crate::{all, signature};

pub(crate) fn expand(options: Result<Options, Error>, function: &ItemFn) -> TokenStream {
    let (options, error) = match options {
        Ok(options) => (options, None),
        Err(error) => {
            let mut options = Options::default();
            // Whatever was meant: one mistake is enough.
            options.blocking = function.sig.asyncness.is_none();
            (options, Some(error))
        }
    };
    let checked = signature::check(function, options.blocking);
    let errors: Vec<_> = error.into_iter().chain(checked.err()).collect();
    match all(errors) {
        Ok(()) => write(&options, function),
        Err(error) => mistaken(&error, &options.krate, function),
    }
}

/// What cannot be read as a function stays as it is, so that editors still know what is in it.
pub(crate) fn no_function(error: &Error, item: &TokenStream) -> TokenStream {
    let error = match syn::parse2::<Item>(item.clone()) {
        Ok(_) => Error::new(Span::call_site(), "`#[component]` goes on a function"),
        Err(_) => error.clone(),
    };
    let error = error.into_compile_error();
    quote! { #error #item }
}

/// The errors, and a function that can be added, so that its uses give no errors of their own. The body is still
/// checked.
fn mistaken(error: &Error, krate: &Path, function: &ItemFn) -> TokenStream {
    let error = error.to_compile_error();
    let (outer, inner): (Vec<&Attribute>, Vec<_>) = function
        .attrs
        .iter()
        .partition(|attribute| is_outer(attribute));
    let (vis, name) = (&function.vis, &function.sig.ident);
    let (own, block) = (&function.sig, &function.block);
    let is_method = own.receiver().is_some() || signature::self_in(own.to_token_stream()).is_some();
    let body = (!is_method).then(|| {
        quote! {
            #(#inner)*
            #[allow(dead_code)]
            #own #block
        }
    });
    quote! {
        #error
        #(#outer)*
        #vis fn #name() -> #krate::__private::Mistaken {
            #body
            #krate::__private::Mistaken
        }
    }
}

fn write(options: &Options, function: &ItemFn) -> TokenStream {
    let (vis, block, signature) = (&function.vis, &function.block, &function.sig);
    let (krate, name) = (&options.krate, &signature.ident);
    let types: Vec<&Type> = signature.inputs.iter().filter_map(type_of).collect();
    let output: Type = match &signature.output {
        ReturnType::Type(_, output) => (**output).clone(),
        ReturnType::Default => parse_quote! { () },
    };
    let mut outer = signature.clone();
    let arguments: Vec<_> = (1..)
        .zip(&mut outer.inputs)
        .map(|(number, argument)| plain(number, argument, name))
        .collect();
    outer.asyncness = None;
    let place = shown_at(name.span());
    let made = match signature.asyncness {
        Some(_) => quote_spanned! { place =>
            impl ::core::future::Future<Output = #output> + ::core::marker::Send + 'static
        },
        None => quote! { #output },
    };
    // At the name, since that is what a future that is not `Send` is reported at.
    let at = at(krate, place);
    let declared = quote_spanned! { place => #at::__private };
    // The options are in the type, since they are needed before the function is called; `impl` hides their name.
    let returned = quote_spanned! { place =>
        -> #declared::Declared<
            #made,
            impl #declared::Declaration<
                Parameters = (#(#declared::Parameter<#types>,)*),
                Output = #output,
            >,
        >
    };
    outer.output = parse_quote! { #returned };
    let returned = quote_spanned! { place =>
        #declared::Declared::<_, __Options>::new(#name(#(#arguments),*))
    };
    let declaration = declaration(options, function, &types, &output);
    let (both, inner): (Vec<&Attribute>, Vec<_>) = function
        .attrs
        .iter()
        .partition(|attribute| is_outer(attribute));
    // In the function's own braces, or else the compiler takes it for a foreign one and never says that it is unused.
    let body = quote! {
        // A plain function is given values as well, though it may only look at them.
        #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
        #(#inner)*
        #signature #block

        #declaration

        #returned
    };
    let mut body = Group::new(Delimiter::Brace, body);
    body.set_span(block.brace_token.span.join());
    quote! {
        #(#both)*
        // Each is a dependency, and there may be many.
        #[allow(clippy::too_many_arguments)]
        #vis #outer #body
    }
}

/// The type that carries what is known of the function before it is called. Every bound is asked for once, in here.
fn declaration(
    options: &Options,
    function: &ItemFn,
    types: &[&Type],
    output: &Type,
) -> TokenStream {
    let krate = &options.krate;
    let name = &function.sig.ident;
    let parameters = types.iter().map(|ty| parameter(krate, ty));
    // Nothing rather than `()`, which lints would take for an oversight.
    let parameters = (!types.is_empty()).then(|| quote! { (#(#parameters,)*) });
    let place = shown_at(output.span());
    let outcome = at(krate, place);
    let outcome = quote_spanned! { place => #outcome::__private::outcome::<#output>() };
    let value = quote_spanned! { place => <#output as #krate::__private::Returned>::Value };
    let calls = options.calls(&value);
    // Spanned at the name, so that `line!()` is the line of the function and not that of the attribute.
    let file = quote_spanned! { name.span() => ::core::file!() };
    let line = quote_spanned! { name.span() => ::core::line!() };
    quote! {
        struct __Options;

        impl #krate::__private::Declaration for __Options {
            type Parameters = (#(#krate::__private::Parameter<#types>,)*);
            type Output = #output;

            const FILE: &'static str = #file;
            const LINE: u32 = #line;

            fn parameters() -> Self::Parameters {
                #parameters
            }

            fn outcome() -> #krate::__private::Outcome<#output> {
                #outcome
            }

            fn apply(__component: &mut #krate::__private::Component) {
                #calls
            }
        }
    }
}

/// The one place where a type is asked to be a parameter.
pub(crate) fn parameter(krate: &Path, ty: &Type) -> TokenStream {
    let place = shown_at(ty.span());
    let krate = at(krate, place);
    quote_spanned! { place => #krate::__private::parameter::<#ty>() }
}

/// Where errors are shown, and still known as code that nobody wrote, so that lints leave it alone.
pub(crate) fn shown_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The path as if it were written at `span`, so that errors are.
fn at(krate: &Path, span: Span) -> TokenStream {
    let tokens = krate.to_token_stream().into_iter();
    tokens
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}

/// What belongs on the function that the world sees; everything else belongs on its body.
fn is_outer(attribute: &Attribute) -> bool {
    ["doc", "cfg", "deprecated"]
        .iter()
        .any(|name| attribute.path().is_ident(name))
}

fn type_of(input: &FnArg) -> Option<&Type> {
    match input {
        FnArg::Typed(typed) => Some(&typed.ty),
        FnArg::Receiver(_) => None,
    }
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
