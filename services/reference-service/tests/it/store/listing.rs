//! Listings: their order, their filters, and pages that continue behind a place.

use jiff::Timestamp;
use reference_service::{
    domain::{
        Page, Record, RecordFilter, RecordKey, Task, TaskFilter, TaskKey, TaskStatus,
        decode_cursor, encode_cursor,
    },
    store::LIST_ROWS_MAX,
};

use super::fixture::{Fixture, Never, record, tagged, task, titles};

on_both! {
    pages_of_tasks_neither_repeat_nor_skip,
    filters_on_tasks_must_all_hold,
    a_place_need_not_exist_any_more_to_continue_behind_it,
    records_are_listed_newest_first_by_tag_and_importance,
    tags_follow_changes_and_deletions,
    a_listing_is_bounded_whatever_is_asked_for,
    records_made_in_one_moment_are_listed_in_the_order_they_were_made,
}

/// Many ties in priority and creation time; every page size must give the same sequence.
async fn pages_of_tasks_neither_repeat_nor_skip(db: Fixture) {
    let mut expected = Vec::new();
    for index in 0_i64..60 {
        let mut task = task(
            &format!("task {index}"),
            i16::try_from(index % 3).unwrap() * 4,
        );
        task.created_at = Timestamp::from_second(1_800_000_000 + index / 12).unwrap();
        db.store.insert_task(&task).await.unwrap();
        expected.push(task);
    }
    expected.sort_by_key(|task| (-task.priority, task.created_at, task.id));

    for size in [1, 2, 5, 7, 59, 60, 61] {
        let filter = TaskFilter::default();
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let after: Option<TaskKey> =
                cursor.map(|cursor| decode_cursor(&cursor, &filter).unwrap());
            let rows = db
                .store
                .tasks(&filter, after.as_ref(), size + 1)
                .await
                .unwrap();
            let page = Page::cut(rows, size, |task| encode_cursor(&task.key(), &filter));
            seen.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(titles(&seen), titles(&expected), "pages of {size}");
    }
}

async fn filters_on_tasks_must_all_hold(db: Fixture) {
    let mut all = Vec::new();
    for status in TaskStatus::ALL {
        for agent in [None, Some("ann"), Some("bob")] {
            for priority in [0, 5, 9] {
                let mut task = task("t", priority);
                task.status = status;
                task.assigned_agent_id = agent.map(str::to_owned);
                db.store.insert_task(&task).await.unwrap();
                all.push(task);
            }
        }
    }
    for status in [None, Some(TaskStatus::Pending), Some(TaskStatus::Done)] {
        for agent in [None, Some("ann"), Some("nobody")] {
            for min_priority in [None, Some(5), Some(10)] {
                let filter = TaskFilter {
                    status,
                    assigned_agent_id: agent.map(str::to_owned),
                    min_priority,
                };
                let mut expected: Vec<Task> = all.clone();
                expected.retain(|task| {
                    status.is_none_or(|status| task.status == status)
                        && agent
                            .is_none_or(|agent| task.assigned_agent_id.as_deref() == Some(agent))
                        && min_priority.is_none_or(|priority| task.priority >= priority)
                });
                expected.sort_by_key(|task| (-task.priority, task.created_at, task.id));
                let found = db.store.tasks(&filter, None, 100).await.unwrap();
                assert_eq!(found, expected, "{filter:?}");
                if let Some(middle) = expected.get(expected.len() / 2) {
                    let rest = db
                        .store
                        .tasks(&filter, Some(&middle.key()), 100)
                        .await
                        .unwrap();
                    assert_eq!(
                        rest,
                        expected[expected.len() / 2 + 1..],
                        "behind, {filter:?}"
                    );
                }
            }
        }
    }
}

async fn a_place_need_not_exist_any_more_to_continue_behind_it(db: Fixture) {
    let tasks = [task("a", 5), task("b", 5), task("c", 5)];
    for task in &tasks {
        db.store.insert_task(task).await.unwrap();
    }
    db.store.delete_task(tasks[1].id, None).await.unwrap();
    let rest = db
        .store
        .tasks(&TaskFilter::default(), Some(&tasks[1].key()), 9)
        .await
        .unwrap();
    assert_eq!(titles(&rest), ["c"]);
}

async fn records_are_listed_newest_first_by_tag_and_importance(db: Fixture) {
    let mut all = Vec::new();
    for index in 0_i16..40 {
        let tags: &[&str] = if index % 2 == 0 {
            &["even", "all"]
        } else {
            &["odd", "all"]
        };
        let mut record = record(&format!("record {index}"), "text", tags);
        record.importance = index % 5 + 1;
        all.push(record);
    }
    db.store.insert_records(&all).await.unwrap();
    all.reverse();

    for tag in [None, Some("all"), Some("even"), Some("Even"), Some("")] {
        for min_importance in [None, Some(4), Some(6)] {
            let filter = RecordFilter {
                tag: tag.map(str::to_owned),
                query: None,
                min_importance,
            };
            let expected: Vec<&Record> = all
                .iter()
                .filter(|record| {
                    tag.is_none_or(|tag| record.tags.iter().any(|own| own == tag))
                        && min_importance.is_none_or(|least| record.importance >= least)
                })
                .collect();
            let (mut seen, mut after): (Vec<Record>, Option<RecordKey>) = (Vec::new(), None);
            loop {
                let rows = db.store.records(&filter, after.as_ref(), 3).await.unwrap();
                after = rows.last().map(Record::key);
                seen.extend(rows);
                if after.is_none() {
                    break;
                }
            }
            assert!(seen.iter().eq(expected), "{filter:?}");
        }
    }
}

async fn tags_follow_changes_and_deletions(db: Fixture) {
    let first = record("first", "", &["old", "both"]);
    let second = record("second", "", &["both"]);
    db.store.insert_record(&first).await.unwrap();
    db.store.insert_record(&second).await.unwrap();
    assert_eq!(tagged(&db.store, "both").await, ["second", "first"]);

    let update = db.store.update_record(first.id, None, |record| {
        record.tags = vec!["new".to_owned(), "both".to_owned()];
        Ok::<_, Never>(())
    });
    update.await.unwrap();
    assert_eq!(tagged(&db.store, "old").await, [""; 0]);
    assert_eq!(tagged(&db.store, "new").await, ["first"]);

    db.store.delete_record(first.id, None).await.unwrap();
    assert_eq!(tagged(&db.store, "new").await, [""; 0]);
    assert_eq!(tagged(&db.store, "both").await, ["second"]);
}

async fn a_listing_is_bounded_whatever_is_asked_for(db: Fixture) {
    let many: Vec<Record> = (0..LIST_ROWS_MAX + 1)
        .map(|_| record("r", "", &[]))
        .collect();
    db.store.insert_records(&many).await.unwrap();
    let rows = db
        .store
        .records(&RecordFilter::default(), None, usize::MAX)
        .await
        .unwrap();
    assert_eq!(rows.len(), LIST_ROWS_MAX);
    assert!(
        db.store
            .records(&RecordFilter::default(), None, 0)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn records_made_in_one_moment_are_listed_in_the_order_they_were_made(db: Fixture) {
    // The order of `records` is the order of identifiers: it must be that of creation.
    let made: Vec<Record> = (0..100).map(|_| record("r", "", &[])).collect();
    db.store.insert_records(&made).await.unwrap();
    let listed = db
        .store
        .records(&RecordFilter::default(), None, 100)
        .await
        .unwrap();
    assert!(listed.iter().rev().eq(&made));
}
