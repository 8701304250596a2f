//! The `#[cached]` attribute of tiered-cache.

use proc_macro::TokenStream;

/// Placeholder documentation is replaced with the implementation below.
#[proc_macro_attribute]
pub fn cached(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}
