#![doc = include_str!("../README.md")]

mod component;
mod deps;
mod option;
mod options;
mod retry;
mod signature;
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Writes the options of a component beside its function, so that `graph.add(function)` applies them.
///
/// On an async function that could be added without it, or with `blocking` on a plain one for `graph.add_blocking`. It takes,
/// each once:
///
/// | Option | as on `graph.add(function)` |
/// |---|---|
/// | `name = "primary"`, `stage = "storage"` | `.named("primary")`, `.stage("storage")` |
/// | `timeout = "5s"`, and so `total_timeout`, `stall_timeout`, `stop_timeout` | `.timeout(Duration::from_secs(5))` |
/// | `retry = 3`, `retry = an_expression()` | `.retry(Retry::exponential(3))`, `.retry(an_expression())` |
/// | `retry(attempts = 3, initial = "100ms", max_delay = "5s", jitter = 0.5, when = worth)` | `.retry(Retry::exponential(3).initial(..)..)` |
/// | `optional`, `background` | `.optional()`, `.background()` |
/// | `when = wanted` | `.when(wanted)`, a function or a closure |
/// | `class = "cpu"`, `class = HEAVY` | `.class(Class::CPU)`, `.class(HEAVY)` |
/// | `priority = 10`, `expected = "200ms"` | `.priority(10)`, `.expected(Duration::from_millis(200))` |
/// | `after = ["a", "b"]` | `.after("a").after("b")` |
/// | `needs = [Schema, dyn Clock]` | `.needs::<Schema>().needs::<dyn Clock>()` |
/// | `provide = [dyn Repo]` | `.provide(\|made: Arc<Made>\| made as Arc<dyn Repo>)` |
/// | `tag = Replica`, `wire(Database = "replica")` | `.tagged::<Replica>()`, `.wire::<Database>("replica")` |
/// | `blocking` | on a plain function, for `graph.add_blocking(function)` |
/// | `crate = "path::to::init_graph"` | where the crate goes by another name |
///
/// Durations are a whole number and `ms`, `s`, `m` or `h`. What is given at `add` as well wins over the attribute; of
/// `after`, `needs`, `wire` and `provide` both count.
#[proc_macro_attribute]
pub fn component(options: TokenStream, function: TokenStream) -> TokenStream {
    match syn::parse(function.clone()) {
        Ok(function) => component::expand(syn::parse(options), &function).into(),
        Err(error) => component::no_function(&error, &function.into()).into(),
    }
}

/// Makes a struct of parameters a parameter: each field is taken as the parameter of its type would be.
///
/// For functions of more than sixteen parameters, and for parameters that belong together. Errors of the graph name the
/// field. `#[deps(crate = "path::to::init_graph")]` on the struct where the crate goes by another name.
#[proc_macro_derive(Deps, attributes(deps))]
pub fn deps(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    deps::expand(&input).into()
}

/// One error that shows all of them.
fn all(errors: Vec<syn::Error>) -> Result<(), syn::Error> {
    let combined = errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    });
    combined.map_or(Ok(()), Err)
}
