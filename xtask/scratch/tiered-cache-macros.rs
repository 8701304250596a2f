//! Links `tiered-cache-macros` from a project of its own; what its macros expand to needs `tiered-cache` itself.

use tiered_cache_macros as _;

fn main() {}
