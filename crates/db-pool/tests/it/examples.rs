//! The examples end well: each checks what it prints, so that to run it is to test it. Those for PostgreSQL end at once
//! where no server is named.

#[cfg(all(feature = "sqlite", feature = "advice"))]
#[path = "../../examples/07_advice.rs"]
mod advice;
#[cfg(all(feature = "sqlite", feature = "backup"))]
#[path = "../../examples/06_backup.rs"]
mod backup;
#[cfg(feature = "postgres")]
#[path = "../../examples/10_cancelling.rs"]
mod cancelling;
#[cfg(feature = "sqlite")]
#[path = "../../examples/01_first_steps.rs"]
mod first_steps;
#[cfg(feature = "sqlite")]
#[path = "../../examples/08_health.rs"]
mod health;
#[cfg(feature = "postgres")]
#[path = "../../examples/09_lanes.rs"]
mod lanes;
#[cfg(feature = "sqlite")]
#[path = "../../examples/03_loader.rs"]
mod loader;
#[cfg(feature = "sqlite")]
#[path = "../../examples/12_many_rows.rs"]
mod many_rows;
#[cfg(all(feature = "sqlite", feature = "query-cache"))]
#[path = "../../examples/04_query_cache.rs"]
mod query_cache;
#[cfg(feature = "postgres")]
#[path = "../../examples/11_replicas.rs"]
mod replicas;
#[cfg(feature = "sqlite")]
#[path = "../../examples/05_scopes.rs"]
mod scopes;
#[cfg(feature = "sqlite")]
#[path = "../../examples/02_transactions.rs"]
mod transactions;

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
    #[cfg(feature = "sqlite")]
    first_steps = first_steps_ends_well;
    #[cfg(feature = "sqlite")]
    transactions = transactions_ends_well;
    #[cfg(feature = "sqlite")]
    loader = loader_ends_well;
    #[cfg(all(feature = "sqlite", feature = "query-cache"))]
    query_cache = query_cache_ends_well;
    #[cfg(feature = "sqlite")]
    scopes = scopes_ends_well;
    #[cfg(all(feature = "sqlite", feature = "backup"))]
    backup = backup_ends_well;
    #[cfg(all(feature = "sqlite", feature = "advice"))]
    advice = advice_ends_well;
    #[cfg(feature = "sqlite")]
    health = health_ends_well;
    #[cfg(feature = "postgres")]
    lanes = lanes_ends_well;
    #[cfg(feature = "postgres")]
    cancelling = cancelling_ends_well;
    #[cfg(feature = "postgres")]
    replicas = replicas_ends_well;
    #[cfg(feature = "sqlite")]
    many_rows = many_rows_ends_well;
}
