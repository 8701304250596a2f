//! From the function as written to one that asks the cache first.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ReturnType, parse_quote};

use crate::arguments::Arguments;

pub(crate) fn expand(arguments: Arguments, mut function: ItemFn) -> syn::Result<TokenStream> {
    let Arguments { cache, key, krate } = arguments;
    if function.sig.asyncness.is_none() {
        let message = "`cached` goes on an async function: the loader is awaited";
        return Err(Error::new_spanned(function.sig.fn_token, message));
    }
    let ReturnType::Type(_, loaded) = &function.sig.output else {
        let message = "`cached` goes on a function that returns `Result<Option<V>, E>`";
        return Err(Error::new_spanned(&function.sig, message));
    };
    let body = &function.block;
    let block = parse_quote!({
        let __cache = ::core::clone::Clone::clone(&(#cache));
        let __key = ::core::clone::Clone::clone(&(#key));
        let __load = move || async move {
            let __loaded: #loaded = async move #body.await;
            __loaded
        };
        #krate::TieredCache::get_or_load(&__cache, &__key, __load).await
    });
    function.sig.output = parse_quote! {
        -> ::core::result::Result<
            #krate::Lookup<<#loaded as #krate::__private::LoaderOutput>::Value>,
            #krate::LoadError,
        >
    };
    *function.block = block;
    Ok(quote!(#function))
}
