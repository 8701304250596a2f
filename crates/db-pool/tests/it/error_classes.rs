//! Errors of real databases and the class that the pool puts them in.

#[cfg(feature = "postgres")]
mod postgres {
    use std::time::Duration;

    use db_pool::ErrorClass as Class;
    use db_pool::{ConnectErrorKind, Connection, Pool, PoolConfig, Postgres};
    use diesel::sql_query;
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

    use crate::postgres_support::Database;
    use crate::support::chain;

    async fn class(connection: &mut Connection<Postgres>, sql: &str) -> Option<Class> {
        let result = connection.batch_execute(sql).await;
        result.err().map(|error| Class::of(&error))
    }

    async fn pool(database: &Database) -> Pool<Postgres> {
        let pool = database.pool(|c| c.lanes = 0).await;
        let sql = "CREATE TABLE rows (id INT PRIMARY KEY, n INT CHECK (n < 10)); \
                   INSERT INTO rows VALUES (1, 1), (2, 2)";
        let mut connection = pool.acquire().await.unwrap();
        connection.batch_execute(sql).await.unwrap();
        drop(connection);
        pool
    }

    #[tokio::test]
    async fn of_single_statements() {
        let Some(database) = Database::new().await else {
            return;
        };
        let pool = pool(&database).await;
        for (sql, expected) in [
            ("INSERT INTO rows VALUES (1, 1)", Class::Constraint),
            ("INSERT INTO rows VALUES (3, 30)", Class::Constraint),
            ("INSERT INTO rows VALUES (NULL, 3)", Class::Constraint),
            ("BEGIN READ ONLY; DELETE FROM rows", Class::ReadOnly),
            (
                "SET statement_timeout = 10; SELECT pg_sleep(60)",
                Class::StatementTimeout,
            ),
            (
                "SELECT pg_cancel_backend(pg_backend_pid()); SELECT pg_sleep(60)",
                Class::Cancelled,
            ),
            (
                "SELECT pg_terminate_backend(pg_backend_pid()); SELECT pg_sleep(60)",
                Class::NotReady,
            ),
            ("EXECUTE nothing", Class::PreparedStatementLost),
            (
                "PREPARE a AS SELECT 1; PREPARE a AS SELECT 1",
                Class::PreparedStatementLost,
            ),
            ("SELECT nonsense", Class::Other),
        ] {
            let mut connection = pool.acquire().await.unwrap();
            assert_eq!(class(&mut connection, sql).await, Some(expected), "{sql}");
            if sql.starts_with("BEGIN") {
                let next = class(&mut connection, "SELECT 1").await;
                assert_eq!(next, Some(Class::TransactionAborted));
            }
            Connection::discard(connection);
        }
    }

    #[tokio::test]
    async fn of_two_that_are_in_each_others_way() {
        let Some(database) = Database::new().await else {
            return;
        };
        let pool = pool(&database).await;
        let mut one = pool.acquire().await.unwrap();
        let mut two = pool.acquire().await.unwrap();
        let update = |id| format!("UPDATE rows SET n = n + 1 WHERE id = {id}");
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM rows";
        one.batch_execute(begin).await.unwrap();
        two.batch_execute(&update(1)).await.unwrap();
        let lost = class(&mut one, &update(1)).await;
        assert_eq!(lost, Some(Class::Serialization));
        one.batch_execute("ROLLBACK").await.unwrap();

        for connection in [&mut one, &mut two] {
            let sql = "SET deadlock_timeout = '10ms'; BEGIN";
            connection.batch_execute(sql).await.unwrap();
        }
        one.batch_execute(&update(1)).await.unwrap();
        two.batch_execute(&update(2)).await.unwrap();
        let (to_two, to_one) = (update(2), update(1));
        let classes = tokio::join!(class(&mut one, &to_two), class(&mut two, &to_one));
        let dead = Some(Class::Deadlock);
        assert!(
            matches!(classes, (a, None) | (None, a) if a == dead),
            "{classes:?}"
        );
        for connection in [&mut one, &mut two] {
            connection.batch_execute("ROLLBACK").await.unwrap();
        }

        one.batch_execute("BEGIN").await.unwrap();
        one.batch_execute(&update(1)).await.unwrap();
        two.batch_execute("SET lock_timeout = '10ms'")
            .await
            .unwrap();
        for sql in [
            update(1),
            "SELECT * FROM rows WHERE id = 1 FOR UPDATE NOWAIT".to_owned(),
        ] {
            assert_eq!(
                class(&mut two, &sql).await,
                Some(Class::LockTimeout),
                "{sql}"
            );
        }
    }

