//! A thousand rows inserted in one transaction: row by row, in one statement of a thousand rows, and by `UNNEST`.

use std::time::Instant;

use db_pool::{Pool, Postgres, TransactionOptions, insert_rows};
use diesel::ExpressionMethods as _;
use harness::{Figures, Suite};

use crate::load::{amount, beside, micros, runtime};
use crate::pools;
use crate::server::Server;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "insert-1000",
        "1,000 rows in one transaction over loopback TCP: milliseconds",
        insert,
    );
}

diesel::table! {
    written (id) {
        id -> Integer,
        name -> Text,
    }
}

const ROWS: i32 = 1_000;

fn insert(figures: &mut Figures<'_>) {
    let (rounds, _) = amount(figures.effort(), 2);
    let taken = figures.on_all_cores(|| {
        runtime().block_on(async {
            let server = Server::start().await?;
            let pool = pools::ours(&server.url(), |_| {}).await;
            let mut taken: [Vec<f64>; 3] = Default::default();
            for round in 0..=rounds {
                let times = [
                    by_unnest(&pool).await,
                    row_by_row(&pool).await,
                    by_values(&pool).await,
                ];
                // In the first round statements are prepared.
                if round > 0 {
                    for (samples, time) in taken.iter_mut().zip(times) {
                        samples.push(time);
                    }
                }
            }
            pool.close().await;
            Some(taken)
        })
    });
    let Some([unnest, single, values]) = taken else {
        figures.remark("left out: no PostgreSQL is installed");
        return;
    };
    figures.ours("rows", "ms", &unnest);
    figures.peer("prepared loop", "rows", "ms", &single);
    figures.peer("values of 1000", "rows", "ms", &values);
    figures.ours("beside_loop", "x", &beside(&unnest, &single));
    figures.goal("beside_loop", "x", 0.1);
}

async fn by_unnest(pool: &Pool<Postgres>) -> f64 {
    let rows: Vec<(i32, String)> = rows();
    let started = Instant::now();
    let inserted = pool
        .transaction(TransactionOptions::default(), async move |tx| {
            let columns = (written::id, written::name);
            insert_rows(columns, rows).execute(&mut *tx).await
        })
        .await;
    assert_eq!(inserted, Ok(ROWS as usize));
    micros(started.elapsed()) / 1e3
}

async fn row_by_row(pool: &Pool<Postgres>) -> f64 {
    use diesel_async::RunQueryDsl as _;
    let rows: Vec<(i32, String)> = rows();
    let started = Instant::now();
    let inserted = pool
        .transaction(TransactionOptions::default(), async move |tx| {
            let mut inserted = 0;
            for (id, name) in &rows {
                let values = (written::id.eq(id), written::name.eq(name));
                let row = diesel::insert_into(written::table).values(values);
                inserted += row.execute(&mut *tx).await?;
            }
            Ok::<_, diesel::result::Error>(inserted)
        })
        .await;
    assert_eq!(inserted, Ok(ROWS as usize));
    micros(started.elapsed()) / 1e3
}

async fn by_values(pool: &Pool<Postgres>) -> f64 {
    use diesel_async::RunQueryDsl as _;
    let rows: Vec<(i32, String)> = rows();
    let started = Instant::now();
    let inserted = pool
        .transaction(TransactionOptions::default(), async move |tx| {
            let values: Vec<_> = rows
                .iter()
                .map(|(id, name)| (written::id.eq(id), written::name.eq(name)))
                .collect();
            let all = diesel::insert_into(written::table).values(values);
            all.execute(&mut *tx).await
        })
        .await;
    assert_eq!(inserted, Ok(ROWS as usize));
    micros(started.elapsed()) / 1e3
}

fn rows() -> Vec<(i32, String)> {
    (1..=ROWS).map(|id| (id, format!("item {id}"))).collect()
}
