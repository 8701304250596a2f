//! Status codes and bodies of the probes.

use std::time::Duration;

use axum::{
    Router,
    http::{Method, StatusCode, header},
    routing::get as route_get,
};
use expect_test::expect;
use serde_json::json;
use startup_progress::{Health, Progress, http};
use tokio::time::Instant;

use crate::support::{get, send};

const PATHS: [&str; 4] = ["/livez", "/readyz", "/startupz", "/startup"];

async fn statuses(router: &Router) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (status, path) in statuses.iter_mut().zip(PATHS) {
        *status = get(router, path).await.status.as_u16();
    }
    statuses
}

#[tokio::test(start_paused = true)]
async fn probes_follow_readiness_and_liveness_does_not() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    assert_eq!(statuses(&router).await, [200, 503, 503], "starting");
    progress.ready();
    assert_eq!(statuses(&router).await, [200, 200, 200], "ready");
    progress.drain();
    assert_eq!(statuses(&router).await, [200, 503, 200], "draining");

    let failed = Progress::new("test");
    failed.fail("on purpose");
    assert_eq!(
        statuses(&http::router(failed)).await,
        [200, 503, 503],
        "failed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_check_takes_traffic_away_and_a_warning_does_not() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    progress.ready();
    progress.check("redis", || Health::Warn("not connected".to_owned()));
    let answer = get(&router, "/readyz").await;
    assert_eq!(answer.status, StatusCode::OK);
    expect![[r#"{"status":"warn","readiness":"ready","checks":{"redis":{"status":"warn","detail":"not connected"}}}"#]].assert_eq(&answer.body);

    progress.check("database", || Health::Fail("connection refused".to_owned()));
    let answer = get(&router, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    expect![[r#"{"status":"fail","readiness":"ready","checks":{"database":{"status":"fail","detail":"connection refused"},"redis":{"status":"warn","detail":"not connected"}}}"#]].assert_eq(&answer.body);
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn probes_say_why() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    assert_eq!(
        get(&router, "/livez").await.json(),
        json!({"status": "pass"})
    );
    expect![[r#"{"status":"fail","readiness":"starting","percent":0}"#]]
        .assert_eq(&get(&router, "/startupz").await.body);
    progress.fail("database: connection refused");
    expect![[r#"{"status":"fail","readiness":"failed","percent":0,"reason":"database: connection refused"}"#]].assert_eq(&get(&router, "/startupz").await.body);
    expect![[r#"{"status":"fail","readiness":"failed","reason":"database: connection refused","checks":{}}"#]].assert_eq(&get(&router, "/readyz").await.body);
}

#[tokio::test(start_paused = true)]
async fn every_path_answers_get_and_head_alone_and_is_never_stored() {
    let router = http::router(Progress::new("test"));
    for path in PATHS.into_iter().chain(["/startup/events"]) {
        let head = send(&router, Method::HEAD, path).await;
        assert_ne!(head.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(head.body, "", "{path}");
        assert_eq!(head.headers[header::CACHE_CONTROL], "no-store", "{path}");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = send(&router, method, path).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(answer.headers[header::ALLOW], "GET,HEAD", "{path}");
            assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{path}");
        }
    }
    for path in PATHS {
        let answer = get(&router, path).await;
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "application/json",
            "{path}"
        );
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_router_merges_into_another() {
    let router = Router::new()
        .route("/hello", route_get(async || "hello"))
        .merge(http::router(Progress::new("test")))
        .fallback(async || (StatusCode::NOT_FOUND, "our own 404"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "our own 405"));
    assert_eq!(get(&router, "/hello").await.body, "hello");
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/nothing").await.body, "our own 404");
    let answer = send(&router, Method::POST, "/livez").await;
    assert_eq!(answer.body, "our own 405");
    assert_eq!(answer.headers[header::ALLOW], "GET,HEAD");
    let nested = Router::new().nest("/admin", http::router(Progress::new("test")));
    assert_eq!(get(&nested, "/admin/startup").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_answers_with_the_move() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    let began = Instant::now();
    let (answer, ()) = tokio::join!(get(&router, "/startupz?wait=9s"), async {
        tokio::time::sleep(Duration::from_millis(2_345)).await;
        progress.ready();
    });
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(began.elapsed().as_millis(), 2_345);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_gives_up_after_its_time_and_after_30_s_at_most() {
    let router = http::router(Progress::new("test"));
    for (wish, seconds) in [("9s", 9), ("500ms", 0), ("0s", 0), ("1h", 30)] {
        let began = Instant::now();
        let answer = get(&router, &format!("/startupz?x=1&wait={wish}")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(began.elapsed().as_secs(), seconds, "{wish}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_probe_does_not_outlive_a_failure_or_closed_streams() {
    for end in [
        (|progress| {
            progress.fail("on purpose");
        }) as fn(&Progress),
        |progress| progress.close_streams(),
    ] {
        let progress = Progress::new("test");
        let router = http::router(progress.clone());
        let began = Instant::now();
        let (answer, ()) = tokio::join!(get(&router, "/startupz?wait=9s"), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            end(&progress);
        });
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(began.elapsed().as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_no_duration_is_a_bad_request() {
    let router = http::router(Progress::new("test"));
    for nonsense in ["", "9", "soon", "-1s", "9%20s", "99999999999999999999999s"] {
        let answer = get(&router, &format!("/startupz?wait={nonsense}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{nonsense:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn startup_is_the_snapshot() {
    let progress = Progress::new("test");
    progress.step("one").finish();
    let answer = get(&http::router(progress.clone()), "/startup").await;
    assert_eq!(
        answer.json(),
        serde_json::to_value(progress.snapshot()).unwrap()
    );
}
