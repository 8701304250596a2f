//! Invalidations beside a transaction, several at once, and by event.

use futures_util::stream;
use tiered_cache::{Caches, Effect, Invalidation, Loaded, Policy, TieredCache};

async fn caches() -> Caches {
    Caches::builder().build().await.expect("memory alone")
}

fn users(caches: &Caches) -> TieredCache<String, u32> {
    TieredCache::builder("users")
        .policy(Policy {
            stale_if_error: std::time::Duration::from_secs(60),
            ..Policy::default()
        })
        .prefixes(':')
        .pattern("first letter", |key: &String| key.chars().next())
        .build(caches)
        .expect("a policy that works")
}

async fn fill(users: &TieredCache<String, u32>) {
    for key in ["eu:ann", "eu:bob", "us:cid"] {
        let loaded = users
            .get_or_load(&key.to_owned(), || async {
                Ok::<_, std::io::Error>(Loaded::value(1).tag("team:3"))
            })
            .await;
        loaded.expect("the loader works");
    }
}

async fn held(users: &TieredCache<String, u32>) -> Vec<&'static str> {
    let mut held = Vec::new();
    for key in ["eu:ann", "eu:bob", "us:cid"] {
        if users.get(&key.to_owned()).await.is_hit() {
            held.push(key);
        }
    }
    held
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_invalidation_covers_what_it_names() {
    let caches = caches().await;
    let users = users(&caches);
    let ann = "eu:ann".to_owned();
    let cases = [
        (Invalidation::key(&users, &ann), &["eu:bob", "us:cid"][..]),
        (Invalidation::prefix(&users, "eu:"), &["us:cid"]),
        (
            Invalidation::pattern(&users, "first letter", "u"),
            &["eu:ann", "eu:bob"],
        ),
        (Invalidation::cache(&users), &[]),
        (Invalidation::tag("team:3"), &[]),
        (Invalidation::tag("team:4"), &["eu:ann", "eu:bob", "us:cid"]),
    ];
    for (invalidation, left) in cases {
        fill(&users).await;
        caches.invalidations().apply([invalidation.clone()]).await;
        assert_eq!(held(&users).await, left, "{invalidation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_expired_is_a_fallback_and_what_is_removed_is_not() {
    let caches = caches().await;
    let users = users(&caches);
    let ann = "eu:ann".to_owned();
    let broken = || async { Err::<Option<u32>, _>(std::io::Error::other("down")) };
    fill(&users).await;
    let expire = Invalidation::key(&users, &ann).expire();
    caches.invalidations().apply([expire]).await;
    let fallback = users.get_or_load(&ann, broken).await.expect("an old value");
    assert!(fallback.is_stale());
    fill(&users).await;
    let remove = Invalidation::key(&users, &ann).expire().remove();
    caches.invalidations().apply([remove]).await;
    assert!(users.get_or_load(&ann, broken).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_batch_counts_when_its_transaction_has_committed() {
    let caches = caches().await;
    let users = users(&caches);
    fill(&users).await;
    let mut batch = caches.invalidations().begin();
    batch.push(Invalidation::prefix(&users, "eu:"));
    batch.prepare().await.expect("there is nothing to ask");
    assert_eq!(held(&users).await.len(), 3);
    batch.commit().await;
    assert_eq!(held(&users).await, ["us:cid"]);

    let mut batch = caches.invalidations().begin();
    batch.push(Invalidation::tag("team:3"));
    batch.prepare().await.expect("there is nothing to ask");
    batch.rollback().await;
    assert_eq!(held(&users).await, ["us:cid"], "it did not commit");

    let mut batch = caches.invalidations().begin();
    batch.push(Invalidation::tag("team:3"));
    drop(batch);
    assert!(held(&users).await.is_empty(), "whether it did is not known");
}

/// Goal: the load that began before a commit is not kept after it.
#[tokio::test(start_paused = true)]
async fn a_load_that_began_before_the_commit_is_not_kept() {
    let caches = caches().await;
    let users = users(&caches);
    let ann = "eu:ann".to_owned();
    let mut batch = caches.invalidations().begin();
    batch.push(Invalidation::key(&users, &ann));
    let load = users.get_or_load(&ann, || async {
        // What it has read is of before the commit.
        batch.commit().await;
        Ok::<_, std::io::Error>(Some(7))
    });
    load.await.expect("its caller gets what it asked for");
    assert!(!users.get(&ann).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn events_invalidate_what_they_are_mapped_to_until_they_end() {
    let caches = caches().await;
    let users = users(&caches);
    fill(&users).await;
    let events = stream::iter([Some("eu:ann"), None, Some("us:cid")]);
    let invalidations = caches.invalidations();
    let follow = invalidations.follow(events, |event| {
        event.map(|key| Invalidation::key(&users, &key.to_owned()).remove())
    });
    follow.await;
    assert_eq!(held(&users).await, ["eu:bob"]);
    caches.invalidate_tag("team:3", Effect::Remove).await;
    assert!(held(&users).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_came_before_an_event_that_panics_is_applied() {
    let caches = caches().await;
    let users = users(&caches);
    fill(&users).await;
    let following = tokio::spawn({
        let (invalidations, users) = (caches.invalidations(), users.clone());
        async move {
            let events = stream::iter(["eu:ann", "", "us:cid"]);
            let map = |key: &str| {
                assert!(!key.is_empty(), "a fault of the mapping");
                [Invalidation::key(&users, &key.to_owned())]
            };
            invalidations.follow(events, map).await;
        }
    });
    assert!(following.await.is_err_and(|error| error.is_panic()));
    assert_eq!(held(&users).await, ["eu:bob", "us:cid"]);
}
