//! The arguments of `#[cached]`: which are known, and what they hold.

use proc_macro2::Span;
use syn::{
    Error, Expr, Ident, LitStr, Path, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    parse_quote,
};

/// `cache = "expression", key = "expression", crate = "path"`.
pub(crate) struct Arguments {
    pub(crate) cache: Expr,
    pub(crate) key: Expr,
    pub(crate) krate: Path,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (mut cache, mut key, mut krate) = (None, None, None);
        while !input.is_empty() {
            // `crate` is a keyword.
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            let value: LitStr = input.parse()?;
            let twice = match name.to_string().as_str() {
                "cache" => cache.replace(value.parse()?).is_some(),
                "key" => key.replace(value.parse()?).is_some(),
                "crate" => krate.replace(value.parse()?).is_some(),
                _ => {
                    let known = "unknown argument: `cached` takes `cache`, `key` and `crate`";
                    return Err(Error::new(name.span(), known));
                }
            };
            if twice {
                return Err(Error::new(name.span(), format!("`{name}` is given twice")));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |name, example| {
            let message = format!("`cached` needs `{name} = \"...\"`, such as `{example}`");
            Error::new(Span::call_site(), message)
        };
        Ok(Self {
            cache: cache.ok_or_else(|| missing("cache", "cache = \"self.users\""))?,
            key: key.ok_or_else(|| missing("key", "key = \"id\""))?,
            krate: krate.unwrap_or_else(|| parse_quote!(::tiered_cache)),
        })
    }
}
