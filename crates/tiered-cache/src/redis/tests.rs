//! Tier, log and leases on a real server.

#[path = "../../tests/it/redis_server.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod redis_server;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use self::redis_server::{Reply, Server};
use super::{RedisConfig, RedisParts, layout};
use crate::{
    coherence::{Effect, Epoch, Floors, Log, LogError, Page, Record, Standing, Target, Version},
    tier::{EntryKey, Sealed, Tier, TierError},
};

struct Rig {
    server: Server,
    parts: RedisParts,
    floors: Arc<Floors>,
}

impl Rig {
    async fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_with(arguments, 100).await
    }

    async fn start_with(arguments: &[&str], log_entries_max: usize) -> Option<Self> {
        let server = Server::start(arguments).await?;
        let (parts, floors) = open_with(&server.url(), 1, log_entries_max).await;
        Some(Self {
            server,
            parts,
            floors,
        })
    }

    async fn write(&self, key: &EntryKey, version: u64, bytes: &'static str) -> bool {
        let entry = Sealed {
            bytes: Bytes::from_static(bytes.as_bytes()),
            version: Version(version),
            insertion: false,
        };
        let written = self.parts.tier.write(key, entry, MINUTE).await;
        written.expect("the server is there")
    }

    async fn read(&self, key: &EntryKey) -> Option<Bytes> {
        let read = self.parts.tier.read(key).await;
        read.expect("the server is there")
    }

    async fn invalidate(&self, key: &EntryKey, effect: Effect, version: u64) {
        let done = self.parts.tier.invalidate(key, effect, Version(version));
        done.await.expect("the server is there");
    }

    async fn append(&self, target: Target) -> Version {
        let changes = [(target, Effect::Remove)];
        let appended = self.parts.log.append(&changes).await;
        appended.expect("the server is there")
    }

    async fn page(&self, after: Version) -> Page {
        let page = self.parts.log.read(after, 1000, Duration::ZERO).await;
        page.expect("the server is there")
    }

    /// Again and again until there is an answer: the connection may have to come back first.
    async fn page_at_last(&self, after: Version) -> Page {
        let page = async {
            loop {
                match self.parts.log.read(after, 1000, Duration::ZERO).await {
                    Ok(page) => return page,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let page = tokio::time::timeout(MINUTE, page).await;
        page.expect("the log answers again")
    }
}

async fn open(server: &Server, instance: u64) -> (RedisParts, Arc<Floors>) {
    open_with(&server.url(), instance, 100).await
}

async fn open_with(url: &str, instance: u64, log_entries_max: usize) -> (RedisParts, Arc<Floors>) {
    let config = RedisConfig {
        url: url.to_owned(),
        // Far above what a busy machine needs.
        command_timeout: Duration::from_secs(10),
        connect_grace: Duration::from_secs(10),
        log_entries_max,
        ..RedisConfig::default()
    };
    let floors = Arc::new(Floors::new(16));
    let parts = RedisParts::open(&config, "shop", 0, instance, &floors).await;
    (parts.expect("the settings are sound"), floors)
}

fn key(text: &str) -> EntryKey {
    EntryKey {
        cache: Arc::from("users"),
        hash: crate::hash::text_hash(text),
        text: Arc::from(text),
    }
}

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
            assert_eq!(rig.read(&one).await, None, "{command:?}");
            for answer in rig.parts.tier.read_many(&[one.clone(), two]).await {
                assert_eq!(answer.expect("no error"), None, "{command:?}");
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
                assert_eq!(answer.expect("answered"), None, "{word} of {count}");
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
async fn records_are_read_in_order_as_they_were_appended() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let empty = rig.page(Version(0)).await;
    let changes = vec![
        (Target::Key(u64::MAX), Effect::Remove),
        (Target::Tag(7), Effect::Expire),
    ];
    let first = rig.parts.log.append(&changes).await.expect("answered");
    let second = rig.append(Target::All).await;
    assert!(first < second);
    assert!(first > empty.last);
    // The calendar, in milliseconds since 2020 times 4,096.
    assert!(first.0 > (190_000_000_000 << 12), "{first}");

    let page = rig.page(empty.last).await;
    let expected = [
        Record {
            version: first,
            by: 1,
            changes,
        },
        Record {
            version: second,
            by: 1,
            changes: vec![(Target::All, Effect::Remove)],
        },
    ];
    assert_eq!(page.records, expected);
    assert_eq!((page.last, page.trimmed), (second, Version(0)));
    assert_eq!(page.epoch, empty.epoch);

    let one = rig.parts.log.read(empty.last, 1, Duration::ZERO).await;
    assert_eq!(one.expect("answered").records.len(), 1);
    assert_eq!(rig.page(first).await.records.len(), 1);
    assert_eq!(rig.page(second).await.records, []);
}

#[tokio::test]
async fn a_waiting_read_wakes_when_another_process_appends() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let (other, _) = open(&rig.server, 2).await;
    let last = rig.page(Version(0)).await.last;
    let waiting = rig.parts.log.read(last, 10, Duration::from_secs(10));
    let changes = [(Target::Key(3), Effect::Expire)];
    let (page, version) = tokio::join!(waiting, other.log.append(&changes));
    let (page, version) = (page.expect("answered"), version.expect("answered"));
    let expected = Record {
        version,
        by: 2,
        changes: changes.to_vec(),
    };
    assert_eq!(page.records, [expected]);
}

#[tokio::test]
async fn a_trimmed_log_says_up_to_where() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let epoch = rig.page(Version(0)).await.epoch;
    let mut versions = Vec::new();
    for number in 0..500 {
        versions.push(rig.append(Target::Key(number)).await);
    }
    let page = rig.page(Version(0)).await;
    let first = page.records.first().expect("some are kept").version;
    assert!(page.trimmed > Version(0));
    assert_eq!(
        versions.iter().copied().filter(|at| *at < first).max(),
        Some(page.trimmed)
    );
    assert_eq!(page.epoch, epoch);

    let _ = rig
        .server
        .command(&["XTRIM", "{shop}:log", "MAXLEN", "0"])
        .await;
    let page = rig.page(Version(0)).await;
    assert_eq!(page.trimmed, page.last);
    assert_eq!(Some(&page.last), versions.last());
    assert_eq!(page.epoch, epoch);
}

