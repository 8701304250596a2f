//! `health`: asks a running service whether it is ready, for container health checks.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{cli::Health, config::Config, failure::Failure};

/// Prints the answer of `/readyz`; success when it is 200.
///
/// # Errors
///
/// No answer within two seconds, or any other status.
pub async fn health(config: &Config, options: Health) -> Result<ExitCode, Failure> {
    let address = reachable(options.address.unwrap_or(config.http.address));
    let unready = |reason: String| Failure::NotReady(format!("http://{address}/readyz: {reason}"));
    let (status, body) = timeout(LIMIT, ask(address))
        .await
        .map_err(|_elapsed| unready(format!("no answer within {LIMIT:?}")))?
        .map_err(|error| unready(error.to_string()))?;
    let _ = writeln!(io::stdout(), "{body}");
    if status == hyper::StatusCode::OK {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(unready(status.to_string()))
    }
}

async fn ask(
    address: SocketAddr,
) -> Result<(hyper::StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header("host", address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await?
        .to_bytes();
    driver.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A service that listens on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

const LIMIT: Duration = Duration::from_secs(2);
const BODY_BYTES_MAX: usize = 64 * 1024;
