//! Every request is counted exactly once, however it ends.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::{Method, Request, Response, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use perf_monitor::http::RouteName;
use perf_monitor::{Monitor, MonitorConfig};
use proptest::prelude::*;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use crate::exposition::Exposition;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Complete(u16),
    Head,
    NoContent,
    DeclaredLength,
    Empty,
    ServiceError,
    AbortBeforeHead,
    NeverPolled,
    PanicInCall,
    PanicInFuture,
    AbortInBody,
    BodyNeverPolled,
    BodyError,
    PanicInBody,
}
use Ending::*;

impl Ending {
    /// The status and outcome under which it must be found.
    fn expected(self) -> (&'static str, &'static str) {
        match self {
            Complete(503) => ("503", "complete"),
            Complete(404) => ("404", "complete"),
            Complete(_) | Head | DeclaredLength | Empty => ("200", "complete"),
            NoContent => ("204", "complete"),
            ServiceError => ("500", "error"),
            AbortBeforeHead | NeverPolled => ("499", "aborted"),
            PanicInCall | PanicInFuture => ("500", "panic"),
            AbortInBody | BodyNeverPolled => ("200", "aborted"),
            BodyError => ("200", "body_error"),
            PanicInBody => ("200", "panic"),
        }
    }

    fn body(self) -> TestBody {
        let chunk = || Ok(Frame::data(bytes::Bytes::from_static(b"0123")));
        let frames = stream::iter([chunk(), chunk()]);
        StreamBody::new(match self {
            Empty | NoContent => stream::empty().boxed(),
            DeclaredLength | AbortInBody => frames.chain(stream::pending()).boxed(),
            BodyError => frames.chain(stream::iter([Err("the body fails")])).boxed(),
            PanicInBody => frames
                .chain(stream::once(async { panic!("on purpose") }))
                .boxed(),
            _ => frames.boxed(),
        })
    }

    fn answer(self) -> BoxFuture<'static, Result<Response<TestBody>, &'static str>> {
        assert!(self != PanicInCall, "on purpose");
        async move {
            let response = Response::builder();
            let response = match self {
                ServiceError => return Err("the service fails"),
                AbortBeforeHead => pending().await,
                PanicInFuture => panic!("on purpose"),
                Complete(status) => response.status(status),
                NoContent => response.status(204),
                DeclaredLength => response.header(header::CONTENT_LENGTH, "8"),
                _ => response,
            };
            Ok(response.body(self.body()).expect("valid"))
        }
        .boxed()
    }
}

type TestBody = StreamBody<BoxStream<'static, Result<Frame<bytes::Bytes>, &'static str>>>;

/// Plays one request from both sides; ends with everything of it dropped.
async fn play(monitor: &Monitor, ending: Ending) {
    let inner = service_fn(move |_: Request<()>| ending.answer());
    let mut service = monitor.layer().layer(inner);
    let mut request = Request::new(());
    *request.method_mut() = if ending == Head {
        Method::HEAD
    } else {
        Method::GET
    };
    request.extensions_mut().insert(RouteName("/things/{id}"));
    let ready = service.ready().await.expect("always ready");
    // As a server does: what unwinds is caught outside, and dropped only afterwards.
    let Ok(future) = std::panic::catch_unwind(AssertUnwindSafe(|| ready.call(request))) else {
        return;
    };
    if ending == NeverPolled {
        return;
    }
    let head = AssertUnwindSafe(future).catch_unwind().now_or_never();
    let Some(Ok(Ok(response))) = head else { return };
    let mut body = response.into_body();
    if matches!(ending, Head | NoContent | BodyNeverPolled) {
        return;
    }
    let polls = if matches!(ending, AbortInBody | DeclaredLength) {
        2
    } else {
        usize::MAX
    };
    for _ in 0..polls {
        let frame = AssertUnwindSafe(body.frame()).catch_unwind().now_or_never();
        if !matches!(frame, Some(Ok(Some(Ok(_))))) {
            return;
        }
    }
}

