#![doc = include_str!("../README.md")]

mod expand;
mod options;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

/// Writes the options of a component beside its function, so that `graph.add(function)` applies them.
///
/// Takes `name = "..."`, `stage = "..."`, `timeout = "5s"`, `stop_timeout = "5s"` and `optional`, each optional and once,
/// on an async function that could be added without the attribute.
#[proc_macro_attribute]
pub fn component(options: TokenStream, function: TokenStream) -> TokenStream {
    let function = parse_macro_input!(function as ItemFn);
    let options = syn::parse(options);
    expand::component(options, &function).into()
}
