//! What the log does when a part of it is lost, foreign, or out of order.

use super::*;

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
