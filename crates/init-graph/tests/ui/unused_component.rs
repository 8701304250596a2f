//! A component that nobody adds is unused, as a function without the attribute is.

#![deny(dead_code)]

use init_graph::{Result, component};

#[component]
async fn forgotten() -> Result<()> {
    Ok(())
}

fn main() {}
