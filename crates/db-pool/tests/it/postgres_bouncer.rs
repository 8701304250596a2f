//! PgBouncer between the pool and the server: nothing is asked for that it refuses, and nothing relies on a session.

use std::time::Duration;

use db_pool::{Pool, PoolConfig, Postgres, TransactionOptions};
use diesel::result::Error;
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::postgres_support::Database;
use crate::support::{Word, chain};

/// Looks at what a client asks for when it logs in, and turns it away as PgBouncer does.
async fn double(target: String) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, target.clone()));
        }
    });
    (port, task)
}

async fn serve(mut client: TcpStream, target: String) {
    let (length, startup) = loop {
        let Ok(length) = client.read_u32().await else {
            return;
        };
        let mut startup = vec![0; length as usize - 4];
        client.read_exact(&mut startup).await.unwrap();
        if startup.len() > 4 {
            break (length, startup);
        }
        client.write_all(b"N").await.unwrap();
    };
    let texts: Vec<_> = startup[4..].split(|byte| *byte == 0).collect();
    let unsupported = texts.chunks(2).find_map(|pair| {
        let name = std::str::from_utf8(pair[0]).unwrap();
        (!name.is_empty() && !KEPT.contains(&name)).then_some(name)
    });
    if let Some(name) = unsupported {
        let text = format!("unsupported startup parameter: {name}");
        let body = format!("SFATAL\0VFATAL\0C08P01\0M{text}\0\0");
        client.write_u8(b'E').await.unwrap();
        client.write_u32(body.len() as u32 + 4).await.unwrap();
        client.write_all(body.as_bytes()).await.unwrap();
        return;
    }
    let mut server = TcpStream::connect(&target).await.unwrap();
    server.write_u32(length).await.unwrap();
    server.write_all(&startup).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// What PgBouncer keeps for each client.
const KEPT: [&str; 8] = [
    "user",
    "database",
    "client_encoding",
    "application_name",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
    "IntervalStyle",
];

#[tokio::test]
async fn settings_come_with_each_transaction_and_never_with_the_login() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (start, rest) = database.url.split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let (port, task) = double(address.to_owned()).await;
    let mut config = PoolConfig::web(format!("{start}@127.0.0.1:{port}/{name}"));
    config.min_idle = 0;
    let refused = Pool::<Postgres>::connect(config.clone()).await.unwrap_err();
    assert!(chain(&refused).contains("unsupported startup parameter: options"));
    config.pgbouncer = true;
    config.statement_timeout = Some(Duration::from_secs(7));
    let pool = Pool::<Postgres>::connect(config).await.unwrap();
    let sql = "SELECT current_setting('statement_timeout') AS word";
    for options in [
        TransactionOptions::default(),
        TransactionOptions::serializable(),
        TransactionOptions::read_only(),
    ] {
        let inside = pool.transaction(options, async |tx| {
            let word: Word = sql_query(sql).get_result(tx).await?;
            Ok::<_, Error>(word.word)
        });
        assert_eq!(inside.await, Ok("7s".to_owned()));
    }
    let mut connection = pool.acquire().await.unwrap();
    let outside: Word = sql_query(sql).get_result(&mut connection).await.unwrap();
    assert_eq!(outside.word, "0", "the session is not the pool's to change");
    let mut lane = pool.read().await.unwrap();
    let word: Word = sql_query("SELECT 'read' AS word")
        .get_result(&mut lane)
        .await
        .unwrap();
    assert_eq!(word.word, "read");
    task.abort();
}
