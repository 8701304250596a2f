//! A component has up to sixteen parameters.

use init_graph::{Context, Graph, Result, component};

struct Database;

#[component]
#[rustfmt::skip]
async fn database(
    _1: Context, _2: Context, _3: Context, _4: Context, _5: Context, _6: Context,
    _7: Context, _8: Context, _9: Context, _10: Context, _11: Context, _12: Context,
    _13: Context, _14: Context, _15: Context, _16: Context, _17: Context,
) -> Result<Database> {
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
