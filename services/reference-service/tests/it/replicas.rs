//! Several servers behind one service. How reads and writes are spread is the pool's contract, tested there with a
//! real replica; here it is that the service works with a set of servers, one of them away.

use axum::http::Method;
use reference_service::config::ConnectionUrl;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{PostgresDatabase, config, fetch, ready, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_a_replica_that_is_away_works_and_says_so() {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    // Bound and closed again: nobody listens on this port.
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = away.local_addr().unwrap();
    drop(away);
    let (mut setup, _folder) = config();
    setup.database.url = database.url();
    let replica = format!("postgres://nobody@{address}/nothing");
    setup.database.replicas = vec![ConnectionUrl::from(replica.as_str())];
    let ready = ready(setup).await;
    let (http, admin) = (ready.addresses().http, ready.addresses().admin);

    let made = send(http, "POST", "/api/v1/tasks", r#"{"title":"one"}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    let listed = fetch(http, "/api/v1/tasks").await.unwrap().json();
    assert_eq!(listed["items"][0]["title"], "one");
    let record = json!({"title": "r", "text": "", "tags": ["a"]}).to_string();
    let made = send(http, "POST", "/api/v1/records", &record).await;
    let path = made.header("location").to_owned();
    assert_eq!(fetch(http, &path).await.unwrap().json()["title"], "r");
    let gone = send(http, Method::DELETE.as_str(), &path, "").await;
    assert_eq!(gone.status, 204, "{gone:?}");

    let servers = fetch(admin, "/database/servers").await.unwrap().json();
    let role = |server: usize| servers["servers"][server]["role"].clone();
    assert_eq!((role(0), role(1)), (json!("primary"), json!("unknown")));
    assert!(servers["servers"][1]["silent"].is_string(), "{servers}");
    let probe = fetch(http, "/readyz").await.unwrap();
    assert_eq!(probe.json()["checks"]["database"]["status"], "pass");
    ready.stop().await.unwrap();
    database.drop_it().await;
}
