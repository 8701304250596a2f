//! Links `init-graph-macros` from a project of its own; what its macros expand to needs `init-graph` itself.

use init_graph_macros as _;

fn main() {}
