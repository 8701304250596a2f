//! Advice on the size of the memory tier: what a larger or smaller one would have hit, from the reuse
//! distances of a sample of the keys (SHARDS with a fixed number of samples: Waldspurger, Park,
//! Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST'15).

mod curve;
mod distances;
mod report;
mod sampler;

pub(crate) use report::Inputs;
pub use report::{SizeAdvice, SizePoint};
pub(crate) use sampler::Sampler;
