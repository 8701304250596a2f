#![doc = include_str!("../README.md")]

mod arguments;
mod duration;
mod expand;
mod invalidate;
mod near;
mod parameters;
mod returned;
mod template;

use proc_macro::TokenStream;

/// Makes the body of an async function the loader of a cache, and writes an `invalidate_...` beside it.
///
/// | Argument | as on the builder |
/// |---|---|
/// | `cache = self.users` | the `TieredCache`: an expression over the parameters, which is cloned |
/// | `key = "user:{id}"` | `entry(&format!("user:{id}"))`, for caches whose keys are `String`s |
/// | `key = id` | `entry(&id)`: an expression of the key's own type, which is cloned |
/// | `ttl = "10m"`, `ttl = an_expression` | `Loaded::value(..).ttl(..)` |
/// | `negative = "30s"` | `Loaded::absent().ttl(..)`, for bodies that return an `Option` |
/// | `tags = ["team:{team}"]` | `.tag(format!("team:{team}"))` |
/// | `when = id != 0` | `.bypass()` unless it holds: the body runs, nothing is read or kept |
/// | `skip = \|user\| user.hidden` | `.uncached_if(..)`: the value is returned and kept nowhere |
/// | `invalidate = false` | writes no `invalidate_...`, as in the implementation of a trait |
/// | `crate = "path::to::tiered_cache"` | where the crate goes by another name |
///
/// Templates take fields, methods and formats of parameters (`{user.id:04}`), and are checked while
/// compiling. Durations are whole numbers with `ms`, `s`, `m`, `h` or `d`.
///
/// The function is async and returns `Result<Option<V>, E>`, `Result<V, E>`, `Option<V>`, `V`, or any of
/// these with `Loaded<V>` in place of the value; its callers get `Result<Lookup<V>, LoadError>`. The body
/// runs on a task of its own and goes on when its caller leaves, so it may use only parameters that
/// borrow nothing; the arguments may use all of them, `self` too.
///
/// ```text
/// #[cached(cache = users, key = "user:{id}", ttl = "10m", tags = ["team:{team}"])]
/// async fn user(users: &TieredCache<String, User>, db: Db, id: u64, team: u32) -> Result<Option<User>, DbError> {
///     db.find(id).await
/// }
/// // is the same as
/// async fn user(users: &TieredCache<String, User>, db: Db, id: u64, team: u32) -> Result<Lookup<User>, LoadError> {
///     users
///         .entry(&format!("user:{id}"))
///         .tag(format!("team:{team}"))
///         .get_or_load_with(move |_| async move {
///             Ok::<_, DbError>(match db.find(id).await? {
///                 Some(user) => Loaded::value(user).ttl(Duration::from_secs(600)),
///                 None => Loaded::absent(),
///             })
///         })
///         .await
/// }
/// async fn invalidate_user(users: &TieredCache<String, User>, id: u64) {
///     users.remove(&format!("user:{id}")).await
/// }
/// ```
#[proc_macro_attribute]
pub fn cached(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse(arguments)
        .and_then(|arguments| syn::parse(item.clone()).map(|function| (arguments, function)))
        .and_then(|(arguments, function)| expand::expand(&arguments, function));
    match expanded {
        Ok(expanded) => expanded.into(),
        // With the function as it was: its absence would be told at every place that calls it.
        Err(error) => {
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(item);
            tokens
        }
    }
}
