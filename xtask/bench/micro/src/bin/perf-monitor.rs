//! What measuring costs: a request through the layer, a counter, and a scrape, beside the usual crates for each.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::pin;

use axum_prometheus::PrometheusMetricLayer;
use bytes::Bytes;
use harness::{Exit, Suite};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use metrics::{counter, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use perf_monitor::http::RouteName;
use perf_monitor::{Monitor, MonitorConfig};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tower::{Layer as _, Service, service_fn};

fn main() -> Exit {
    harness::main("perf-monitor", |suite: &mut Suite| {
        request(suite);
        counter_by_name(suite);
        counter_handle(suite);
        render(suite);
    })
}

fn monitor() -> Monitor {
    Monitor::new(MonitorConfig::default()).expect("the defaults are valid")
}

// === request ===

fn request(suite: &mut Suite) {
    suite
        .bench("request")
        .about("one request to a service that answers at once, to the end of its body")
        .ours_async("PerfLayer", async || {
            let monitor = monitor();
            let send = requests(monitor.layer().layer(service_fn(answer))).await;
            let text = monitor.prometheus();
            let counted = |line: &str| line.contains("_count{") && line.contains("\"/items/{id}\"");
            assert!(
                text.lines()
                    .any(|line| counted(line) && line.ends_with(" 1")),
                "{text}"
            );
            send
        })
        .peer_async("floor:bare service", async || {
            requests(service_fn(answer)).await
        })
        .peer_async("axum-prometheus", async || {
            // Of the whole process, which is why the others make do with recorders of their own.
            let (layer, handle) = PrometheusMetricLayer::pair();
            let send = requests(layer.layer(service_fn(answer))).await;
            let text = handle.render();
            let counted = |line: &str| line.starts_with("axum_http_requests_total{");
            assert!(
                text.lines()
                    .any(|line| counted(line) && line.ends_with(" 1")),
                "{text}"
            );
            send
        });
}

async fn answer(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(BODY))))
}

const BODY: &[u8] = b"an item";

/// Sends one request to see that it is answered; what is returned sends the same again.
async fn requests<S, B>(service: S) -> impl AsyncFn() -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Debug> + 'static,
    B: BodyExt<Data = Bytes, Error: Debug>,
{
    let service = RefCell::new(service);
    let request = Request::get("/items/7").extension(RouteName("/items/{id}"));
    let request = request.body(Full::default()).expect("a valid path");
    let send = async move || {
        // Not asked whether it is ready: what is beneath always is.
        let answering = service.borrow_mut().call(request.clone());
        let mut body = pin!(answering.await.expect("an answer").into_body());
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.expect("a frame").data_ref().map_or(0, Bytes::len);
        }
        bytes
    };
    assert_eq!(send().await, BODY.len());
    send
}

// === counter ===

fn counter_by_name(suite: &mut Suite) {
    suite
        .bench("counter")
        .about("one more of a counter that is looked up by its name and two constant labels")
        .ours("counter! into Monitor", || {
            let monitor = monitor();
            let recorder = monitor.clone();
            let count = move || recorder.with(|| facade().increment(1));
            count();
            assert_eq!(shown(&monitor.prometheus()), "1");
            count
        })
        .peer("counter! into metrics-exporter-prometheus", || {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            let count = move || with_local_recorder(&recorder, || facade().increment(1));
            count();
            assert_eq!(shown(&handle.render()), "1");
            count
        })
        .peer("prometheus-client", || {
            let (registry, family) = registry();
            let count = move || family.get_or_create(&LABELS).inc();
            count();
            assert_eq!(shown(&text(&registry)), "1");
            count
        });
}

fn counter_handle(suite: &mut Suite) {
    suite
        .bench("counter-handle")
        .about("one more of a counter whose handle was kept")
        .threads(&[1, 2])
        .ours_shared("handle of Monitor", || {
            let monitor = monitor();
            let handle = monitor.with(facade);
            handle.increment(1);
            assert_eq!(shown(&monitor.prometheus()), "1");
            move |_| {
                let handle = handle.clone();
                move || handle.increment(1)
            }
        })
        .peer_shared("handle of metrics-exporter-prometheus", || {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = with_local_recorder(&recorder, facade);
            handle.increment(1);
            assert_eq!(shown(&recorder.handle().render()), "1");
            move |_| {
                let handle = handle.clone();
                move || handle.increment(1)
            }
        })
        .peer_shared("prometheus-client", || {
            let (registry, family) = registry();
            let handle = family.get_or_create_owned(&LABELS);
            handle.inc();
            assert_eq!(shown(&text(&registry)), "1");
            move |_| {
                let handle = handle.clone();
                move || handle.inc()
            }
        });
}

/// The counter through the facade, as the macro makes it where it stands.
fn facade() -> metrics::Counter {
    counter!("orders_total", "method" => "GET", "status" => "200")
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    status: &'static str,
}

const LABELS: Labels = Labels {
    method: "GET",
    status: "200",
};

fn registry() -> (Registry, Family<Labels, Counter>) {
    let (mut registry, family) = (Registry::default(), Family::default());
    registry.register("orders", "Orders", family.clone());
    (registry, family)
}

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("a String takes everything");
    text
}

/// The value of the counter in the text of a scrape.
fn shown(text: &str) -> &str {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("orders_total{"));
    line.and_then(|line| line.split_once("} "))
        .map_or("", |(_, value)| value)
}

// === render ===

const FAMILIES: usize = 10;
const SERIES: usize = 100;

fn render(suite: &mut Suite) {
    suite
        .bench("render-1000")
        .about("the text of a scrape: 10 counters with 100 values of a label; ours also sorts and tells of the process")
        .ours("Monitor::prometheus", || {
            let monitor = monitor();
            monitor.with(fill);
            assert!(lines(&monitor.prometheus()) == FAMILIES * SERIES);
            move || monitor.prometheus()
        })
        .peer("metrics-exporter-prometheus", || {
            let recorder = PrometheusBuilder::new().build_recorder();
            with_local_recorder(&recorder, fill);
            let handle = recorder.handle();
            assert!(lines(&handle.render()) == FAMILIES * SERIES);
            move || handle.render()
        })
        .peer("prometheus-client", || {
            let mut registry = Registry::default();
            for number in 0..FAMILIES {
                let family = Family::<Vec<(String, String)>, Counter>::default();
                registry.register(format!("orders_{number}"), "Orders", family.clone());
                for shop in 0..SERIES {
                    let labels = vec![("shop".to_owned(), shop.to_string())];
                    family.get_or_create(&labels).inc_by(shop as u64);
                }
            }
            assert!(lines(&text(&registry)) == FAMILIES * SERIES);
            move || text(&registry)
        });
}

fn fill() {
    for number in 0..FAMILIES {
        for shop in 0..SERIES {
            let name = format!("orders_{number}_total");
            counter!(name, "shop" => shop.to_string()).increment(shop as u64);
        }
    }
}

/// How many series of [`fill`] there are in a text.
fn lines(text: &str) -> usize {
    text.lines()
        .filter(|line| line.starts_with("orders_") && line.contains("_total{shop=\""))
        .count()
}