fn any_ending() -> impl Strategy<Value = Ending> {
    prop::sample::select(vec![
        Complete(200),
        Complete(404),
        Complete(503),
        Head,
        NoContent,
        DeclaredLength,
        Empty,
        ServiceError,
        AbortBeforeHead,
        NeverPolled,
        PanicInCall,
        PanicInFuture,
        AbortInBody,
        BodyNeverPolled,
        BodyError,
        PanicInBody,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn received_is_the_sum_over_outcomes_and_nothing_stays_active(
        endings in prop::collection::vec(any_ending(), 0..40),
        max_http_series in 1_usize..12,
    ) {
        let config = MonitorConfig { max_http_series, ..MonitorConfig::default() };
        let monitor = Monitor::new(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for ending in &endings {
                play(&monitor, *ending).await;
            }
        });
        let shown = Exposition::parse(&monitor.prometheus());
        let received = endings.len() as f64;
        prop_assert_eq!(shown.value("perf_monitor_http_received_total"), Some(received));
        prop_assert_eq!(shown.sum("http_server_request_duration_seconds_count", &[]), received);
        prop_assert_eq!(shown.sum("http_server_active_requests", &[]), 0.0);
        let http = monitor.snapshot().http;
        prop_assert_eq!(http.routes.iter().map(|route| route.count).sum::<u64>(), http.received);
    }
}

#[tokio::test]
async fn each_ending_has_its_status_and_outcome_and_is_counted_once() {
    let all = [
        Complete(200),
        Complete(404),
        Complete(503),
        Head,
        NoContent,
        DeclaredLength,
        Empty,
        ServiceError,
        AbortBeforeHead,
        NeverPolled,
        PanicInCall,
        PanicInFuture,
        AbortInBody,
        BodyNeverPolled,
        BodyError,
        PanicInBody,
    ];
    for ending in all {
        let monitor = Monitor::new(MonitorConfig::default()).unwrap();
        play(&monitor, ending).await;
        let shown = Exposition::parse(&monitor.prometheus());
        let (status, outcome) = ending.expected();
        let labels = [
            (
                "http_request_method",
                if ending == Head { "HEAD" } else { "GET" },
            ),
            ("http_route", "/things/{id}"),
            ("http_response_status_code", status),
            ("outcome", outcome),
        ];
        let count = "http_server_request_duration_seconds_count";
        assert_eq!(shown.sum(count, &labels), 1.0, "{ending:?}");
        assert_eq!(shown.sum(count, &[]), 1.0, "{ending:?}");
        let route = &monitor.snapshot().http.routes[0];
        let is_error = matches!(outcome, "error" | "body_error" | "panic") || status == "503";
        assert_eq!(
            (route.errors == 1, route.aborted == 1),
            (is_error, outcome == "aborted")
        );
    }
}

#[tokio::test]
async fn a_request_is_active_until_its_body_has_ended() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let service = monitor
        .layer()
        .layer(service_fn(|_: Request<()>| Complete(200).answer()));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(monitor.snapshot().http.active, 1);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "01230123"
    );
    assert_eq!(monitor.snapshot().http.active, 0);
}

#[tokio::test]
async fn the_body_is_passed_on_with_its_trailers_and_its_size() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("checksum", "7".parse().unwrap());
    let sent = trailers.clone();
    let service = monitor.layer().layer(service_fn(move |_: Request<()>| {
        let body = Full::new(bytes::Bytes::from_static(b"0123"));
        let trailers = std::future::ready(Some(Ok(sent.clone())));
        std::future::ready(Ok::<_, Infallible>(Response::new(
            body.with_trailers(trailers),
        )))
    }));
    let body = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert!(!body.is_end_stream());
    let received = body.collect().await.unwrap();
    assert_eq!(received.trailers(), Some(&trailers));
    assert_eq!(received.to_bytes(), "0123");
    let service = monitor.layer().layer(service_fn(|_: Request<()>| {
        let body = Full::new(bytes::Bytes::from_static(b"0123"));
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    }));
    let body = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(4));
}

#[tokio::test]
async fn a_switch_of_protocols_ends_with_its_head() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let service = monitor
        .layer()
        .layer(service_fn(|_: Request<()>| Complete(101).answer()));
    let response = service.oneshot(Request::new(())).await.unwrap();
    let http = monitor.snapshot().http;
    assert_eq!(
        (http.active, http.routes[0].count, http.routes[0].aborted),
        (0, 1, 0)
    );
    drop(response);
    assert_eq!(monitor.snapshot().http.routes[0].count, 1);
}

#[tokio::test(start_paused = true)]
async fn the_duration_ends_with_the_body() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let service = monitor.layer().layer(service_fn(|_: Request<()>| async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Ok::<_, Infallible>(Response::new(Complete(200).body()))
    }));
    let response = service.oneshot(Request::new(())).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    response.into_body().collect().await.unwrap();
    let shown = Exposition::parse(&monitor.prometheus());
    let sum = shown.sum("http_server_request_duration_seconds_sum", &[]);
    assert!((0.060..0.062).contains(&sum), "{sum}");
    let p50 = monitor.snapshot().http.routes[0].p50;
    assert!((p50 - 0.060).abs() < 0.060 * 0.04, "{p50}");
}

#[tokio::test]
async fn unknown_methods_share_one_label() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    for n in 0..1000 {
        let service = monitor
            .layer()
            .layer(service_fn(|_: Request<()>| NoContent.answer()));
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
        service.oneshot(request).await.unwrap();
    }
    let http = monitor.snapshot().http;
    assert_eq!(http.routes.len(), 1);
    assert_eq!(
        (http.routes[0].method.as_str(), http.routes[0].count),
        ("_OTHER", 1000)
    );
    assert_eq!(http.routes[0].route, "__unmatched__");
}

#[tokio::test]
async fn beyond_the_bound_requests_are_added_up_under_one_route() {
    let config = MonitorConfig {
        max_http_series: 3,
        ..MonitorConfig::default()
    };
    let monitor = Monitor::new(config).unwrap();
    for status in 200..300 {
        play(&monitor, Complete(status)).await;
    }
    let http = monitor.snapshot().http;
    let counts: Vec<_> = http
        .routes
        .iter()
        .map(|r| (r.route.as_str(), r.count))
        .collect();
    assert_eq!(counts, [("/things/{id}", 3), ("__other__", 97)]);
    assert_eq!(monitor.snapshot().monitor.http_overflow, 97);
    let shown = Exposition::parse(&monitor.prometheus());
    let overflow = [
        ("http_route", "__other__"),
        ("http_response_status_code", "200"),
    ];
    assert_eq!(
        shown.sum("http_server_request_duration_seconds_count", &overflow),
        97.0
    );
}
