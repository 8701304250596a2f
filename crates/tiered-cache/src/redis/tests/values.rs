//! Values, tombstones and soft floors in their own place.

use super::*;

#[tokio::test]
async fn a_fill_loses_to_whatever_is_newer() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let key = key("1");
    assert_eq!(rig.read(&key).await, None);
    assert!(rig.write(&key, 10, "ten").await);
    assert!(!rig.write(&key, 9, "nine").await);
    assert!(rig.write(&key, 10, "ten again").await);
    assert_eq!(rig.read(&key).await, Some(Bytes::from("ten again")));

    rig.invalidate(&key, Effect::Remove, 10).await;
    assert!(
        rig.read(&key).await.is_some(),
        "its fill knew of the removal"
    );
    rig.invalidate(&key, Effect::Remove, 11).await;
    assert_eq!(rig.read(&key).await, None);
    assert!(!rig.write(&key, 10, "late").await);
    rig.invalidate(&key, Effect::Remove, 5).await;
    assert!(
        !rig.write(&key, 10, "late").await,
        "an older removal lowers nothing"
    );
    assert!(rig.write(&key, 11, "eleven").await);
    let life = rig.server.command(&["PTTL", "shop:0:users:1"]).await;
    assert!((1..=60_000).contains(&life.number()), "{life:?}");
}

#[tokio::test]
async fn an_expiry_keeps_the_bytes_and_tells_the_floors() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let (key, cache) = (key("1"), rig.floors.of_cache(1));
    assert!(rig.write(&key, 10, "ten").await);
    rig.invalidate(&key, Effect::Expire, 12).await;
    rig.invalidate(&key, Effect::Expire, 11).await;
    let standing = || {
        rig.floors
            .standing_shared(&cache, key.hash, &[], Version(10))
    };
    assert_eq!(standing(), Standing::Valid);
    assert_eq!(rig.read(&key).await, Some(Bytes::from("ten")));
    assert_eq!(standing(), Standing::Expired);
    assert!(!rig.write(&key, 11, "stale already").await);
    assert!(rig.write(&key, 12, "twelve").await);
    let life = rig.server.command(&["PTTL", "shop:0:users:1"]).await;
    assert!((1..=60_000).contains(&life.number()), "{life:?}");

    let absent = self::key("2");
    rig.invalidate(&absent, Effect::Expire, 12).await;
    assert_eq!(rig.read(&absent).await, None);
    assert!(!rig.write(&absent, 11, "late").await);
    assert!(rig.write(&absent, 12, "twelve").await);
}

#[tokio::test]
async fn a_removal_below_an_expiry_keeps_both() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let key = key("1");
    assert!(rig.write(&key, 10, "ten").await);
    rig.invalidate(&key, Effect::Expire, 20).await;
    rig.invalidate(&key, Effect::Remove, 15).await;
    assert_eq!(rig.read(&key).await, None);
    assert!(!rig.write(&key, 17, "between").await);
    assert!(rig.write(&key, 20, "after").await);
}

#[tokio::test]
async fn versions_are_exact_up_to_53_bits() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let (key, last) = (key("1"), layout::VERSION_MAX);
    for version in [0, 1, (1 << 31) - 1, 1 << 32, last - 1, last] {
        rig.invalidate(&key, Effect::Remove, version).await;
        assert!(rig.write(&key, version, "same").await, "{version}");
        if version > 0 {
            assert!(!rig.write(&key, version - 1, "older").await, "{version}");
        }
    }
    assert_eq!(rig.read(&key).await, Some(Bytes::from("same")));
}

