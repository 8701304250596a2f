//! The examples end well: each checks what it prints, so that to run it is to test it. All but
//! `05_redis`, which needs a server.

#[path = "../../examples/07_cached.rs"]
#[cfg(feature = "macros")]
mod cached;
#[path = "../../examples/04_disk.rs"]
#[cfg(feature = "disk")]
mod disk;
#[path = "../../examples/01_memory.rs"]
mod memory;
#[path = "../../examples/10_own_tier.rs"]
mod own_tier;
#[path = "../../examples/02_policies.rs"]
mod policies;
#[path = "../../examples/09_size_advice.rs"]
mod size_advice;
#[path = "../../examples/03_tags_and_prefixes.rs"]
mod tags_and_prefixes;
#[path = "../../examples/06_transactions.rs"]
mod transactions;
#[path = "../../examples/08_warming.rs"]
mod warming;

macro_rules! ends_well {
    ($($(#[$condition:meta])* $example:ident = $name:ident;)*) => {$(
        $(#[$condition])*
        #[test]
        fn $name() {
            $example::main().expect("every step of it works");
        }
    )*};
}

ends_well! {
    memory = memory_ends_well;
    policies = policies_ends_well;
    tags_and_prefixes = tags_and_prefixes_ends_well;
    #[cfg(feature = "disk")]
    disk = disk_ends_well;
    transactions = transactions_ends_well;
    #[cfg(feature = "macros")]
    cached = cached_ends_well;
    warming = warming_ends_well;
    size_advice = size_advice_ends_well;
    own_tier = own_tier_ends_well;
}
