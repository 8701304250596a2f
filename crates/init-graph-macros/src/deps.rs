//! The code that `#[derive(Deps)]` writes: a parameter made of the parameters in its fields.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{
    Data, DeriveInput, Error, Field, Fields, Ident, Index, LitStr, Member, Path, Result,
    parse_quote,
};

use crate::{all, component, signature, value};

pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let krate = krate(input);
    match (krate, check(input)) {
        (Ok(krate), Ok(fields)) => write(input, &krate, fields),
        (krate, checked) => {
            let errors = krate.err().into_iter().chain(checked.err());
            errors
                .map(Error::into_compile_error)
                .chain(mistaken(input))
                .collect()
        }
    }
}

/// A parameter that takes nothing, so that the uses of a struct that is wrong give no errors of their own.
fn mistaken(input: &DeriveInput) -> Option<TokenStream> {
    let krate = parse_quote! { ::init_graph };
    input
        .generics
        .params
        .is_empty()
        .then(|| nothing(&input.ident, &krate, &quote! { loop {} }))
}

fn nothing(name: &Ident, krate: &Path, made: &TokenStream) -> TokenStream {
    quote! {
        impl #krate::__private::Sealed for #name {}

        impl #krate::__private::Param for #name {
            fn declare(_: &mut #krate::__private::Needs) {}

            fn fetch(_: &mut #krate::__private::Fetch<'_>) -> Self {
                #made
            }
        }
    }
}

fn write(input: &DeriveInput, krate: &Path, fields: &Fields) -> TokenStream {
    let name = &input.ident;
    if fields.is_empty() {
        return nothing(name, krate, &quote! { Self {} });
    }
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    // The bound of each field is asked for once, in here.
    let parameters = types.iter().map(|ty| component::parameter(krate, ty));
    let members: Vec<Member> = (0..)
        .zip(fields)
        .map(|(at, field)| member(at, field))
        .collect();
    let names: Vec<_> = members.iter().map(label).collect();
    let positions: Vec<_> = (0..members.len()).map(Index::from).collect();
    quote! {
        const _: () = {
            fn __fields() -> (#(#krate::__private::Parameter<#types>,)*) {
                (#(#parameters,)*)
            }

            impl #krate::__private::Sealed for #name {}

            impl #krate::__private::Param for #name {
                fn declare(__needs: &mut #krate::__private::Needs) {
                    let __fields = __fields();
                    #(__needs.field(#names, __fields.#positions.declare);)*
                }

                fn fetch(__fetch: &mut #krate::__private::Fetch<'_>) -> Self {
                    let __fields = __fields();
                    Self { #(#members: (__fields.#positions.fetch)(__fetch),)* }
                }
            }
        };
    }
}

fn check(input: &DeriveInput) -> Result<&Fields> {
    let mut errors = Vec::new();
    if !input.generics.params.is_empty() {
        errors.push(Error::new_spanned(
            &input.generics,
            "a struct of parameters cannot be generic; write one for each type that is needed",
        ));
    }
    let what = match &input.data {
        Data::Struct(data) => {
            let borrowed = |field: &Field| signature::borrowed(&field.ty);
            errors.extend(data.fields.iter().filter_map(borrowed));
            return all(errors).map(|()| &data.fields);
        }
        Data::Enum(_) => "an enum",
        Data::Union(_) => "a union",
    };
    let message = format!("`Deps` is for structs, whose fields are all taken, and this is {what}");
    errors.insert(0, Error::new_spanned(&input.ident, message));
    all(errors).map(|()| &NO_FIELDS)
}

const NO_FIELDS: Fields = Fields::Unit;

fn member(at: u32, field: &Field) -> Member {
    match &field.ident {
        Some(name) => Member::Named(name.clone()),
        None => Member::Unnamed(Index {
            index: at,
            span: field.span(),
        }),
    }
}

/// How errors call the field.
fn label(member: &Member) -> LitStr {
    match member {
        Member::Named(name) => {
            let text = name.to_string();
            LitStr::new(text.trim_start_matches("r#"), name.span())
        }
        Member::Unnamed(index) => LitStr::new(&index.index.to_string(), index.span),
    }
}

/// The path in `#[deps(crate = "...")]`.
fn krate(input: &DeriveInput) -> Result<Path> {
    let mut krate = parse_quote! { ::init_graph };
    for attribute in &input.attrs {
        if attribute.path().is_ident("deps") {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("crate") {
                    return Err(meta.error("`deps` takes `crate = \"path::to::init_graph\"` alone"));
                }
                let key = Ident::new("crate", meta.path.span());
                krate = value::path(&key, meta.input)?;
                Ok(())
            })?;
        }
    }
    Ok(krate)
}