    #[tokio::test]
    async fn of_a_session_that_the_server_ended() {
        let Some(database) = Database::new().await else {
            return;
        };
        let pool = pool(&database).await;
        let mut connection = pool.acquire().await.unwrap();
        let sql = "SET idle_in_transaction_session_timeout = '10ms'; BEGIN";
        connection.batch_execute(sql).await.unwrap();
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database";
        while database.count(gone).await > 0 {
            tokio::task::yield_now().await;
        }
        let class = class(&mut connection, "SELECT 1").await;
        assert_eq!(class, Some(Class::ConnectionLost));
    }

    #[tokio::test]
    async fn of_logins_that_are_refused() {
        let Some(database) = Database::new().await else {
            return;
        };
        let (name, role) = (&database.name, format!("{}_role", database.name));
        let sql = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret' CONNECTION LIMIT 0; \
             REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"
        );
        database.admin(&sql).await;
        let (_, rest) = database.url.split_once('@').unwrap();
        let url = format!("postgres://{role}:secret@{rest}");
        let connect = async || {
            let connecting = Pool::<Postgres>::connect(PoolConfig::web(&*url));
            let error = connecting.await.unwrap_err();
            let connect = error.connect().unwrap();
            let code = connect.sqlstate().unwrap_or_default().to_owned();
            assert!(!chain(&error).contains("secret"));
            (code, connect.kind(), connect.is_permanent())
        };
        let full = (
            "53300".to_owned(),
            ConnectErrorKind::TooManyConnections,
            false,
        );
        assert_eq!(connect().await, full);
        let unlimited = format!("ALTER ROLE {role} CONNECTION LIMIT -1");
        database.admin(&unlimited).await;
        let refused = ("42501".to_owned(), ConnectErrorKind::Authentication, true);
        assert_eq!(connect().await, refused);
        let drop = format!("DROP ROLE {role}");
        database.admin(&drop).await;
    }

    #[tokio::test]
    async fn of_a_server_that_cannot_be_reached_any_more() {
        let Some(database) = Database::new().await else {
            return;
        };
        let proxy = crate::proxy::Proxy::before(&database.url).await;
        let url = proxy.url(&database.url);
        let pool = database
            .pool_at(&url, |c| (c.lanes, c.max_size) = (0, 1))
            .await;
        let mut connection = pool.acquire().await.unwrap();
        proxy.reset();
        let ended = tokio::time::timeout(
            Duration::from_secs(10),
            sql_query("SELECT 1").execute(&mut connection),
        );
        let error = ended.await.expect("ended").unwrap_err();
        assert_eq!(Class::of(&error), Class::ConnectionLost);
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::time::Duration;

    use db_pool::ErrorClass as Class;
    use db_pool::{Pool, PoolConfig, Sqlite, TransactionOptions};
    use diesel::result::Error;
    use diesel::sql_query;
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

    use crate::sqlite_support::{INSERT, sqlite};

    async fn class(connection: &mut db_pool::Connection<Sqlite>, sql: &str) -> Option<Class> {
        let result = sql_query(sql).execute(connection).await;
        result.err().map(|error| Class::of(&error))
    }

    #[tokio::test]
    async fn of_single_statements() {
        let (_folder, pool) = sqlite().await;
        let mut connection = pool.acquire().await.unwrap();
        for (sql, expected) in [
            (
                "INSERT INTO notes (id, text) VALUES (1, 'x'), (1, 'x')",
                Class::Constraint,
            ),
            ("INSERT INTO notes (text) VALUES (NULL)", Class::Constraint),
            ("SELECT nonsense", Class::Other),
        ] {
            assert_eq!(class(&mut connection, sql).await, Some(expected), "{sql}");
        }
        drop(connection);
        let read_only = pool.transaction(TransactionOptions::read_only(), async |tx| {
            let result = sql_query(INSERT).execute(tx).await;
            Ok::<_, Error>(result.err().map(|error| Class::of(&error)))
        });
        assert_eq!(read_only.await, Ok(Some(Class::ReadOnly)));
    }

    #[tokio::test]
    async fn of_a_file_that_somebody_else_writes() {
        let (_folder, pool) = sqlite().await;
        let mut config = PoolConfig::embedded(pool.config().url.clone());
        config.lock_timeout = Some(Duration::from_millis(5));
        let other = Pool::<Sqlite>::connect(config).await.unwrap();
        let mut writing = pool.acquire().await.unwrap();
        writing.batch_execute("BEGIN IMMEDIATE").await.unwrap();
        let mut waiting = other.acquire().await.unwrap();
        assert_eq!(class(&mut waiting, INSERT).await, Some(Class::Busy));
        assert!(Class::Busy.is_retryable());
    }
}
