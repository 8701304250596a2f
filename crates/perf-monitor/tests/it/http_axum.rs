//! The layer inside of axum: templates instead of paths.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::routing::get;
use http_body_util::BodyExt as _;
use perf_monitor::{Monitor, MonitorConfig};
use tower::ServiceExt as _;

fn app(monitor: &Monitor) -> Router {
    let nested = Router::new().route("/{id}/parts/{part}", get(|| async { "part" }));
    Router::new()
        .route("/items/{id}", get(|| async { "item" }))
        .nest("/things", nested)
        .layer(monitor.layer())
}

async fn ask(app: &Router, method: Method, path: &str) -> u16 {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

fn series(monitor: &Monitor) -> Vec<String> {
    let text = monitor.prometheus();
    let is_series = |line: &&str| line.starts_with("http_server_request_duration_seconds_count");
    let name = |line: &str| line.rsplit_once(' ').unwrap().0.to_owned();
    text.lines().filter(is_series).map(name).collect()
}

#[tokio::test]
async fn the_route_is_the_whole_template_also_of_nested_routers() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let app = app(&monitor);
    assert_eq!(ask(&app, Method::GET, "/items/1").await, 200);
    assert_eq!(ask(&app, Method::GET, "/items/2").await, 200);
    assert_eq!(ask(&app, Method::POST, "/items/2").await, 405);
    assert_eq!(ask(&app, Method::HEAD, "/items/2").await, 200);
    assert_eq!(ask(&app, Method::GET, "/things/1/parts/2").await, 200);
    assert_eq!(ask(&app, Method::GET, "/things/1").await, 404);
    let routes = monitor.snapshot().http.routes;
    let shown: Vec<_> = routes
        .iter()
        .map(|r| (r.method.as_str(), r.route.as_str(), r.count))
        .collect();
    assert_eq!(
        shown,
        [
            ("GET", "/items/{id}", 2),
            ("HEAD", "/items/{id}", 1),
            ("POST", "/items/{id}", 1),
            ("GET", "/things/{id}/parts/{part}", 1),
            ("GET", "__unmatched__", 1),
        ]
    );
}

#[tokio::test]
async fn a_hundred_thousand_random_paths_leave_the_series_unchanged() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let app = app(&monitor);
    ask(&app, Method::GET, "/items/1").await;
    ask(&app, Method::GET, "/nowhere").await;
    let before = series(&monitor);
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..100_000 {
        // xorshift: random enough for paths, and the same in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        assert_eq!(
            ask(&app, Method::GET, &format!("/{state:x}/{}", state % 97)).await,
            404
        );
    }
    assert_eq!(series(&monitor), before);
    assert_eq!(before.len(), 2);
    assert_eq!(monitor.snapshot().http.received, 100_002);
}
