//! `/api/v1/tasks` as a client sees it.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::support::{Answer, App, request};

const TASKS: &str = "/api/v1/tasks";

on_each_database! {
    a_created_task_is_read_back_as_it_was_answered,
    pages_follow_the_next_link_and_show_every_task_once,
    filters_narrow_the_list,
    a_merge_patch_changes_what_it_names_clears_nulls_and_keeps_the_rest,
    a_status_moves_along_its_rules_and_final_ones_set_the_completion_time,
    a_writer_with_an_old_version_is_told_so,
    a_reader_with_the_newest_version_gets_no_body,
    a_deleted_task_is_gone,
}

async fn a_created_task_is_read_back_as_it_was_answered(app: &App) {
    let created = app
        .post(
            TASKS,
            &json!({"title": "Gr\u{fc}\u{df}e \u{1f980}", "description": "d",
                             "assigned_agent_id": "a", "priority": 9}),
        )
        .await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let task = created.json();
    assert_eq!(created.header("location"), path_of(&task));
    assert_eq!(created.header("etag"), "\"1\"");
    assert_eq!(task["status"], "pending");
    assert_eq!(task["completed_at"], Value::Null);
    let read = app.get(&path_of(&task)).await;
    assert_eq!((read.status, read.json()), (StatusCode::OK, task));
}

async fn pages_follow_the_next_link_and_show_every_task_once(app: &App) {
    for index in 0..7 {
        create(
            app,
            json!({"title": format!("t{index}"), "priority": index % 3}),
        )
        .await;
    }
    let mut path = format!("{TASKS}?limit=3");
    let mut seen = Vec::new();
    for page_number in 0..3 {
        let page = app.get(&path).await;
        let items = page.json()["items"].as_array().unwrap().clone();
        seen.extend(items.iter().map(|task| {
            (
                task["priority"].as_i64().unwrap(),
                task["title"].as_str().unwrap().to_owned(),
            )
        }));
        match next(&page) {
            Some(next) => path = next,
            None => assert_eq!(page_number, 2, "the last page has no next link"),
        }
    }
    let names: Vec<_> = seen.iter().map(|(_, title)| title.as_str()).collect();
    assert_eq!(
        names,
        ["t2", "t5", "t1", "t4", "t0", "t3", "t6"],
        "urgent first, then old first"
    );
}

async fn filters_narrow_the_list(app: &App) {
    let a = create(
        app,
        json!({"title": "a", "assigned_agent_id": "x", "priority": 1}),
    )
    .await;
    create(
        app,
        json!({"title": "b", "assigned_agent_id": "y", "priority": 8}),
    )
    .await;
    create(
        app,
        json!({"title": "c", "assigned_agent_id": "x", "priority": 8}),
    )
    .await;
    patch(app, &a, json!({"status": "running"})).await;
    for (query, expected) in [
        ("assigned_agent_id=x", vec!["c", "a"]),
        ("min_priority=8", vec!["b", "c"]),
        ("status=running", vec!["a"]),
        ("status=pending&assigned_agent_id=x", vec!["c"]),
        ("status=done", vec![]),
    ] {
        let page = app.get(&format!("{TASKS}?{query}")).await.json();
        let titles: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| &task["title"])
            .collect();
        assert_eq!(titles, expected, "{query}");
        assert_eq!(page["next"], Value::Null, "{query}");
    }
}

async fn a_merge_patch_changes_what_it_names_clears_nulls_and_keeps_the_rest(app: &App) {
    let task = create(
        app,
        json!({"title": "t", "description": "d", "assigned_agent_id": "a"}),
    )
    .await;
    let patched = patch(app, &task, json!({"description": null, "priority": 0})).await;
    assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    assert_eq!(patched.header("etag"), "\"2\"");
    let after = patched.json();
    assert_eq!(after["description"], Value::Null);
    assert_eq!(after["priority"], 0);
    assert_eq!(after["title"], "t");
    assert_eq!(after["assigned_agent_id"], "a");
    assert_eq!(app.get(&path_of(&task)).await.json(), after);
    // `null` clears what may be absent; a title may not.
    patch(app, &task, json!({"title": null}))
        .await
        .expect_problem(422, "invalid");
    patch(app, &task, json!({"title": ""}))
        .await
        .expect_problem(422, "invalid");
    assert_eq!(app.get(&path_of(&task)).await.json(), after);
}

