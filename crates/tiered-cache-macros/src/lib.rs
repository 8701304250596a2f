#![doc = include_str!("../README.md")]

mod arguments;
mod expand;

use proc_macro::TokenStream;

/// Makes the body of an async function the loader of a cache.
///
/// `cache` is an expression for the `TieredCache`, `key` one for the key (it is cloned), both over
/// the function's parameters. The body gives `Result<Option<V>, E>`; callers get
/// `Result<Lookup<V>, LoadError>`. The body runs on a task of its own, so it may use only
/// parameters that borrow nothing; `cache` and `key` may use all of them, `self` too.
///
/// ```text
/// #[tiered_cache::cached(cache = "users", key = "id")]
/// async fn user(users: &TieredCache<u64, User>, db: Db, id: u64) -> Result<Option<User>, DbError> {
///     db.find(id).await
/// }
/// // is the same as
/// async fn user(users: &TieredCache<u64, User>, db: Db, id: u64)
///     -> Result<Lookup<User>, LoadError>
/// {
///     users.get_or_load(&id.clone(), move || async move { db.find(id).await }).await
/// }
/// ```
///
/// `crate = "path"` names tiered-cache where it is re-exported by another crate.
#[proc_macro_attribute]
pub fn cached(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse(arguments)
        .and_then(|arguments| syn::parse(item).map(|function| (arguments, function)))
        .and_then(|(arguments, function)| expand::expand(arguments, function));
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