#[tokio::test]
async fn tag_and_cache_floors_are_kept_for_processes_to_come() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    rig.append(Target::Key(1)).await;
    let old = rig.append(Target::Tag(2)).await;
    let tag = rig.append(Target::Tag(2)).await;
    let cache = rig.append(Target::Cache(3)).await;
    assert!(old < tag);
    let (other, _) = open(&rig.server, 2).await;
    let floors = other.log.floors().await.expect("answered");
    let expected = [
        (Target::Tag(2), Effect::Remove, tag),
        (Target::Cache(3), Effect::Remove, cache),
    ];
    assert_eq!(floors, expected);
}

#[tokio::test]
async fn forgotten_floors_raise_the_common_one() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let mut versions = Vec::new();
    for batch in 0..20_u64 {
        let changes: Vec<_> = (0..1000)
            .map(|at| (Target::Tag(batch * 1000 + at), Effect::Remove))
            .collect();
        versions.push(rig.parts.log.append(&changes).await.expect("answered"));
    }
    let floors = rig.parts.log.floors().await.expect("answered");
    assert!(floors.len() <= 16_384, "{}", floors.len());
    let common = floors
        .iter()
        .find(|(target, ..)| *target == Target::All)
        .expect("some were forgotten");
    for (batch, version) in versions.iter().enumerate() {
        let known = floors.iter().filter(|(_, _, at)| at == version).count();
        let whole = known >= 1000;
        assert!(whole || common.2 >= *version, "batch {batch}: {known}");
    }
    assert!(common.2 < *versions.last().expect("20 of them"));
}

async fn another_epoch(rig: &Rig, before: &Page, what: &str) -> Page {
    let page = rig.page_at_last(before.last).await;
    assert_ne!(page.epoch, before.epoch, "{what}");
    assert!(page.last > before.last, "{what}");
    let again = rig.page(before.last).await;
    assert_eq!(again.epoch, page.epoch, "{what}");
    page
}