async fn a_status_moves_along_its_rules_and_final_ones_set_the_completion_time(app: &App) {
    let task = create(app, json!({"title": "t"})).await;
    patch(app, &task, json!({"status": "done"}))
        .await
        .expect_problem(409, "conflict");
    let running = patch(app, &task, json!({"status": "running"})).await.json();
    assert_eq!(running["completed_at"], Value::Null);
    let done = patch(app, &task, json!({"status": "done"})).await.json();
    assert!(done["completed_at"].is_string(), "{done}");
    patch(app, &task, json!({"status": "running"}))
        .await
        .expect_problem(409, "conflict");
}

async fn a_writer_with_an_old_version_is_told_so(app: &App) {
    let task = create(app, json!({"title": "t"})).await;
    let change = async |etag: &str| {
        let headers = [
            ("content-type", "application/merge-patch+json"),
            ("if-match", etag),
        ];
        let body = Body::from(json!({"title": etag}).to_string());
        app.call(request(Method::PATCH, &path_of(&task), &headers, body))
            .await
    };
    assert_eq!(change("\"1\"").await.status, StatusCode::OK);
    let problem = change("\"1\"")
        .await
        .expect_problem(412, "precondition-failed");
    assert_eq!(problem["detail"], "the resource is at version 2 now");
    let headers = [("if-match", "\"1\"")];
    let delete = request(Method::DELETE, &path_of(&task), &headers, Body::empty());
    app.call(delete)
        .await
        .expect_problem(412, "precondition-failed");
    assert_eq!(app.get(&path_of(&task)).await.json()["version"], 2);
}

async fn a_reader_with_the_newest_version_gets_no_body(app: &App) {
    let task = create(app, json!({"title": "t"})).await;
    let read = async |etag: &str| {
        let headers = [("if-none-match", etag)];
        app.call(request(
            Method::GET,
            &path_of(&task),
            &headers,
            Body::empty(),
        ))
        .await
    };
    let same = read("\"1\"").await;
    assert_eq!(
        (same.status, same.body.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
    assert_eq!(same.header("etag"), "\"1\"");
    assert_eq!(read("\"0\"").await.status, StatusCode::OK);
}

async fn a_deleted_task_is_gone(app: &App) {
    let task = create(app, json!({"title": "t"})).await;
    let delete = || request(Method::DELETE, &path_of(&task), &[], Body::empty());
    assert_eq!(app.call(delete()).await.status, StatusCode::NO_CONTENT);
    app.get(&path_of(&task))
        .await
        .expect_problem(404, "not-found");
    app.call(delete()).await.expect_problem(404, "not-found");
    patch(app, &task, json!({"title": "x"}))
        .await
        .expect_problem(404, "not-found");
}

async fn create(app: &App, body: Value) -> Value {
    let created = app.post(TASKS, &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    created.json()
}

async fn patch(app: &App, task: &Value, body: Value) -> Answer {
    let headers = [("content-type", "application/merge-patch+json")];
    let body = Body::from(body.to_string());
    app.call(request(Method::PATCH, &path_of(task), &headers, body))
        .await
}

fn path_of(task: &Value) -> String {
    format!("{TASKS}/{}", task["id"].as_str().unwrap())
}

fn next(page: &Answer) -> Option<String> {
    let link = page
        .header("link")
        .split(", ")
        .find(|link| link.ends_with("rel=\"next\""))?;
    Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned())
}
