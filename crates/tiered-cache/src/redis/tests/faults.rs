//! Servers that hang, pause, evict, end or talk nonsense.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use super::*;

/// A bound for one step on a busy machine; without the deadlines it would be far more.
const SOON: Duration = Duration::from_secs(5);

fn impatient(url: String) -> RedisConfig {
    RedisConfig {
        url,
        command_timeout: Duration::from_millis(100),
        connect_grace: Duration::from_secs(10),
        ..RedisConfig::default()
    }
}

async fn open_impatient(url: String) -> RedisParts {
    let floors = Arc::new(Floors::new(16));
    let parts = RedisParts::open(&impatient(url), "shop", 0, 1, &floors).await;
    parts.expect("the settings are sound")
}

/// Every verb comes to its end, and none with an answer.
async fn all_fail_in_time(parts: &RedisParts) {
    let begun = Instant::now();
    let (one, changes) = (key("1"), [(Target::Key(1), Effect::Remove)]);
    let entry = Sealed {
        bytes: Bytes::from_static(b"value"),
        version: Version(1),
        insertion: false,
    };
    let (tier, log) = (&parts.tier, &parts.log);
    assert!(tier.read(&one).await.is_err());
    let many = [one.clone(), key("2"), key("3")];
    assert!(tier.read_many(&many).await.iter().all(Result::is_err));
    assert!(tier.write(&one, entry, MINUTE).await.is_err());
    let invalidated = tier.invalidate(&one, Effect::Remove, Version(1)).await;
    assert!(invalidated.is_err());
    assert!(log.append(&changes).await.is_err());
    assert!(
        log.read(Version(0), 1, Duration::from_millis(50))
            .await
            .is_err()
    );
    assert!(log.floors().await.is_err());
    assert!(log.prepare(1, b"x", MINUTE).await.is_err());
    assert!(log.overdue().await.is_err());
    assert!(parts.lease.acquire(&one, MINUTE).await.is_err());
    assert!(begun.elapsed() < 4 * SOON, "{:?}", begun.elapsed());
}

