//! TLS by rustls: whom `sslmode` trusts, and the handshake around a followed stream.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::dial::Socket;
use super::stream::Followed;
use crate::config::PoolConfig;
use crate::error::ConfigError;

/// What libpq calls `sslmode`, with its meanings; `allow` is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Whoever answers (`prefer`, `require`, when no roots are named): encrypted, and open to whoever stands between.
    Anybody,
    /// A certificate that leads to the roots, whatever its name (`verify-ca`; `require` with roots named).
    Signed,
    /// The same with the right name (`verify-full`).
    Named,
}

/// The parts of a URL that the driver does not understand, taken out of it.
pub(super) struct FromUrl {
    pub(super) url: String,
    trust: Option<Trust>,
    roots: Option<PathBuf>,
}

impl FromUrl {
    pub(super) fn new(url: &str) -> Self {
        let Some((start, parameters)) = url.split_once('?') else {
            let url = url.to_owned();
            return Self {
                url,
                trust: None,
                roots: None,
            };
        };
        let (mut trust, mut roots, mut kept) = (None, None, Vec::new());
        for parameter in parameters.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", "verify-full")) => trust = Some(Trust::Named),
                Some(("sslmode", "verify-ca")) => trust = Some(Trust::Signed),
                Some(("sslrootcert", "system")) => {}
                Some(("sslrootcert", path)) => roots = Some(PathBuf::from(percent_decoded(path))),
                _ => kept.push(parameter),
            }
        }
        if trust.is_some() {
            kept.push("sslmode=require");
        }
        let mark = if kept.is_empty() { "" } else { "?" };
        Self {
            url: format!("{start}{mark}{}", kept.join("&")),
            trust,
            roots,
        }
    }
}

/// The same for PostgreSQL's own programs.
#[cfg(feature = "backup")]
pub(crate) struct LibpqTls {
    /// Without the parts that only libpq understands.
    pub(crate) url: String,
    pub(crate) mode: &'static str,
    /// A file, or `system`; `None` where nothing is verified.
    pub(crate) roots: Option<PathBuf>,
}

#[cfg(feature = "backup")]
impl LibpqTls {
    pub(crate) fn new(url: &str, named: Option<&Path>) -> Self {
        let from_url = FromUrl::new(url);
        let asks = |mode| {
            let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
            let asked = format!("sslmode={mode}");
            parameters.split('&').any(|parameter| parameter == asked)
        };
        let named = named.map(Path::to_owned).or(from_url.roots);
        let mode = match from_url.trust {
            Some(Trust::Named) => "verify-full",
            // libpq takes the roots of the system only for servers that are called what they should be.
            Some(_) if named.is_none() => "verify-full",
            Some(_) => "verify-ca",
            None if asks("disable") => "disable",
            None if asks("require") && named.is_some() => "verify-ca",
            None if asks("require") => "require",
            None => "prefer",
        };
        let roots = match named {
            None if from_url.trust.is_some() => Some(PathBuf::from("system")),
            named => named,
        };
        Self {
            url: from_url.url,
            mode,
            roots,
        }
    }
}

/// How to wrap a socket.
#[derive(Clone)]
pub(super) struct Tls {
    connect: MakeRustlsConnect,
    pub(super) trust: Trust,
}

/// rustls' stream, whose own name is private to the crate that makes it.
pub(super) type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Tls {
    pub(super) fn new(config: &PoolConfig, from_url: &FromUrl) -> Result<Self, ConfigError> {
        let named = config
            .root_certificates
            .as_ref()
            .or(from_url.roots.as_ref());
        let roots = match named {
            Some(path) => read_roots(path)?,
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        };
        let trust = match (from_url.trust, named) {
            (Some(trust), _) => trust,
            (None, Some(_)) => Trust::Signed,
            (None, None) => Trust::Anybody,
        };
        let config = client_config(roots, trust).ok_or_else(|| {
            let shown = named.map_or_else(String::new, |path| path.display().to_string());
            ConfigError::new(
                "root_certificates",
                shown,
                "cannot be used to verify a server",
            )
        })?;
        let connect = MakeRustlsConnect::new(config);
        Ok(Self { connect, trust })
    }

    /// For one handshake with the server of this name.
    pub(super) fn handshake(&self, name: &str) -> Handshake {
        let connect = self.connect.clone();
        let name = name.to_owned();
        Handshake { connect, name }
    }
}

/// One handshake to come.
pub(super) struct Handshake {
    connect: MakeRustlsConnect,
    name: String,
}

