//! Whatever a client sends, it gets the documented 4xx: never a 500, never a hang, never a panic.

use axum::{body::Body, http::Method};
use serde_json::json;

use crate::support::{App, request};

const TASKS: &str = "/api/v1/tasks";
const RECORDS: &str = "/api/v1/records";
const JSON: &str = "application/json";

on_each_database! {
    bodies_that_are_not_json_are_malformed,
    json_that_does_not_fit_names_the_field,
    every_broken_rule_is_listed,
    other_media_types_are_refused,
    bodies_over_the_limit_are_refused,
    ids_that_are_no_uuid_are_invalid,
    parameters_out_of_bounds_name_themselves,
    cursors_that_are_not_ours_are_malformed,
    preconditions_that_are_not_ours_are_malformed,
    unknown_routes_and_methods_are_problems_too,
}

async fn bodies_that_are_not_json_are_malformed(app: &App) {
    for body in [
        &b""[..],
        b"{",
        b"{\"title\":",
        b"{\"title\":\"a\"} trailing",
        b"{\"title\":\"\\ud800\"}",
        b"{\"title\":\"\\ud800\\u0041\"}",
        b"{\"title\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{\"title\":\"a\"}",
        b"{\"title\":\"a\x00\"}",
        b"NaN",
    ] {
        post(app, JSON, body.to_vec())
            .await
            .expect_problem(400, "malformed");
    }
    // Far deeper than any document that we take; the parser must not run out of stack.
    let deep = format!("{{\"title\":{}", "[".repeat(500_000));
    let answer = post(app, JSON, deep.into_bytes()).await;
    assert!([400, 422].contains(&answer.status.as_u16()), "{answer:?}");
}

async fn json_that_does_not_fit_names_the_field(app: &App) {
    for (body, loc, kind) in [
        (json!({}), json!(["body", "title"]), "missing"),
        (json!({"title": 7}), json!(["body", "title"]), "type"),
        (json!({"title": null}), json!(["body", "title"]), "type"),
        (
            json!({"title": "a", "priority": "9"}),
            json!(["body", "priority"]),
            "type",
        ),
        (
            json!({"title": "a", "priority": 1.5}),
            json!(["body", "priority"]),
            "type",
        ),
        (
            json!({"title": "a", "priority": 99_999_999_999_i64}),
            json!(["body", "priority"]),
            "type",
        ),
        (
            json!({"title": "a", "surprise": 1}),
            json!(["body", "surprise"]),
            "unknown",
        ),
        (json!([]), json!(["body"]), "type"),
        (json!(["a", null, null, 5]), json!(["body"]), "type"),
        (json!("text"), json!(["body"]), "type"),
    ] {
        let problem = app.post(TASKS, &body).await.expect_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["loc"], loc, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["type"], kind, "{body}: {problem}");
    }
    let tags = json!({"title": "a", "text": "", "tags": ["b", 7]});
    let problem = app
        .post(RECORDS, &tags)
        .await
        .expect_problem(422, "invalid");
    assert_eq!(
        problem["errors"][0]["loc"],
        json!(["body", "tags", "1"]),
        "{problem}"
    );
}

async fn every_broken_rule_is_listed(app: &App) {
    let body = json!({"title": "\u{0}", "text": "x".repeat(70_000), "importance": 6,
                      "tags": ["ok", "", "t".repeat(65)]});
    let problem = app
        .post(RECORDS, &body)
        .await
        .expect_problem(422, "invalid");
    let errors = problem["errors"].as_array().unwrap();
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error["loc"].to_string(), error["type"].as_str().unwrap()))
        .collect();
    let expected = [
        (json!(["body", "title"]).to_string(), "nul"),
        (json!(["body", "text"]).to_string(), "too_long"),
        (json!(["body", "tags", "1"]).to_string(), "too_short"),
        (json!(["body", "tags", "2"]).to_string(), "too_long"),
        (json!(["body", "importance"]).to_string(), "out_of_range"),
    ];
    assert_eq!(found, expected);
}

async fn other_media_types_are_refused(app: &App) {
    let body = || b"{\"title\":\"a\"}".to_vec();
    for media_type in [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
    ] {
        post(app, media_type, body())
            .await
            .expect_problem(415, "unsupported-media-type");
    }
    for media_type in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(
            post(app, media_type, body()).await.status,
            201,
            "{media_type}"
        );
    }
    // A merge patch is no task.
    let patch = post(app, "application/merge-patch+json", body()).await;
    patch.expect_problem(415, "unsupported-media-type");
}

