//! The admin router: both views, their headers, and what a storm of scrapes costs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use perf_monitor::{Monitor, MonitorConfig, PROMETHEUS_CONTENT_TYPE, Snapshot};
use tower::ServiceExt as _;

use crate::exposition::Exposition;

async fn ask(router: &Router, method: Method, path: &str) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn get_and_head_answer_with_the_right_type_and_are_not_cached() {
    let router = perf_monitor::http::router(Monitor::new(MonitorConfig::default()).unwrap());
    assert_eq!(
        PROMETHEUS_CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for (path, content_type) in [
        ("/metrics", PROMETHEUS_CONTENT_TYPE),
        ("/monitor", "application/json"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let response = ask(&router, method.clone(), path).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CONTENT_TYPE], content_type);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            let body = text(response).await;
            assert_eq!(body.is_empty(), method == Method::HEAD, "{method} {path}");
        }
        let refused = ask(&router, Method::POST, path).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn the_bodies_are_the_two_views_of_now() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let counter = monitor.with(|| metrics::counter!("steps_total"));
    let router = perf_monitor::http::router(monitor.clone());
    for step in 1..=3 {
        counter.increment(1);
        let shown = Exposition::parse(&text(ask(&router, Method::GET, "/metrics").await).await);
        assert_eq!(
            shown.value("steps_total"),
            Some(f64::from(step)),
            "never a stale answer"
        );
    }
    let body = text(ask(&router, Method::GET, "/monitor").await).await;
    let snapshot: Snapshot = serde_json::from_str(&body).unwrap();
    assert_eq!(snapshot.schema_version, 1);
}

#[tokio::test]
async fn scrapes_that_arrive_during_a_rendering_share_the_next_one() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let renderings = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&renderings);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(2);
    let released = Mutex::new(released);
    let (enter, mut entered) = tokio::sync::mpsc::channel(2);
    monitor.probe("count", move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        enter.try_send(()).expect("two renderings, no more");
        // The first rendering lasts until all scrapes have arrived.
        released
            .lock()
            .unwrap()
            .recv()
            .expect("the test releases each rendering");
    });
    let router = perf_monitor::http::router(monitor);
    let scrape = || Box::pin(ask(&router, Method::GET, "/metrics"));
    let mut first = scrape();
    assert!((&mut first).now_or_never().is_none());
    entered.recv().await.expect("the first rendering has begun");
    let mut storm: Vec<_> = (0..200).map(|_| scrape()).collect();
    assert!(
        storm
            .iter_mut()
            .all(|scrape| scrape.now_or_never().is_none())
    );
    release.send(()).unwrap();
    release.send(()).unwrap();
    drop(release);
    storm.push(first);
    for response in join_all(storm).await {
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(renderings.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn dropping_a_scrape_leaves_the_next_one_working() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let router = perf_monitor::http::router(monitor);
    for _ in 0..10 {
        let mut scrape = Box::pin(ask(&router, Method::GET, "/metrics"));
        assert!(
            (&mut scrape).now_or_never().is_none(),
            "a rendering takes more than one poll"
        );
    }
    assert_eq!(
        ask(&router, Method::GET, "/metrics").await.status(),
        StatusCode::OK
    );
}
