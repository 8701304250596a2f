//! What the graph itself costs, beside what one would write by hand for the same parts and beside other crates that run
//! graphs.

mod benches;
mod compile;
mod errors;
mod makespan;
mod observing;
mod ours;
mod parts;
mod peers;
mod scale;
mod shapes;
mod ways;

use harness::{Exit, Suite};

fn main() -> Exit {
    harness::main("init-graph", |suite: &mut Suite| {
        benches::add(suite);
        scale::add(suite);
        makespan::add(suite);
        errors::add(suite);
        observing::add(suite);
        compile::add(suite);
    })
}