#[tokio::test]
async fn whatever_loses_a_part_of_the_log_begins_another_epoch() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let mut before = rig.page(Version(0)).await;
    let losses: [&[&str]; 9] = [
        &["FLUSHALL"],
        &["DEL", "{shop}:log"],
        &["DEL", "{shop}:floors"],
        &["DEL", "{shop}:intents"],
        &["SET", "{shop}:log", "foreign"],
        &["SET", "{shop}:floors", "foreign"],
        &["SET", "{shop}:intents", "foreign"],
        &["ZADD", "{shop}:floors", "+inf", "foreign"],
        &["XADD", "{shop}:log", "9007199254740992-1", "x", "y"],
    ];
    for loss in losses {
        rig.append(Target::Tag(1)).await;
        before = rig.page(before.last).await;
        // The foreign value has to find its place free.
        if loss[0] == "SET" {
            let _ = rig.server.command(&["DEL", loss[1]]).await;
        }
        let done = rig.server.command(loss).await;
        assert!(!matches!(done, Reply::Error(_)), "{loss:?}: {done:?}");
        before = another_epoch(&rig, &before, &format!("{loss:?}")).await;
        assert_eq!(rig.parts.log.floors().await.expect("answered"), []);
    }
}

#[tokio::test]
async fn a_restart_without_data_begins_another_epoch_above_the_last() {
    let Some(mut rig) = Rig::start(&[]).await else {
        return;
    };
    rig.append(Target::Tag(1)).await;
    let before = rig.page(Version(0)).await;
    rig.server.restart().await;
    let after = another_epoch(&rig, &before, "restart").await;
    assert_ne!(after.epoch.run, before.epoch.run);
}

#[tokio::test]
async fn a_restart_with_its_data_begins_another_epoch_too() {
    let persistent = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut rig) = Rig::start(&persistent).await else {
        return;
    };
    rig.append(Target::Tag(1)).await;
    let before = rig.page(Version(0)).await;
    rig.server.restart().await;
    let kept = rig.server.command(&["XLEN", "{shop}:log"]).await;
    assert_eq!(kept.number(), 2, "the data came back");
    another_epoch(&rig, &before, "restart").await;
}

#[tokio::test]
async fn the_log_goes_on_above_its_last_version_when_the_clock_goes_back() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let before = rig.page(Version(0)).await;
    // As if an hour had been lived in the future.
    let ahead = Version(before.last.0 + (3_600_000 << 12));
    let id = format!("{ahead}-0");
    let add = ["XADD", "{shop}:log", &id, "p", "1", "b", "2", "c", ""];
    let _ = rig.server.command(&add).await;
    let next = rig.append(Target::Key(1)).await;
    assert_eq!(next, Version(ahead.0 + 1));
    // Even when all is lost but what a process has seen.
    let _ = rig.server.command(&["FLUSHALL"]).await;
    assert!(rig.append(Target::Key(1)).await > next);
}

#[tokio::test]
async fn a_record_that_nobody_can_read_stands_for_everything() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let last = rig.page(Version(0)).await.last;
    let id = format!("{}-7", last.0 + 1);
    let _ = rig
        .server
        .command(&["XADD", "{shop}:log", &id, "message", "x"])
        .await;
    let page = rig.page(last).await;
    let expected = Record {
        version: Version(last.0 + 1),
        by: 0,
        changes: vec![(Target::All, Effect::Remove)],
    };
    assert_eq!(page.records, [expected]);
    assert!(rig.append(Target::Key(1)).await > page.last);
}

