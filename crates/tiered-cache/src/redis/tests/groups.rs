//! A Cluster of three nodes, and a failover by Sentinel.

use super::{
    redis_group::{Cluster, Sentinel, until},
    *,
};

#[tokio::test]
async fn a_cluster_spreads_the_keys_and_keeps_the_log_together() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (parts, _) = open_with(&cluster.url(), 1, 100).await;
    let keys: Vec<EntryKey> = (0..300).map(|at| key(&at.to_string())).collect();
    for (at, key) in keys.iter().enumerate() {
        let entry = Sealed {
            bytes: Bytes::from(format!("value {at}")),
            version: Version(5),
            insertion: false,
        };
        let written = parts.tier.write(key, entry, MINUTE).await;
        assert!(written.expect("the cluster is there"));
    }
    for node in &cluster.nodes {
        assert!(node.command(&["DBSIZE"]).await.number() > 50);
    }
    let removed = parts.tier.invalidate(&keys[7], Effect::Remove, Version(6));
    removed.await.expect("the cluster is there");
    let answers = parts.tier.read_many(&keys).await;
    for (at, answer) in answers.into_iter().enumerate() {
        let expected = (at != 7).then(|| Bytes::from(format!("value {at}")));
        assert_eq!(answer.expect("the cluster is there"), expected);
    }

    let changes = [(Target::Tag(1), Effect::Remove)];
    let version = parts.log.append(&changes).await.expect("answered");
    let read = parts.log.read(Version(0), 10, Duration::from_secs(5));
    let page = read.await.expect("answered");
    assert_eq!(page.records.last().map(|last| last.version), Some(version));
    let floors = parts.log.floors().await.expect("answered");
    assert_eq!(floors, [(Target::Tag(1), Effect::Remove, version)]);
    let lease = parts.lease.acquire(&keys[0], MINUTE).await;
    assert!(lease.expect("answered").is_some());
    // Scripts that one node knows are unknown to the others, and to this one after a flush.
    for node in &cluster.nodes {
        let _ = node.command(&["SCRIPT", "FLUSH"]).await;
    }
    for key in &keys[..50] {
        let removed = parts.tier.invalidate(key, Effect::Remove, Version(7));
        removed.await.expect("the cluster is there");
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (parts, _) = open_with(&cluster.url(), 1, 100).await;
    let key = key("1");
    assert_eq!(parts.tier.read(&key).await.expect("answered"), None);
    let name = "shop:0:users:1";
    let owner = (cluster.node_of(name).await + 1) % 3;
    let slot = cluster.nodes[0]
        .command(&["CLUSTER", "KEYSLOT", name])
        .await;
    let slot = slot.number().to_string();
    let id = cluster.nodes[owner].command(&["CLUSTER", "MYID"]).await;
    for node in &cluster.nodes {
        let moved = ["CLUSTER", "SETSLOT", &slot, "NODE", id.text()];
        assert_eq!(node.command(&moved).await, Reply::Text("OK".to_owned()));
    }
    let removed = parts.tier.invalidate(&key, Effect::Remove, Version(5));
    removed.await.expect("followed");
    let kept = cluster.nodes[owner].command(&["EXISTS", name]).await;
    assert_eq!(kept.number(), 1);
}

#[tokio::test]
async fn a_node_of_a_cluster_that_restarts_is_found_again() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let (parts, _) = open_with(&cluster.url(), 1, 100).await;
    let changes = [(Target::Tag(1), Effect::Remove)];
    parts.log.append(&changes).await.expect("answered");
    let before = parts.log.read(Version(0), 10, Duration::ZERO).await;
    let before = before.expect("answered");
    let holder = cluster.node_of("{shop}:log").await;
    cluster.nodes[holder].kill();
    cluster.nodes[holder].restart().await;
    cluster.settled().await;
    let mut after = None;
    until("the log answers again", async || {
        let read = parts.log.read(before.last, 10, Duration::ZERO).await;
        after = read.ok();
        after.is_some()
    })
    .await;
    let after = after.expect("just seen");
    assert_ne!(after.epoch, before.epoch);
    assert!(after.last > before.last);
}

#[tokio::test]
async fn a_failover_begins_another_epoch_on_the_new_primary() {
    let Some(mut group) = Sentinel::start().await else {
        return;
    };
    let (parts, _) = open_with(&group.url(), 1, 100).await;
    let changes = [(Target::Tag(1), Effect::Remove)];
    parts.log.append(&changes).await.expect("answered");
    let before = parts.log.read(Version(0), 10, Duration::ZERO).await;
    let before = before.expect("answered");
    let entry = Sealed {
        bytes: Bytes::from_static(b"value"),
        version: before.last,
        insertion: false,
    };
    let written = parts.tier.write(&key("1"), entry, MINUTE).await;
    assert!(written.expect("answered"));

    group.primary.kill();
    group.promoted().await;
    let mut after = None;
    until("the log answers again", async || {
        let read = parts.log.read(before.last, 10, Duration::ZERO).await;
        after = read.ok();
        after.is_some() && parts.log.append(&changes).await.is_ok()
    })
    .await;
    let after = after.expect("just seen");
    assert_ne!(after.epoch.id, before.epoch.id);
    assert_ne!(after.epoch.run, before.epoch.run);
    assert!(after.last > before.last);
    assert_eq!(after.trimmed, Version(0));
}

/// Sentinel hands the role over while both servers live: the old one answers READONLY to writes.
#[tokio::test]
async fn a_primary_that_is_demoted_is_left() {
    let Some(group) = Sentinel::start().await else {
        return;
    };
    let (parts, _) = open_with(&group.url(), 1, 100).await;
    let changes = [(Target::Tag(1), Effect::Remove)];
    parts.log.append(&changes).await.expect("answered");
    let before = parts.log.read(Version(0), 10, Duration::ZERO).await;
    let before = before.expect("answered");
    let _ = group
        .sentinel
        .command(&["SENTINEL", "FAILOVER", "cache"])
        .await;
    group.promoted().await;
    until("appends reach the new primary", async || {
        let appended = parts.log.append(&changes).await;
        appended.is_ok()
            && group
                .replica
                .command(&["XLEN", "{shop}:log"])
                .await
                .number()
                > 0
    })
    .await;
    let read = async || parts.log.read(before.last, 10, Duration::ZERO).await;
    until("reads reach the new primary", async || {
        read()
            .await
            .is_ok_and(|page| page.epoch.id != before.epoch.id)
    })
    .await;
}
