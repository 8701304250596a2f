//! TLS to PostgreSQL: whom each `sslmode` trusts, and what the refusal of the others looks like.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db_pool::{ConnectErrorKind, OpenError, Pool, PoolConfig, Postgres};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::postgres_cancel::{assert_undisturbed, cancel_at_random};
use crate::postgres_support::Database;
use crate::support::chain;

/// Speaks TLS to clients and plainly to the server, as PostgreSQL's own TLS would look from outside.
struct TlsFront {
    port: u16,
    roots: NamedTempFile,
    encrypted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl TlsFront {
    /// With a certificate for `name`, signed by an authority of its own.
    async fn new(database: &Database, name: &str) -> Self {
        let (acceptor, authority) = acceptor(name);
        let mut roots = NamedTempFile::new().unwrap();
        roots.write_all(authority.as_bytes()).unwrap();
        let (_, rest) = database.url.split_once('@').unwrap();
        let target = rest.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let encrypted = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&encrypted);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let front = serve(client, acceptor.clone(), target.clone(), Arc::clone(&seen));
                tokio::spawn(front);
            }
        });
        Self {
            port,
            roots,
            encrypted,
            task,
        }
    }

    fn config(&self, database: &Database, mode: &str) -> PoolConfig {
        let (start, rest) = database.url.split_once('@').unwrap();
        let (_, name) = rest.split_once('/').unwrap();
        let url = format!("{start}@localhost:{}/{name}?sslmode={mode}", self.port);
        let mut config = PoolConfig::web(url);
        (config.max_size, config.lanes, config.min_idle) = (2, 0, 0);
        config
    }

    async fn connect(
        &self,
        database: &Database,
        mode: &str,
        with_roots: bool,
    ) -> Result<Pool<Postgres>, OpenError> {
        let mut config = self.config(database, mode);
        config.root_certificates = with_roots.then(|| self.roots.path().to_owned());
        Pool::connect(config).await
    }

    fn encrypted(&self) -> usize {
        self.encrypted.load(Ordering::SeqCst)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(name: &str) -> (TlsAcceptor, String) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

async fn serve(
    mut client: TcpStream,
    acceptor: TlsAcceptor,
    target: String,
    encrypted: Arc<AtomicUsize>,
) {
    let mut server = TcpStream::connect(&target).await.unwrap();
    let mut first = [0; 8];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    if first != [0, 0, 0, 8, 4, 210, 22, 47] {
        // Not asked for TLS.
        server.write_all(&first).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
        return;
    }
    client.write_all(b"S").await.unwrap();
    if let Ok(mut client) = acceptor.accept(client).await {
        encrypted.fetch_add(1, Ordering::SeqCst);
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

fn kind(result: Result<Pool<Postgres>, OpenError>) -> Option<ConnectErrorKind> {
    result.err().map(|error| error.connect().unwrap().kind())
}

#[tokio::test]
async fn each_sslmode_trusts_whom_libpq_trusts() {
    let Some(database) = Database::new().await else {
        return;
    };
    let right = TlsFront::new(&database, "localhost").await;
    let wrong_name = TlsFront::new(&database, "elsewhere.example").await;
    let refused = Some(ConnectErrorKind::Tls);
    for (mode, roots, by_right, by_wrong_name) in [
        ("verify-full", true, None, refused),
        ("verify-full", false, refused, refused),
        ("verify-ca", true, None, None),
        ("verify-ca", false, refused, refused),
        ("require", true, None, None),
        ("require", false, None, None),
        ("prefer", false, None, None),
    ] {
        for (front, expected) in [(&right, by_right), (&wrong_name, by_wrong_name)] {
            let before = front.encrypted();
            let result = front.connect(&database, mode, roots).await;
            if let Err(error) = &result {
                assert!(error.connect().unwrap().is_permanent(), "{}", chain(error));
            }
            assert_eq!(kind(result), expected, "{mode}, roots: {roots}");
            let more = front.encrypted() > before;
            assert_eq!(more, expected.is_none(), "{mode}: encrypted");
        }
    }
    // Signed by somebody else.
    let mut config = right.config(&database, "verify-ca");
    config.root_certificates = Some(wrong_name.roots.path().to_owned());
    assert_eq!(kind(Pool::connect(config).await), refused);
    let before = right.encrypted();
    assert_eq!(kind(right.connect(&database, "disable", false).await), None);
    assert_eq!(right.encrypted(), before, "not asked for");
}

#[tokio::test]
async fn prefer_goes_on_in_the_clear_where_the_server_has_no_tls() {
    let Some(database) = Database::new().await else {
        return;
    };
    let url = format!("{}?sslmode=prefer", database.url);
    assert_eq!(kind(Pool::connect(PoolConfig::web(url)).await), None);
    let url = format!("{}?sslmode=require", database.url);
    let error = kind(Pool::connect(PoolConfig::web(url)).await);
    assert_eq!(error, Some(ConnectErrorKind::Tls));
}

#[tokio::test]
async fn the_url_may_name_the_roots() {
    let Some(database) = Database::new().await else {
        return;
    };
    let front = TlsFront::new(&database, "localhost").await;
    let mut config = front.config(&database, "verify-full");
    config.url += &format!("&sslrootcert={}", front.roots.path().display());
    assert_eq!(kind(Pool::connect(config).await), None);
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_before_connecting() {
    let mut garbage = NamedTempFile::new().unwrap();
    garbage.write_all(b"no certificate").unwrap();
    let missing = garbage.path().with_extension("missing");
    for (path, problem) in [
        (garbage.path(), "holds no certificate in PEM form"),
        (&*missing, "cannot be read"),
    ] {
        let mut config = PoolConfig::web("postgres://app@localhost/app?sslmode=verify-full");
        config.root_certificates = Some(path.to_owned());
        let error = Pool::<Postgres>::connect(config).await.unwrap_err();
        let OpenError::Config(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (error.field(), error.problem()),
            ("root_certificates", problem)
        );
    }
}

#[tokio::test]
async fn cancels_go_through_tls_as_well() {
    let Some(database) = Database::new().await else {
        return;
    };
    let front = TlsFront::new(&database, "localhost").await;
    let mut config = front.config(&database, "verify-full");
    config.root_certificates = Some(front.roots.path().to_owned());
    (config.max_size, config.cancel_after) = (1, Duration::ZERO);
    let pool = Pool::<Postgres>::connect(config).await.unwrap();
    cancel_at_random(&pool, 100, 11).await;
    assert_undisturbed(&pool, 1).await;
    assert!(front.encrypted() > 10, "the cancels were encrypted too");
}