#[tokio::test]
async fn a_log_out_of_versions_says_so() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    rig.page(Version(0)).await;
    let id = format!("{}-0", layout::VERSION_MAX);
    let _ = rig
        .server
        .command(&["XADD", "{shop}:log", &id, "p", "1", "b", "1", "c", ""])
        .await;
    let changes = [(Target::Key(1), Effect::Remove)];
    let refused = rig.parts.log.append(&changes).await;
    assert!(matches!(refused, Err(LogError::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn only_one_of_those_who_renew_begins_an_epoch() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let (other, _) = open(&rig.server, 2).await;
    let old = rig.page(Version(0)).await.epoch;
    let (one, two) = tokio::join!(
        rig.parts.log.renew(old, Version(0)),
        other.log.renew(old, Version(0))
    );
    let (one, two) = (one.expect("answered"), two.expect("answered"));
    assert_eq!(one, two);
    assert_ne!(one.id, old.id);
    assert_eq!(one.run, old.run);
    assert_eq!(
        rig.parts
            .log
            .renew(old, Version(0))
            .await
            .expect("answered"),
        one
    );
    let unknown = Epoch { id: 0, run: 0 };
    assert_eq!(
        rig.parts
            .log
            .renew(unknown, Version(0))
            .await
            .expect("answered"),
        one
    );
    assert_eq!(rig.page(Version(0)).await.epoch, one);
}

#[tokio::test]
async fn the_log_goes_on_above_what_those_who_renew_know() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let (other, _) = open(&rig.server, 2).await;
    let page = rig.page(Version(0)).await;
    let above = Version(page.last.0 + (3_600_000 << 12));
    let begun = rig.parts.log.renew(page.epoch, above).await;
    let begun = begun.expect("answered");
    assert_ne!(begun, page.epoch);
    let changes = [(Target::Key(1), Effect::Remove)];
    let next = other.log.append(&changes).await.expect("answered");
    assert!(next > above);
    // Also for those who come too late to begin it.
    let above = Version(next.0 + (3_600_000 << 12));
    let late = rig.parts.log.renew(page.epoch, above).await;
    assert_eq!(late.expect("answered"), begun);
    let next = other.log.append(&changes).await.expect("answered");
    assert!(next > above);
}

#[tokio::test]
async fn a_page_shorter_than_asked_for_does_not_hide_the_rest() {
    let Some(rig) = Rig::start_with(&[], 10_000).await else {
        return;
    };
    let first = rig.page(Version(0)).await.last;
    for number in 0..1500 {
        rig.append(Target::Key(number)).await;
    }
    let (mut at, mut seen) = (first, 0);
    while seen < 1500 {
        let page = rig.parts.log.read(at, 5000, Duration::ZERO).await;
        let page = page.expect("answered");
        assert!(!page.records.is_empty());
        seen += page.records.len();
        assert_eq!(
            Some(page.last),
            page.records.last().map(|last| last.version)
        );
        at = page.last;
    }
    assert_eq!(seen, 1500);
}

#[tokio::test]
async fn intents_are_overdue_by_the_clock_of_redis() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let log = &rig.parts.log;
    let changes = b"any \0\r\n:\xff bytes".as_slice();
    let hour = Duration::from_secs(3600);
    let prepared = [
        (1, hour),
        (1, Duration::ZERO),
        (2, hour),
        (u64::MAX, Duration::ZERO),
    ];
    for (intent, due) in prepared {
        let done = log.prepare(intent, changes, due).await;
        done.expect("the server is there");
    }
    let mut overdue = log.overdue().await.expect("answered");
    overdue.sort();
    assert_eq!(
        overdue,
        [(1, changes.to_vec()), (u64::MAX, changes.to_vec())]
    );
    for intent in [1, u64::MAX, 77] {
        log.complete(intent).await.expect("answered");
    }
    assert_eq!(log.overdue().await.expect("answered"), []);

    // A new epoch keeps them: their transactions may commit after it began.
    let page = rig.page(Version(0)).await;
    log.renew(page.epoch, Version(0)).await.expect("answered");
    let kept = rig
        .server
        .command(&["HEXISTS", "{shop}:intents", "0000000000000002"])
        .await;
    assert_eq!(kept.number(), 1);

    let _ = rig
        .server
        .command(&["HSET", "{shop}:intents", "0000000000000009", "?"])
        .await;
    let damaged = vec![(9, b"?".to_vec())];
    assert_eq!(log.overdue().await.expect("answered"), damaged);
}

#[tokio::test]
async fn intents_are_bounded() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let hour = Duration::from_secs(3600);
    let mut refused = None;
    for intent in 0..5000 {
        if let Err(error) = rig.parts.log.prepare(intent, &[], hour).await {
            refused = Some((intent, error));
            break;
        }
    }
    let (at, error) = refused.expect("a bound");
    assert_eq!(at, 4096);
    assert!(matches!(error, LogError::Failed(_)), "{error:?}");
}

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

const MINUTE: Duration = Duration::from_secs(60);
