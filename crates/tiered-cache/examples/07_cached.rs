//! `#[cached]`: an async function whose body becomes the loader, with its key, times and tags beside it.
//!
//! Run it with `cargo run -p tiered-cache --features macros --example 07_cached`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tiered_cache::{BoxError, Effect, LoadError, Lookup, Policy, TieredCache, cached};

/// Stands for a database; counts what it is asked.
#[derive(Debug, Clone, Default)]
struct Database {
    queries: Arc<AtomicU32>,
}

impl Database {
    fn queries(&self) -> u32 {
        self.queries.load(Ordering::Relaxed)
    }

    async fn name(&self, id: u64) -> Result<Option<String>, io::Error> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        match id {
            0..100 => Ok(Some(format!("user {id}"))),
            100..1_000 => Ok(None),
            _ => Err(io::Error::other("the shard of that user is away")),
        }
    }
}

/// A name is kept for ten minutes, that there is none for half of one, and what is for nobody else not
/// at all. The key is checked while compiling.
#[cached(
    cache = names,
    key = "user:{id}",
    ttl = "10m",
    negative = "30s",
    tags = ["team:{team}"],
    when = !fresh,
    skip = |name| name.ends_with(" 13")
)]
async fn name(
    names: &TieredCache<String, String>,
    database: Database,
    id: u64,
    team: u32,
    fresh: bool,
) -> Result<Option<String>, io::Error> {
    database.name(id).await
}

/// The same without the attribute, which is sugar over this.
async fn name_by_hand(
    names: &TieredCache<String, String>,
    database: Database,
    id: u64,
    team: u32,
) -> Result<Lookup<String>, LoadError> {
    let key = format!("user:{id}");
    let request = names.entry(&key).tag(format!("team:{team}"));
    request
        .get_or_load(move || async move { database.name(id).await })
        .await
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let names: TieredCache<String, String> = TieredCache::memory("names", Policy::default())?;
    let database = Database::default();
    let ask = |id, fresh| name(&names, database.clone(), id, 3, fresh);

    // What is asked for, and how often the database has been asked by then.
    for (what, id, fresh, queries) in [
        ("a user", 7, false, 1),
        ("again", 7, false, 1),
        ("again, past the cache", 7, true, 2),
        ("nobody", 404, false, 3),
        ("nobody again", 404, false, 3),
        ("a value to skip", 13, false, 4),
        ("skipped again", 13, false, 5),
    ] {
        let answer = ask(id, fresh).await?;
        let (answer, asked) = (format!("{answer:?}"), database.queries());
        println!("{what:<22} {answer:<29} queries so far: {asked}");
        assert_eq!(asked, queries, "{what}");
    }
    let failed = ask(5_000, false).await;
    println!("{:<22} {failed:?}", "a failure");
    assert!(failed.is_err());

    // By hand or by the attribute: the same entry.
    let by_hand = name_by_hand(&names, database.clone(), 7, 3).await?;
    assert!(by_hand.is_hit());

    // `invalidate_name` came with the attribute: it takes what the key needs.
    invalidate_name(&names, 7).await;
    assert_eq!(names.get(&"user:7".to_owned()).await, Lookup::Miss);
    ask(7, false).await?;
    names.invalidate_tag("team:3", Effect::Remove).await;
    assert_eq!(names.get(&"user:7".to_owned()).await, Lookup::Miss);
    println!("\n{}", names.stats());
    Ok(())
}
