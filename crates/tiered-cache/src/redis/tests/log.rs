//! The log: records, floors, intents.

use super::*;

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
    let (rig, hour) = (&rig, Duration::from_secs(3600));
    let mut refused = None;
    for some in 0..50_u64 {
        let some = some * 100..(some + 1) * 100;
        let prepared = some.map(|intent| async move {
            let done = rig.parts.log.prepare(intent, b"x", hour).await;
            done.err().map(|error| (intent, error))
        });
        let errors = futures_util::future::join_all(prepared).await;
        refused = errors.into_iter().flatten().next();
        if refused.is_some() {
            break;
        }
    }
    let (at, error) = refused.expect("a bound");
    assert_eq!(at, 4096);
    assert!(matches!(error, LogError::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn a_read_that_is_dropped_does_not_hold_up_the_next() {
    let Some(rig) = Rig::start(&[]).await else {
        return;
    };
    let last = rig.page(Version(0)).await.last;
    let waiting = rig.parts.log.read(last, 10, Duration::from_secs(10));
    // Until it waits inside Redis.
    tokio::select! {
        biased;
        () = redis_group::until("it waits", async || {
            let clients = rig.server.command(&["INFO", "clients"]).await;
            clients.text().contains("blocked_clients:1")
        }) => {}
        page = waiting => panic!("there is nothing to read: {page:?}"),
    }
    let begun = tokio::time::Instant::now();
    rig.page_at_last(last).await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}
