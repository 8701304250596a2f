//! The documents that explain the API agree with what it does, and need no network.

use serde_json::Value;

use crate::support::{App, config};

/// The routes as they were built, without a word of the document.
const OPERATIONS: [(&str, &str); 10] = [
    ("/api/v1/records", "get"),
    ("/api/v1/records", "post"),
    ("/api/v1/records/{id}", "delete"),
    ("/api/v1/records/{id}", "get"),
    ("/api/v1/records/{id}", "put"),
    ("/api/v1/tasks", "get"),
    ("/api/v1/tasks", "post"),
    ("/api/v1/tasks/{id}", "delete"),
    ("/api/v1/tasks/{id}", "get"),
    ("/api/v1/tasks/{id}", "patch"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_lists_every_operation_with_its_errors() {
    let app = App::start(config()).await;
    let document = app.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((path.as_str(), method.as_str()));
            check_errors(path, method, operation);
        }
    }
    assert_eq!(found, OPERATIONS);
    every_reference_leads_somewhere(&document, &document);
    app.stop().await;
}

fn check_errors(path: &str, method: &str, operation: &Value) {
    let responses = operation["responses"].as_object().unwrap();
    let mut expected = vec!["500", "503", "504"];
    if path.ends_with("{id}") {
        expected.extend(["404", "422"]);
    }
    if ["post", "put", "patch"].contains(&method) {
        expected.extend(["400", "408", "413", "415", "422"]);
    }
    if ["put", "patch", "delete"].contains(&method) {
        expected.push("412");
    }
    for status in expected {
        let content = &responses[status]["content"]["application/problem+json"];
        let schema = &content["schema"]["$ref"];
        assert_eq!(
            schema, "#/components/schemas/Problem",
            "{method} {path} {status}"
        );
    }
}

fn every_reference_leads_somewhere(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(
                    document.pointer(pointer).is_some(),
                    "{reference} leads nowhere"
                );
            }
            members
                .values()
                .for_each(|part| every_reference_leads_somewhere(document, part));
        }
        Value::Array(parts) => {
            parts
                .iter()
                .for_each(|part| every_reference_leads_somewhere(document, part));
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_load_nothing_from_elsewhere() {
    let app = App::start(config()).await;
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'self'"),
        "{page:?}"
    );
    let mut assets = 0;
    for attribute in ["src=\"", "href=\""] {
        for link in page.body.split(attribute).skip(1) {
            let link = link.split('"').next().unwrap();
            let own = !link.contains("://") && !link.starts_with('/');
            assert!(own, "{link} is not on this server");
            let asset = app
                .get(&format!("/docs/{}", link.trim_start_matches("./")))
                .await;
            assert_eq!(asset.status, 200, "{link}");
            assets += 1;
        }
    }
    assert!(assets >= 4, "scripts and styles: {assets}");
    let problems = app.get("/problems").await;
    assert!(!problems.body.contains("://"), "{problems:?}");
    assert!(problems.body.contains("id=\"invalid\""));
    app.stop().await;
}
