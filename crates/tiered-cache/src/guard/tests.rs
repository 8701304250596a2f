//! The guard around tiers that hang, fail, panic or are away.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{self, BoxFuture};

use super::*;
use crate::coherence::{Effect, Version};

/// Answers each read as the script says.
#[derive(Debug)]
struct Scripted {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Found,
    Fail,
    Away,
    Hang,
    Panic,
}

impl Scripted {
    fn say(&self, answer: Answer) {
        *self.answer.lock().expect("no panic under it") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer<T: Send + 'static>(&self, found: T) -> BoxFuture<'static, Result<T, TierError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = *self.answer.lock().expect("no panic under it");
        match answer {
            Answer::Found => future::ready(Ok(found)).boxed(),
            Answer::Fail => future::ready(Err(TierError::Failed("no".into()))).boxed(),
            Answer::Away => future::ready(Err(TierError::Unavailable)).boxed(),
            Answer::Hang => future::pending().boxed(),
            Answer::Panic => panic!("scripted"),
        }
    }
}

impl Tier for Scripted {
    fn kind(&self) -> TierKind {
        TierKind::Other
    }

    fn scope(&self) -> TierScope {
        TierScope::Shared
    }

    fn read<'a>(&'a self, _: &'a EntryKey) -> BoxFuture<'a, Result<Option<Bytes>, TierError>> {
        self.answer(Some(Bytes::from_static(b"value")))
    }

    fn write<'a>(
        &'a self,
        _: &'a EntryKey,
        _: Sealed,
        _: Duration,
    ) -> BoxFuture<'a, Result<bool, TierError>> {
        self.answer(true)
    }

    fn invalidate<'a>(
        &'a self,
        _: &'a EntryKey,
        _: Effect,
        _: Version,
    ) -> BoxFuture<'a, Result<(), TierError>> {
        self.answer(())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }
}

fn guarded(answer: Answer) -> (Arc<Scripted>, Arc<Guard>) {
    let tier = Arc::new(Scripted {
        answer: Mutex::new(answer),
        asked: AtomicUsize::new(0),
    });
    let shared: Arc<dyn Tier> = Arc::<Scripted>::clone(&tier);
    let guard = Guard::new(shared, GuardConfig::default(), Chance::seeded(1));
    (tier, Arc::new(guard))
}

fn key() -> EntryKey {
    EntryKey {
        cache: "cache".into(),
        hash: 1,
        text: "key".into(),
    }
}

/// Fails until the tier is left alone.
async fn opened(answer: Answer) -> (Arc<Scripted>, Arc<Guard>) {
    let (tier, guard) = guarded(answer);
    while guard.state() == BreakerState::Closed {
        assert_eq!(guard.read(&key()).await, Read::Failed);
    }
    (tier, guard)
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_is_left_alone_and_costs_no_time() {
    let (tier, guard) = opened(Answer::Fail).await;
    let asked = tier.asked();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(guard.read(&key()).await, Read::Bypassed);
        let reads = guard.read_many(&[key(), key()]).await;
        assert_eq!(reads, [Read::Bypassed, Read::Bypassed]);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(tier.asked(), asked);
    assert_eq!(guard.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_hangs_is_given_up_at_the_deadline() {
    let (_tier, guard) = guarded(Answer::Hang);
    let begun = Instant::now();
    assert_eq!(guard.read(&key()).await, Read::Failed);
    assert_eq!(begun.elapsed(), GuardConfig::default().deadline);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_answers_again_is_asked_again() {
    let (tier, guard) = opened(Answer::Hang).await;
    tier.say(Answer::Found);
    tokio::time::advance(Duration::from_millis(1200)).await;
    assert_eq!(guard.state(), BreakerState::HalfOpen);
    for _ in 0..2 {
        let value = Bytes::from_static(b"value");
        assert_eq!(guard.read(&key()).await, Read::Found(value));
    }
    assert_eq!(guard.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_says_it_is_away_is_no_failure() {
    let (tier, guard) = guarded(Answer::Away);
    for _ in 0..100 {
        assert_eq!(guard.read(&key()).await, Read::Bypassed);
    }
    assert_eq!(tier.asked(), 100);
    assert_eq!(guard.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_panics_fails_its_own_call_alone() {
    let (_tier, guard) = guarded(Answer::Panic);
    assert_eq!(guard.read(&key()).await, Read::Failed);
    assert_eq!(guard.read_many(&[key()]).await, [Read::Failed]);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_probe_gives_its_place_back() {
    let (tier, guard) = opened(Answer::Hang).await;
    tokio::time::advance(Duration::from_millis(1200)).await;
    for _ in 0..10 {
        let probe = guard.read(&key()).now_or_never();
        assert_eq!(probe, None, "it hangs, and is dropped here");
    }
    tier.say(Answer::Found);
    for _ in 0..2 {
        assert!(matches!(guard.read(&key()).await, Read::Found(_)));
    }
    assert_eq!(guard.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn of_many_keys_one_answer_is_enough_for_the_tier_to_count_as_well() {
    let (tier, guard) = guarded(Answer::Found);
    let found = Read::Found(Bytes::from_static(b"value"));
    assert_eq!(
        guard.read_many(&[key(), key()]).await,
        [found.clone(), found]
    );
    tier.say(Answer::Fail);
    for _ in 0..5 {
        assert_eq!(guard.read_many(&[key()]).await, [Read::Failed]);
    }
    assert_eq!(guard.state(), BreakerState::Open);
}
