//! A server with metrics on a second, private listener; run it, then ask `/metrics` and `/monitor`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use perf_monitor::{Monitor, MonitorConfig};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First of all: handles of the `metrics` facade made before this line would do nothing.
    let monitor = Monitor::install(MonitorConfig {
        service: "greeter".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..MonitorConfig::default()
    })?;

    let greeted = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&greeted);
    monitor.probe("greeter", move |sample| {
        sample.gauge("greeted", seen.load(Ordering::Relaxed) as f64);
    });

    let greet = move |Path(name): Path<String>| async move {
        greeted.fetch_add(1, Ordering::Relaxed);
        format!("Hello, {name}\n")
    };
    let public = Router::new()
        .route("/hello/{name}", get(greet))
        .layer(monitor.layer());
    let private = perf_monitor::http::router(monitor);

    let (public_listener, private_listener) = (
        TcpListener::bind("127.0.0.1:0").await?,
        TcpListener::bind("127.0.0.1:0").await?,
    );
    #[expect(clippy::print_stdout, reason = "an example talks to its user")]
    {
        println!(
            "service  http://{}/hello/world",
            public_listener.local_addr()?
        );
        println!("metrics  http://{}/metrics", private_listener.local_addr()?);
        println!("snapshot http://{}/monitor", private_listener.local_addr()?);
    }
    let admin = tokio::spawn(async move { axum::serve(private_listener, private).await });
    axum::serve(public_listener, public).await?;
    admin.await??;
    Ok(())
}
