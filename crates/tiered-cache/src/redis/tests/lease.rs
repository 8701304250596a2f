//! Leases: one holder at a time, and an end.

use super::*;

#[tokio::test]
async fn a_lease_has_one_holder_and_ends() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let (other, _) = open(&rig.server, 2).await;
    let key = key("1");
    let (one, two) = (&rig.parts.lease, &other.lease);
    let held = one.acquire(&key, MINUTE).await.expect("answered");
    let held = held.expect("nobody holds it");
    assert!(two.acquire(&key, MINUTE).await.expect("answered").is_none());
    let bound = Duration::from_millis(50);
    assert!(
        !two.watch(&key, bound).await.expect("answered"),
        "still held"
    );
    let (seen, ()) = tokio::join!(two.watch(&key, MINUTE), held.release());
    assert!(seen.expect("answered"));

    // Its time is over, another holds it: its release leaves that one alone.
    let late = one.acquire(&key, Duration::from_millis(1)).await;
    let late = late.expect("answered").expect("free");
    assert!(two.watch(&key, MINUTE).await.expect("answered"));
    let new = two.acquire(&key, MINUTE).await.expect("answered");
    assert!(new.is_some());
    late.release().await;
    assert!(one.acquire(&key, MINUTE).await.expect("answered").is_none());
    drop(new);
    assert!(one.watch(&key, MINUTE).await.expect("answered"), "dropped");
}