#[tokio::test]
async fn foreign_values_are_misses_and_make_way() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let nines = format!("V{}x", "9".repeat(34));
    let foreign: [&[&str]; 5] = [
        &["SET", "shop:0:users:1", "something else"],
        &["SET", "shop:0:users:1", ""],
        &["SET", "shop:0:users:1", &nines],
        &["RPUSH", "shop:0:users:1", "message", "x"],
        &["HSET", "shop:0:users:1", "x", "y"],
    ];
    for command in foreign {
        for effect in [None, Some(Effect::Expire), Some(Effect::Remove)] {
            let _ = rig.server.command(&["DEL", "shop:0:users:1"]).await;
            let _ = rig.server.command(command).await;
            let (one, two) = (key("1"), key("2"));
            assert_eq!(rig.read(&one).await, Some(Bytes::new()), "{command:?}");
            for answer in rig.parts.tier.read_many(&[one.clone(), two]).await {
                let answer = answer.expect("no error");
                assert!(answer.is_none_or(|bytes| bytes.is_empty()), "{command:?}");
            }
            if let Some(effect) = effect {
                rig.invalidate(&one, effect, 5).await;
                assert!(!rig.write(&one, 4, "late").await, "{command:?}");
            }
            assert!(rig.write(&one, 5, "ours").await, "{command:?}");
            assert_eq!(rig.read(&one).await, Some(Bytes::from("ours")));
        }
    }
}

/// fred takes an array that begins with these words for a message of a channel, and drops it.
#[tokio::test]
async fn foreign_words_do_not_mix_up_the_answers() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    for word in [
        "message",
        "pmessage",
        "smessage",
        "subscribe",
        "punsubscribe",
        "pubsub",
    ] {
        let _ = rig.server.command(&["SET", "shop:0:users:0", word]).await;
        let _ = rig.server.command(&["SET", "shop:0:users:1", word]).await;
        for count in 1..=7 {
            let keys: Vec<EntryKey> = (0..count).map(|at| key(&at.to_string())).collect();
            for answer in rig.parts.tier.read_many(&keys).await {
                let answer = answer.expect("answered");
                assert!(
                    answer.is_none_or(|bytes| bytes.is_empty()),
                    "{word} of {count}"
                );
            }
        }
        assert_eq!(rig.read(&key("9")).await, None);
    }
}

#[tokio::test]
async fn many_keys_are_read_at_once_in_their_order() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    for at in (0..1200).step_by(3) {
        assert!(rig.write(&key(&at.to_string()), 1, "here").await);
    }
    let _ = rig.server.command(&["CONFIG", "RESETSTAT"]).await;
    let keys: Vec<EntryKey> = (0..1200).map(|at| key(&at.to_string())).collect();
    let answers = rig.parts.tier.read_many(&keys).await;
    assert_eq!(answers.len(), keys.len());
    for (at, answer) in answers.into_iter().enumerate() {
        let expected = (at % 3 == 0).then(|| Bytes::from("here"));
        assert_eq!(answer.expect("the server is there"), expected, "{at}");
    }
    let stats = rig.server.command(&["INFO", "commandstats"]).await;
    let stats = stats.text();
    assert!(stats.contains("cmdstat_mget:calls=3,"), "{stats}");
    assert!(!stats.contains("cmdstat_get:"), "{stats}");
}

#[tokio::test]
async fn scripts_are_sent_again_after_a_flush_of_scripts() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let key = key("1");
    assert!(rig.write(&key, 1, "one").await);
    let _ = rig.server.command(&["SCRIPT", "FLUSH"]).await;
    assert!(rig.write(&key, 2, "two").await);
    assert!(rig.write(&key, 3, "three").await);
    rig.append(Target::Key(1)).await;
    let _ = rig.server.command(&["SCRIPT", "FLUSH"]).await;
    rig.append(Target::Key(1)).await;
    assert_eq!(rig.read(&key).await, Some(Bytes::from("three")));
}

#[tokio::test]
async fn what_is_asked_after_the_end_is_unavailable() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    rig.parts.close().await;
    let read = rig.parts.tier.read(&key("1")).await;
    assert!(matches!(read, Err(TierError::Unavailable)), "{read:?}");
    let page = rig
        .parts
        .log
        .read(Version(0), 1, Duration::from_secs(1))
        .await;
    assert!(matches!(page, Err(LogError::Unavailable)), "{page:?}");
}
