//! The event stream: first frame, resume, pace, heartbeat, end and bounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{StatusCode, header};
use serde_json::json;
use startup_progress::{
    Health, Progress,
    http::{self, HttpConfig},
};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Stream, get};

#[tokio::test(start_paused = true)]
async fn a_new_client_gets_a_snapshot_and_then_only_what_changes() {
    let progress = Progress::new("test");
    progress.step("old").finish();
    let router = http::router(progress.clone());
    let mut stream = Stream::open(&router, None).await;
    assert_eq!(stream.status, StatusCode::OK);
    assert_eq!(stream.headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(stream.headers[header::CACHE_CONTROL], "no-store");
    let first = stream.event().await;
    assert_eq!(first.name, "snapshot");
    assert_eq!(
        first.data,
        serde_json::to_value(progress.snapshot()).unwrap()
    );
    assert_eq!(first.id, progress.snapshot().cursor().to_string());

    progress.step("new").finish();
    let second = stream.event().await;
    assert_eq!(second.name, "delta");
    assert_eq!(second.data["steps"].as_array().unwrap().len(), 1);
    assert_eq!(second.data["steps"][0]["name"], "new");
    assert_eq!(second.data["since"], first.data["seq"]);
    assert_eq!(second.id, progress.snapshot().cursor().to_string());
}

#[tokio::test(start_paused = true)]
async fn last_event_id_resumes_where_the_client_was() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    let mut stream = Stream::open(&router, None).await;
    let seen = stream.event().await;
    drop(stream);
    progress.step("missed").finish();
    let mut stream = Stream::open(&router, Some(&seen.id)).await;
    let resumed = stream.event().await;
    assert_eq!(resumed.name, "delta");
    assert_eq!(resumed.data["steps"][0]["name"], "missed");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_missed_nothing_gets_nothing_again() {
    let progress = Progress::new("test");
    progress.step("seen").finish();
    let router = http::router(progress.clone());
    let id = progress.snapshot().cursor().to_string();
    let mut stream = Stream::open(&router, Some(&id)).await;
    assert_eq!(stream.frame().await.unwrap().events, []);
    progress.step("next").finish();
    assert_eq!(stream.event().await.data["steps"][0]["name"], "next");
}

#[tokio::test(start_paused = true)]
async fn an_id_of_another_run_or_nonsense_yields_a_snapshot() {
    let router = http::router(Progress::new("test"));
    for id in ["another:1", "nonsense", "", ":", "\u{e9}:1"] {
        let mut stream = Stream::open(&router, Some(id)).await;
        assert_eq!(stream.event().await.name, "snapshot", "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_within_50_ms_are_one_frame() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    let mut stream = Stream::open(&router, None).await;
    stream.event().await;
    let began = Instant::now();
    let work = async {
        let step = progress.step("busy").total(100);
        for _ in 0..100 {
            sleep(Duration::from_millis(1)).await;
            step.advance(1);
        }
        step.finish();
        progress.drain();
    };
    let read = async {
        let mut frames = 0;
        while let Some(frame) = stream.frame().await {
            assert_eq!(
                frame.comments, [""; 0],
                "the stream ends before it is silent"
            );
            frames += 1;
        }
        frames
    };
    let (frames, ()) = tokio::join!(read, work);
    assert!(
        (2..=4).contains(&frames),
        "100 changes in 100 ms came in {frames} frames"
    );
    assert!(began.elapsed() <= Duration::from_millis(150));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_beats_every_15_s() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    let mut stream = Stream::open(&router, None).await;
    stream.event().await;
    for _ in 0..3 {
        let began = Instant::now();
        let frame = stream.frame().await.unwrap();
        assert_eq!(frame.comments, ["heartbeat"]);
        assert_eq!(frame.events, []);
        assert_eq!(began.elapsed().as_secs(), 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_asks_the_checks() {
    let progress = Progress::new("test");
    let healthy = Arc::new(AtomicBool::new(true));
    let probe = Arc::clone(&healthy);
    progress.check("redis", move || match probe.load(Ordering::Relaxed) {
        true => Health::Pass,
        false => Health::Warn("away".to_owned()),
    });
    let mut stream = Stream::open(&http::router(progress), None).await;
    assert_eq!(
        stream.event().await.data["checks"]["redis"],
        json!({"status": "pass"})
    );
    healthy.store(false, Ordering::Relaxed);
    let checks = stream.event().await.data["checks"].take();
    assert_eq!(
        checks,
        json!({"redis": {"status": "warn", "detail": "away"}})
    );
}

#[tokio::test(start_paused = true)]
async fn draining_failing_and_closing_end_the_stream_with_done() {
    for (end, status) in [
        (
            (|progress| {
                progress.drain();
            }) as fn(&Progress),
            "draining",
        ),
        (
            |progress| {
                progress.fail("on purpose");
            },
            "failed",
        ),
        (|progress| progress.close_streams(), "starting"),
    ] {
        let progress = Progress::new("test");
        let router = http::router(progress.clone());
        let mut stream = Stream::open(&router, None).await;
        stream.event().await;
        end(&progress);
        let events = stream.frame().await.unwrap().events;
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["delta", "done"], "{status}");
        assert_eq!(events[1].data["status"], status);
        assert_eq!(events[1].id, events[0].id);
        assert!(stream.frame().await.is_none(), "{status}");

        let again = Stream::open(&router, Some(&events[1].id)).await;
        assert_eq!(again.status, StatusCode::NO_CONTENT, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_missed_the_end_still_gets_it() {
    let progress = Progress::new("test");
    let router = http::router(progress.clone());
    let before = progress.snapshot().cursor().to_string();
    progress.fail("on purpose");
    for (id, first) in [(Some(before.as_str()), "delta"), (None, "snapshot")] {
        let mut stream = Stream::open(&router, id).await;
        let events = stream.frame().await.unwrap().events;
        assert_eq!(events[0].name, first);
        assert_eq!(events[0].data["reason"], "on purpose");
        assert_eq!(events[1].name, "done");
        assert!(stream.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn ready_does_not_end_the_stream() {
    let progress = Progress::new("test");
    let mut stream = Stream::open(&http::router(progress.clone()), None).await;
    stream.event().await;
    progress.ready();
    assert_eq!(stream.event().await.data["percent"], 100);
    progress.drain();
    assert_eq!(
        stream.frame().await.unwrap().events.last().unwrap().name,
        "done"
    );
}

#[tokio::test(start_paused = true)]
async fn clients_past_the_bound_get_503_until_one_leaves() {
    let progress = Progress::new("test");
    let config = HttpConfig {
        clients_max: 2,
        ..HttpConfig::default()
    };
    let router = http::router_with(progress, config);
    let _first = Stream::open(&router, None).await;
    let second = Stream::open(&router, None).await;
    let third = Stream::open(&router, None).await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(third.headers[header::RETRY_AFTER], "1");

    // A probe does not wait then, but it is answered.
    let began = Instant::now();
    assert_eq!(
        get(&router, "/startupz?wait=9s").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(began.elapsed(), Duration::ZERO);

    drop(second);
    assert_eq!(Stream::open(&router, None).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_read_loses_nothing() {
    let progress = Progress::new("test");
    let mut stream = Stream::open(&http::router(progress.clone()), None).await;
    stream.event().await;
    for _ in 0..10 {
        assert!(
            timeout(Duration::from_millis(7), stream.frame())
                .await
                .is_err()
        );
    }
    progress.step("late").finish();
    assert_eq!(stream.event().await.data["steps"][0]["name"], "late");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_longer_than_any_clock_means_none() {
    let progress = Progress::new("test");
    let config = HttpConfig {
        heartbeat: Duration::MAX,
        ..HttpConfig::default()
    };
    let router = http::router_with(progress.clone(), config);
    let mut stream = Stream::open(&router, None).await;
    assert_eq!(stream.event().await.name, "snapshot");
    progress.step("late").finish();
    assert_eq!(stream.event().await.name, "delta");
}