impl Handshake {
    pub(super) async fn with(mut self, socket: Socket) -> io::Result<Encrypted> {
        let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.connect, &self.name);
        connect.connect(socket).await
    }
}

impl TlsConnect<Followed<Socket>> for Handshake {
    type Stream = Followed<Encrypted>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: Followed<Socket>) -> Self::Future {
        Box::pin(async move {
            let (socket, follower) = stream.into_parts();
            Ok(Followed::from_parts(self.with(socket).await?, follower))
        })
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, ConfigError> {
    let bad = |problem| ConfigError::new("root_certificates", path.display(), problem);
    let certificates = CertificateDer::pem_file_iter(path).map_err(|_| bad("cannot be read"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|_| bad("is no PEM file"))?;
        roots
            .add(certificate)
            .map_err(|_| bad("holds a certificate that cannot be trusted as a root"))?;
    }
    if roots.is_empty() {
        return Err(bad("holds no certificate in PEM form"));
    }
    Ok(roots)
}

/// `None` where rustls' own provider lacks its own protocol versions, or there are no roots.
fn client_config(roots: RootCertStore, trust: Trust) -> Option<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let versions = builder.with_safe_default_protocol_versions().ok()?;
    if trust == Trust::Named {
        return Some(versions.with_root_certificates(roots).with_no_client_auth());
    }
    let signed = match trust {
        Trust::Anybody => None,
        Trust::Signed | Trust::Named => {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            Some(builder.build().ok()?)
        }
    };
    let verifier = Arc::new(Lenient { signed, provider });
    let builder = versions
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Some(builder.with_no_client_auth())
}

/// Accepts any name, and without roots any certificate; the server must own the key of the one it shows.
#[derive(Debug)]
struct Lenient {
    signed: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(signed) = &self.signed else {
            return Ok(ServerCertVerified::assertion());
        };
        match signed.verify_server_cert(certificate, between, name, stapled, now) {
            // The name is looked at last, when all else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn percent_decoded(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        let value = match rest {
            [b'%', high, low, ..] => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok()),
            _ => None,
        };
        decoded.push(value.unwrap_or(*first));
        rest = if value.is_some() { &rest[3..] } else { after };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_may_say_whom_to_trust() {
        for (url, rest, trust, roots) in [
            ("postgres://h/d", "postgres://h/d", None, None),
            (
                "postgres://h/d?sslmode=require&a=b",
                "postgres://h/d?sslmode=require&a=b",
                None,
                None,
            ),
            (
                "postgres://h/d?sslmode=verify-ca",
                "postgres://h/d?sslmode=require",
                Some(Trust::Signed),
                None,
            ),
            (
                "postgres://h/d?sslrootcert=%2Fca%20dir/ca.pem&sslmode=verify-full",
                "postgres://h/d?sslmode=require",
                Some(Trust::Named),
                Some("/ca dir/ca.pem"),
            ),
            (
                "postgres://h/d?sslrootcert=system",
                "postgres://h/d",
                None,
                None,
            ),
        ] {
            let found = FromUrl::new(url);
            assert_eq!(found.url, rest);
            assert_eq!(found.trust, trust, "{url}");
            assert_eq!(found.roots, roots.map(PathBuf::from), "{url}");
        }
    }

    #[cfg(feature = "backup")]
    #[test]
    fn programs_trust_nobody_whom_the_pool_does_not_trust() {
        for (url, named, mode, roots) in [
            ("postgres://h/d", None, "prefer", None),
            ("postgres://h/d?sslmode=disable", None, "disable", None),
            ("postgres://h/d?sslmode=require", None, "require", None),
            (
                "postgres://h/d?sslmode=require",
                Some("ca"),
                "verify-ca",
                Some("ca"),
            ),
            (
                "postgres://h/d?sslmode=verify-ca",
                Some("ca"),
                "verify-ca",
                Some("ca"),
            ),
            (
                "postgres://h/d?sslmode=verify-ca",
                None,
                "verify-full",
                Some("system"),
            ),
            (
                "postgres://h/d?sslmode=verify-full",
                None,
                "verify-full",
                Some("system"),
            ),
            (
                "postgres://h/d?sslmode=verify-full&sslrootcert=a",
                None,
                "verify-full",
                Some("a"),
            ),
        ] {
            let tls = LibpqTls::new(url, named.map(Path::new));
            assert_eq!(
                (tls.mode, tls.roots.as_deref()),
                (mode, roots.map(Path::new)),
                "{url}"
            );
        }
    }
}
