//! What happens when a value expires: four policies, each as a time line of one key.
//!
//! The clock is tokio's, paused: it jumps to the next moment at which something is to happen, so that an
//! hour passes at once. Run it with `cargo run -p tiered-cache --example 02_policies`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tiered_cache::{BoxError, LoadError, Lookup, Policy, TieredCache};
use tokio::time::{Instant, sleep, sleep_until};

/// What the source of the prices does at a moment.
#[derive(Debug, Clone, Copy)]
enum Source {
    Answers,
    Fails,
    KnowsNone,
}
use Source::{Answers, Fails, KnowsNone};

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), BoxError> {
    let base = Policy {
        ttl: seconds(60),
        // So that the moments below are exact.
        ttl_jitter: 0.0,
        ..Policy::default()
    };

    let title = "stale_while_revalidate: 30 s. Nobody waits for a reload";
    let policy = Policy {
        stale_while_revalidate: seconds(30),
        ..base.clone()
    };
    let moments = [
        (0, Answers, "Loaded"),
        (59, Answers, "Hit"),
        (70, Answers, "Stale"), // ... and a load begins behind it
        (71, Answers, "Hit"),
        (200, Answers, "Loaded"), // past the window: who asks waits
    ];
    time_line(title, policy, &moments).await?;

    let title = "stale_if_error: 1 hour. An outage of the source is none of yours";
    let policy = Policy {
        stale_if_error: seconds(3600),
        ..base.clone()
    };
    let moments = [
        (0, Answers, "Loaded"),
        (70, Fails, "Stale"),
        (75, Fails, "Stale"),  // the source is left alone for `error_throttle`
        (101, Fails, "Stale"), // asked once more
        (132, Answers, "Loaded"),
        (3_900, Fails, "error"), // too old to stand in
    ];
    time_line(title, policy, &moments).await?;

    let title = "negative_ttl: 30 s. What does not exist is not asked for again and again";
    let policy = Policy {
        negative_ttl: seconds(30),
        ..base.clone()
    };
    let moments = [
        (0, KnowsNone, "Absent"),
        (10, KnowsNone, "Absent"),
        (31, Answers, "Loaded"),
    ];
    time_line(title, policy, &moments).await?;

    let title = "refresh_ahead: 0.8. What is in use never expires";
    let policy = Policy {
        refresh_ahead: Some(0.8),
        ..base
    };
    let moments = [
        (0, Answers, "Loaded"),
        (47, Answers, "Hit"),
        (49, Answers, "Hit"), // ... and a load begins behind it
        (100, Answers, "Hit"),
        (130, Answers, "Hit"),
    ];
    time_line(title, policy, &moments).await
}

/// Reads one key at each of the moments, and checks how it is answered.
async fn time_line(
    title: &str,
    policy: Policy,
    moments: &[(u64, Source, &str)],
) -> Result<(), BoxError> {
    println!("{title}");
    let prices: TieredCache<u32, u32> = TieredCache::memory("prices", policy)?;
    let asked = Arc::new(AtomicU32::new(0));
    let begun = Instant::now();
    for (second, source, expected) in moments {
        sleep_until(begun + seconds(*second)).await;
        let read = Instant::now();
        let (now, counter) = (*source, Arc::clone(&asked));
        let answer = prices.get_or_load(&1, move || price(now, counter)).await;
        let waited = read.elapsed().as_millis();
        let (how, value) = shown(&answer);
        // Lets what was begun in the background end.
        sleep(seconds(1) / 2).await;
        let asked = asked.load(Ordering::Relaxed);
        let source = format!("{source:?}");
        println!(
            "{second:>7} s  the source {source:<10} {how:<7}{value:<8} after {waited:>2} ms, source asked {asked} x"
        );
        assert_eq!(how, *expected, "at {second} s");
    }
    println!();
    Ok(())
}

/// The loader: it takes 20 ms, and the price is the number of the question.
async fn price(source: Source, asked: Arc<AtomicU32>) -> Result<Option<u32>, &'static str> {
    let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
    sleep(Duration::from_millis(20)).await;
    match source {
        Answers => Ok(Some(number)),
        KnowsNone => Ok(None),
        Fails => Err("the source is down"),
    }
}

fn shown(answer: &Result<Lookup<u32>, LoadError>) -> (&'static str, String) {
    let how = match answer {
        Ok(Lookup::Loaded { .. }) => "Loaded",
        Ok(Lookup::Hit { .. }) => "Hit",
        Ok(Lookup::Stale { .. }) => "Stale",
        Ok(Lookup::Absent) => "Absent",
        Ok(_) => "Miss",
        Err(_) => "error",
    };
    let value = answer.as_ref().ok().and_then(Lookup::value);
    (
        how,
        value
            .map(|value| format!("price {value}"))
            .unwrap_or_default(),
    )
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