async fn bodies_over_the_limit_are_refused(app: &App) {
    let title = "a".repeat(2 * 1024 * 1024);
    let body = json!({"title": title}).to_string().into_bytes();
    post(app, JSON, body).await.expect_problem(413, "too-large");
}

async fn ids_that_are_no_uuid_are_invalid(app: &App) {
    for id in [
        "7",
        "not-a-uuid",
        "%00",
        "%ff",
        "..%2f..",
        &"a".repeat(5000),
    ] {
        for path in [format!("{TASKS}/{id}"), format!("{RECORDS}/{id}")] {
            let problem = app.get(&path).await.expect_problem(422, "invalid");
            assert_eq!(problem["errors"][0]["loc"], json!(["path", "id"]), "{path}");
        }
    }
}

async fn parameters_out_of_bounds_name_themselves(app: &App) {
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("status=nope", "status"),
        ("min_priority=10", "min_priority"),
        ("assigned_agent_id=", "assigned_agent_id"),
        ("assigned_agent_id=a%00b", "assigned_agent_id"),
        ("surprise=1", "surprise"),
    ] {
        let problem = app
            .get(&format!("{TASKS}?{query}"))
            .await
            .expect_problem(422, "invalid");
        assert_eq!(
            problem["errors"][0]["loc"],
            json!(["query", name]),
            "{query}: {problem}"
        );
    }
    let long = format!("{RECORDS}?q={}", "a".repeat(201));
    app.get(&long).await.expect_problem(422, "invalid");
    app.get(&format!("{TASKS}?limit=1&limit=2"))
        .await
        .expect_problem(422, "invalid");
}

async fn cursors_that_are_not_ours_are_malformed(app: &App) {
    for after in ["x", "%00", "AAAA", "null", &"A".repeat(4000)] {
        for list in [TASKS, RECORDS] {
            app.get(&format!("{list}?after={after}"))
                .await
                .expect_problem(400, "malformed");
        }
    }
    for index in 0..3 {
        app.post(TASKS, &json!({"title": index.to_string()})).await;
    }
    let cursor = app.get(&format!("{TASKS}?limit=1")).await.json()["next"].clone();
    let cursor = cursor.as_str().unwrap();
    let same = app.get(&format!("{TASKS}?limit=2&after={cursor}")).await;
    assert_eq!(same.status, 200, "another page size may follow: {same:?}");
    for other in [
        format!("{TASKS}?status=done&after={cursor}"),
        format!("{RECORDS}?after={cursor}"),
    ] {
        app.get(&other).await.expect_problem(400, "malformed");
    }
}

async fn preconditions_that_are_not_ours_are_malformed(app: &App) {
    let task = app.post(TASKS, &json!({"title": "t"})).await.json();
    let path = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    for tag in ["\"x\"", "W/\"1\"", "\"0\""] {
        let delete = request(Method::DELETE, &path, &[("if-match", tag)], Body::empty());
        app.call(delete)
            .await
            .expect_problem(412, "precondition-failed");
    }
    for tag in ["", "1", "\"1\", \"2\""] {
        let delete = request(Method::DELETE, &path, &[("if-match", tag)], Body::empty());
        app.call(delete).await.expect_problem(400, "malformed");
    }
    assert_eq!(app.get(&path).await.status, 200);
}

async fn unknown_routes_and_methods_are_problems_too(app: &App) {
    for path in [
        "/nope",
        "/api/v1/nope",
        "/api/v1",
        "/api/v1/tasks/",
        "/api/v2/tasks",
        "/metrics",
    ] {
        app.get(path).await.expect_problem(404, "not-found");
    }
    for (method, path) in [
        (Method::PUT, TASKS),
        (Method::DELETE, RECORDS),
        (Method::POST, "/readyz"),
        (Method::DELETE, "/startup"),
        (Method::POST, "/openapi.json"),
        (Method::PATCH, "/docs/"),
    ] {
        let answer = app.call(request(method, path, &[], Body::empty())).await;
        answer.expect_problem(405, "method-not-allowed");
        assert!(answer.header("allow").contains("GET"), "{path}: {answer:?}");
    }
}

async fn post(app: &App, media_type: &str, body: Vec<u8>) -> crate::support::Answer {
    let headers: &[_] = if media_type.is_empty() {
        &[]
    } else {
        &[("content-type", media_type)]
    };
    app.call(request(Method::POST, TASKS, headers, Body::from(body)))
        .await
}
