//! Invalidating many keys by one name: tags, prefixes and patterns; and what `Expire` and `Remove` do.
//!
//! Run it with `cargo run -p tiered-cache --example 03_tags_and_prefixes`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{convert::Infallible, time::Duration};

use tiered_cache::{BoxError, Caches, Effect, Loaded, Lookup, Policy, TieredCache};
use tokio::time::Instant;

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let caches = Caches::builder().namespace("shop").build().await?;
    let policy = Policy {
        // What was expired may stand in for a source that fails.
        stale_if_error: Duration::from_secs(3600),
        ..Policy::default()
    };
    let users: TieredCache<u64, String> = TieredCache::builder("users")
        .policy(policy.clone())
        .pattern("hundred", |id: &u64| Some(id / 100))
        .build(&caches)?;
    let pages: TieredCache<String, String> = TieredCache::builder("pages")
        .policy(policy)
        .prefixes('/')
        .build(&caches)?;

    // A tag names what an entry depends on. The loader knows best, and says so with the value.
    let home = "eu/de/home".to_owned();
    let load =
        || async { Ok::<_, Infallible>(Loaded::value("Hello Ada".to_owned()).tag("user:7")) };
    pages.get_or_load(&home, load).await?;
    users.entry(&7).tag("user:7").insert("Ada".to_owned()).await;

    // Expired: it is no hit any more, but it stands in when the source is down.
    caches.invalidate_tag("user:7", Effect::Expire).await;
    assert_eq!(users.get(&7).await, Lookup::Miss);
    let answer = users
        .get_or_load(&7, || async { Err::<Option<String>, _>("down") })
        .await?;
    println!("expired, source down:  {answer:?}");
    assert!(answer.is_stale());

    // Removed: nothing serves it again.
    caches.invalidate_tag("user:7", Effect::Remove).await;
    let answer = users
        .get_or_load(&7, || async { Err::<Option<String>, _>("down") })
        .await;
    println!("removed, source down:  {answer:?}");
    assert!(answer.is_err());
    assert_eq!(pages.get(&home).await, Lookup::Miss, "tags span caches");

    // A prefix covers every key whose text begins with it; no keys are searched.
    for country in ["eu/de", "eu/fr", "us/ny"] {
        for page in ["home", "cart", "help"] {
            pages
                .insert(&format!("{country}/{page}"), String::new())
                .await;
        }
    }
    for prefix in ["eu/de/", "eu/"] {
        pages.invalidate_prefix(prefix, Effect::Remove).await;
        println!(
            "prefix {prefix:<7} removed: {} of 9 pages are left",
            held(&pages).await
        );
    }
    assert_eq!(held(&pages).await, 3);

    // A pattern computes the group of a key: here each hundred users are one.
    for id in 0..10_000 {
        users
            .entry(&id)
            .tag("everyone")
            .insert(format!("user {id}"))
            .await;
    }
    let begun = Instant::now();
    users
        .invalidate_pattern("hundred", "42", Effect::Remove)
        .await;
    let one_group = begun.elapsed();
    assert!(users.get(&4_199).await.is_hit() && !users.get(&4_200).await.is_hit());
    let begun = Instant::now();
    caches.invalidate_tag("everyone", Effect::Remove).await;
    let everyone = begun.elapsed();
    println!(
        "100 users removed by their pattern in {one_group:.1?}, 9,900 by their tag in {everyone:.1?}"
    );
    for id in 0..10_000 {
        assert_eq!(users.get(&id).await, Lookup::Miss);
    }

    println!("\n{}", users.stats());
    caches.close().await;
    Ok(())
}

async fn held(pages: &TieredCache<String, String>) -> usize {
    let mut held = 0;
    for country in ["eu/de", "eu/fr", "us/ny"] {
        for page in ["home", "cart", "help"] {
            let page = pages.get(&format!("{country}/{page}")).await;
            held += usize::from(page.is_hit());
        }
    }
    held
}