async fn works(parts: &RedisParts) {
    let changes = [(Target::Key(1), Effect::Remove)];
    redis_group::until("all works again", async || {
        let (tier, log) = (&parts.tier, &parts.log);
        tier.read(&key("1")).await.is_ok()
            && log.append(&changes).await.is_ok()
            && log.read(Version(0), 1, Duration::ZERO).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_costs_each_command_its_deadline() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let parts = open_impatient(server.url()).await;
    works(&parts).await;
    server.freeze();
    all_fail_in_time(&parts).await;
    server.thaw();
    works(&parts).await;
}

#[tokio::test]
async fn a_server_that_ends_is_unavailable_at_once_and_found_again() {
    let Some(mut server) = Server::start(&[]).await else {
        return;
    };
    let parts = open_impatient(server.url()).await;
    works(&parts).await;
    server.kill();
    all_fail_in_time(&parts).await;
    let down = || matches!(parts.state(), ConnectionState::Disconnected(_));
    redis_group::until("it is known to be away", async || down()).await;
    let read = parts.tier.read(&key("1")).await;
    assert!(matches!(read, Err(TierError::Unavailable)), "{read:?}");
    server.restart().await;
    works(&parts).await;
    assert_eq!(parts.state(), ConnectionState::Connected);
}

/// A dead socket is noticed although the read would wait longer than that inside Redis.
#[tokio::test]
async fn a_waiting_read_notices_that_nobody_is_there() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let parts = open_impatient(server.url()).await;
    works(&parts).await;
    let page = parts.log.read(Version(0), 10, Duration::ZERO).await;
    let last = page.expect("answered").last;
    server.freeze();
    let begun = Instant::now();
    let page = parts.log.read(last, 10, Duration::from_millis(500)).await;
    assert!(matches!(page, Err(LogError::TimedOut)), "{page:?}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    server.thaw();
    works(&parts).await;
}

#[tokio::test]
async fn a_paused_server_costs_time_and_no_answer_is_mixed_up() {
    let Some(server) = Server::start(&[]).await else {
        return;
    };
    let parts = open_impatient(server.url()).await;
    works(&parts).await;
    let keys: Vec<EntryKey> = (0..20).map(|at| key(&at.to_string())).collect();
    for (at, key) in keys.iter().enumerate() {
        let entry = Sealed {
            bytes: Bytes::from(format!("value {at}")),
            version: Version(1),
            insertion: false,
        };
        let written = parts.tier.write(key, entry, MINUTE).await;
        assert!(written.expect("the server is there"));
    }
    for pause in [&["CLIENT", "PAUSE", "400"][..], &["DEBUG", "SLEEP", "0.4"]] {
        let server = &server;
        let nap = async move {
            let _ = server.command(pause).await;
        };
        let reads = async {
            for round in 0..40 {
                let at = round % keys.len();
                if let Ok(read) = parts.tier.read(&keys[at]).await {
                    assert_eq!(read, Some(Bytes::from(format!("value {at}"))));
                }
            }
        };
        tokio::join!(nap, reads);
        works(&parts).await;
        for (at, key) in keys.iter().enumerate() {
            if let Ok(read) = parts.tier.read(key).await {
                assert_eq!(read, Some(Bytes::from(format!("value {at}"))));
            }
        }
    }
}

/// Whatever of the log is thrown out, its epoch does not outlive it.
#[tokio::test]
async fn a_server_that_evicts_never_loses_a_part_of_the_log_in_silence() {
    let evicting = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"];
    let Some(rig) = Rig::start(&evicting).await else {
        return;
    };
    let mut position = rig.page(Version(0)).await;
    let (mut gaps, mut appended) = (0, Vec::new());
    for round in 0..4000_u64 {
        let filler = key(&format!("filler {round}"));
        let entry = Sealed {
            bytes: Bytes::from(vec![b'x'; 4096]),
            version: Version(0),
            insertion: false,
        };
        let _ = rig.parts.tier.write(&filler, entry, MINUTE).await;
        if round.is_multiple_of(20) {
            let changes = [(Target::Tag(round), Effect::Remove)];
            if let Ok(version) = rig.parts.log.append(&changes).await {
                appended.push(version);
            }
            let Ok(page) = rig
                .parts
                .log
                .read(position.last, 1000, Duration::ZERO)
                .await
            else {
                continue;
            };
            if page.epoch == position.epoch && page.trimmed <= position.last {
                let expected: Vec<Version> = appended
                    .iter()
                    .copied()
                    .filter(|version| *version > position.last)
                    .collect();
                let seen: Vec<Version> = page.records.iter().map(|one| one.version).collect();
                assert_eq!(seen, expected, "round {round}");
            } else {
                gaps += 1;
            }
            position = page;
        }
    }
    assert!(gaps > 0, "the memory was too large for this test");
}

#[tokio::test]
async fn a_full_server_refuses_what_it_cannot_keep() {
    let full = ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"];
    let Some(server) = Server::start(&full).await else {
        return;
    };
    let (parts, _) = open(&server, 1).await;
    let entry = Sealed {
        bytes: Bytes::from_static(b"value"),
        version: Version(1),
        insertion: false,
    };
    let written = parts.tier.write(&key("1"), entry, MINUTE).await;
    assert!(matches!(written, Err(TierError::Failed(_))), "{written:?}");
    let changes = [(Target::Key(1), Effect::Remove)];
    // The first may begin the log; once there is one, it does not grow.
    let _ = parts.log.append(&changes).await;
    let appended = parts.log.append(&changes).await;
    assert!(matches!(appended, Err(LogError::Failed(_))), "{appended:?}");
    assert_eq!(parts.tier.read(&key("1")).await.expect("answered"), None);
}

/// A server that answers the greeting, and then every command in its own way.
async fn scripted(answer: &'static str, stalls: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 65_536];
                while let Ok(read @ 1..) = connection.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let ours = ["GET", "EVAL", "SCRIPT", "SET", "XREAD", "HDEL", "EXISTS"];
                    let reply = if ours
                        .iter()
                        .any(|verb| text.contains(&format!("\r\n{verb}")))
                    {
                        answer
                    } else {
                        "$-1\r\n"
                    };
                    let commands = text.matches("\r\n$").count().min(1);
                    if connection
                        .write_all(reply.repeat(commands).as_bytes())
                        .await
                        .is_err()
                    {
                        return;
                    }
                    if stalls && reply == answer {
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
}

#[tokio::test]
async fn a_server_that_only_answers_errors_or_nonsense_gives_errors() {
    for answer in [
        "-ERR no\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-NOSCRIPT no\r\n",
        "*2\r\n:1\r\n*0\r\n",
        "+OK and no more\r\n",
    ] {
        let parts = open_impatient(scripted(answer, false).await).await;
        let begun = Instant::now();
        let log = &parts.log;
        assert!(parts.tier.read(&key("1")).await.is_err(), "{answer}");
        let changes = [(Target::Key(1), Effect::Remove)];
        assert!(log.append(&changes).await.is_err(), "{answer}");
        let read = log.read(Version(0), 1, Duration::from_millis(50)).await;
        assert!(read.is_err(), "{answer}");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_hangs_in_the_middle_of_an_answer_gives_errors() {
    for answer in ["$1000\r\nhalf", "*3\r\n$1\r\nx\r\n", "$"] {
        let parts = open_impatient(scripted(answer, true).await).await;
        all_fail_in_time(&parts).await;
    }
}
