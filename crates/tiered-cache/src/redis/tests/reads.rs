//! Reads of many callers at once.

use futures_util::{FutureExt, future::join_all};

use super::*;

/// Goal: many readers are few questions, and each gets its own value. Method: 300 readers of 300 keys,
/// every third of which is not there.
#[tokio::test]
async fn readers_that_come_together_are_asked_for_together() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let keys: Vec<EntryKey> = (0..300).map(|at| key(&at.to_string())).collect();
    for (at, key) in keys.iter().enumerate().filter(|(at, _)| at % 3 != 0) {
        let bytes = Bytes::from(format!("value {at}"));
        let entry = Sealed {
            bytes,
            version: Version(1),
            insertion: false,
        };
        rig.parts
            .tier
            .write(key, entry, MINUTE)
            .await
            .expect("room");
    }
    let reads = keys.iter().map(|key| rig.parts.tier.read(key));
    for (at, answer) in join_all(reads).await.into_iter().enumerate() {
        let value = answer.expect("the server is there");
        let expected = (at % 3 != 0).then(|| Bytes::from(format!("value {at}")));
        assert_eq!(value, expected, "{at}");
    }
    let stats = rig.server.command(&["INFO", "commandstats"]).await;
    let stats = format!("{stats:?}");
    let calls = |command: &str| {
        let after = stats.split(&format!("cmdstat_{command}:calls=")).nth(1);
        let digits = after.and_then(|after| after.split(',').next());
        digits.map_or(0, |digits| digits.parse::<u32>().expect("a number"))
    };
    let (single, many) = (calls("get"), calls("mget"));
    assert!(single + many < 30, "{single} GET, {many} MGET");
}

/// Goal: a reader who leaves strands nobody. Method: those whose questions are under way are dropped, one
/// who waits as well; the others get their answers, and so does who comes later.
#[tokio::test]
async fn readers_who_leave_hand_their_turn_to_those_who_wait() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let key = key("1");
    assert!(rig.write(&key, 1, "one").await);
    for _ in 0..3 {
        let mut reads: Vec<_> = (0..20).map(|_| rig.parts.tier.read(&key)).collect();
        for read in &mut reads {
            assert!(read.now_or_never().is_none(), "nobody has an answer yet");
        }
        let staying = reads.split_off(6);
        drop(reads);
        for answer in join_all(staying).await {
            assert_eq!(answer.expect("here"), Some(Bytes::from("one")));
        }
    }
    assert_eq!(rig.read(&key).await, Some(Bytes::from("one")));
}
