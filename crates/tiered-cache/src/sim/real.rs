//! The scripted Redis beside a real one: the same commands in the same order must give the same answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{dice::Dice, store::Store};
use crate::{
    RedisConfig,
    coherence::{Effect, Epoch, Floors, Log, Target, Version},
    redis::{RedisParts, tests::redis_server::Server},
    tier::{EntryKey, Sealed, Tier},
};

/// Both servers, and what tells their versions apart from one another: each has its own clock.
struct Pair {
    server: Server,
    parts: RedisParts,
    store: Store,
    now_ms: u64,
    /// The versions of each append, at the real server and at the scripted one.
    appended: Vec<(Version, Version)>,
    seen: Version,
    epochs: Option<(Epoch, Epoch)>,
}

#[tokio::test]
async fn the_scripted_redis_answers_as_a_real_one() {
    for seed in 0..8 {
        let Some(mut pair) = Pair::start().await else {
            return;
        };
        let dice = Dice::seeded(seed);
        for step in 0..150 {
            pair.now_ms += 1;
            let at = format!("seed {seed}, step {step}");
            match dice.below(20) {
                0..=4 => pair.fill(&dice, &at).await,
                5..=7 => pair.invalidate(&dice, &at).await,
                8..=11 => pair.append(&dice).await,
                12..=14 => pair.page(&dice, &at).await,
                15 => pair.floors(&at).await,
                16 | 17 => pair.intents(&dice, &at).await,
                18 => pair.renew(&at).await,
                _ if dice.one_in(3) => {
                    pair.server.command(&["FLUSHALL"]).await;
                    pair.store.flush();
                }
                _ => {}
            }
        }
    }
}

impl Pair {
    async fn start() -> Option<Self> {
        let server = Server::start(&[]).await?;
        let config = RedisConfig {
            url: server.url(),
            // Far above what a busy machine needs.
            command_timeout: Duration::from_secs(10),
            connect_grace: Duration::from_secs(10),
            ..RedisConfig::default()
        };
        let floors = Arc::new(Floors::new(16));
        let parts = RedisParts::open(&config, "sim", 0, 1, &floors).await;
        Some(Self {
            server,
            parts: parts.expect("settings that can work"),
            store: Store::new(1),
            now_ms: 0,
            appended: Vec::new(),
            seen: Version(0),
            epochs: None,
        })
    }

    async fn fill(&mut self, dice: &Dice, at: &str) {
        let (key, version) = (key(dice), Version(dice.between(1, 20)));
        let bytes = Bytes::from(version.to_string());
        let entry = Sealed {
            bytes: bytes.clone(),
            version,
            insertion: false,
        };
        let real = self.parts.tier.write(&key, entry, HOUR).await;
        let text = key.text.to_string();
        let ours = self
            .store
            .fill(&text, bytes, version, u64::MAX, self.now_ms);
        assert_eq!(
            real.expect("the server is there"),
            ours,
            "{at}: fill of {text}"
        );
        self.read(&key, at).await;
    }

    async fn invalidate(&mut self, dice: &Dice, at: &str) {
        let (key, version) = (key(dice), Version(dice.between(1, 20)));
        let effect = dice.pick(&[Effect::Remove, Effect::Expire]);
        let done = self.parts.tier.invalidate(&key, effect, version).await;
        done.expect("the server is there");
        self.store
            .invalidate(&key.text, effect, version, self.now_ms);
        self.read(&key, at).await;
    }

    async fn read(&self, key: &EntryKey, at: &str) {
        let real = self.parts.tier.read(key).await;
        let ours = self.store.get(&key.text, self.now_ms);
        let ours = ours.map(|found| found.bytes);
        assert_eq!(real.expect("the server is there"), ours, "{at}: {key:?}");
    }

    async fn append(&mut self, dice: &Dice) {
        let effect = dice.pick(&[Effect::Remove, Effect::Expire]);
        let target = dice.pick(&[Target::Key(3), Target::Tag(4), Target::Cache(5)]);
        let changes = [(target, effect)];
        let real = self.parts.log.append(&changes).await;
        let real = real.expect("the server is there");
        let ours = self.store.append(1, &changes, self.seen, self.now_ms);
        self.seen = self.seen.max(ours);
        self.appended.push((real, ours));
    }

    async fn page(&mut self, dice: &Dice, at: &str) {
        let from = dice.index(self.appended.len() + 1);
        let after = self.appended.get(from).copied();
        let (real_after, our_after) = after.unwrap_or_default();
        let real = self.parts.log.read(real_after, 1_000, Duration::ZERO).await;
        let real = real.expect("the server is there");
        let ours = self.store.page(our_after, 1_000, self.seen, self.now_ms);
        self.seen = self.seen.max(ours.last);
        let place = |versions: fn(&(Version, Version)) -> Version, version| {
            let mut appended = self.appended.iter();
            appended.position(|pair| versions(pair) == version)
        };
        let shape = |versions: fn(&(Version, Version)) -> Version,
                     page: &crate::coherence::Page| {
            let records = page.records.iter();
            let records =
                records.map(|record| (place(versions, record.version), record.changes.clone()));
            records.collect::<Vec<_>>()
        };
        let real_shape = shape(|pair| pair.0, &real);
        assert_eq!(real_shape, shape(|pair| pair.1, &ours), "{at}");
        assert_eq!(
            place(|pair| pair.0, real.last),
            place(|pair| pair.1, ours.last),
            "{at}: the end"
        );
        self.same_epochs(real.epoch, ours.epoch, at);
    }

    /// Both go on in the same epoch, or both have begun another.
    fn same_epochs(&mut self, real: Epoch, ours: Epoch, at: &str) {
        if let Some((real_before, our_before)) = self.epochs {
            assert_eq!(real == real_before, ours == our_before, "{at}: epochs");
        }
        self.epochs = Some((real, ours));
    }

    async fn renew(&mut self, at: &str) {
        let Some((real, ours)) = self.epochs else {
            return;
        };
        let real = self.parts.log.renew(real, Version(0)).await;
        let ours = self.store.renew(ours, self.seen, self.now_ms);
        self.same_epochs(real.expect("the server is there"), ours, at);
    }

    async fn floors(&mut self, at: &str) {
        let real = self.parts.log.floors().await;
        let ours = self.store.floors(self.seen, self.now_ms);
        let real = real.expect("the server is there").into_iter();
        let name = |target, effect, place: Option<usize>| (format!("{target:?} {effect:?}"), place);
        let real = real.map(|(target, effect, version)| {
            let place = self.appended.iter().position(|pair| pair.0 == version);
            name(target, effect, place)
        });
        let ours = ours.into_iter().map(|(target, effect, version)| {
            let place = self.appended.iter().position(|pair| pair.1 == version);
            name(target, effect, place)
        });
        let (real, ours): (BTreeMap<_, _>, BTreeMap<_, _>) = (real.collect(), ours.collect());
        assert_eq!(real, ours, "{at}: floors");
    }

    async fn intents(&mut self, dice: &Dice, at: &str) {
        let intent = dice.between(1, 3);
        let log = &self.parts.log;
        if dice.one_in(3) {
            log.complete(intent).await.expect("the server is there");
            self.store.complete(intent);
        } else {
            let overdue = dice.one_in(2);
            let (due, due_ms) = match overdue {
                true => (Duration::ZERO, self.now_ms),
                false => (HOUR, u64::MAX),
            };
            let done = log.prepare(intent, b"changes", due).await;
            done.expect("the server is there");
            let changes = b"changes".to_vec();
            self.store.prepare(intent, changes, due_ms, self.now_ms);
        }
        let real = log.overdue().await.expect("the server is there");
        let real: BTreeMap<_, _> = real.into_iter().collect();
        let ours: BTreeMap<_, _> = self.store.overdue(self.now_ms).into_iter().collect();
        assert_eq!(real, ours, "{at}: intents");
    }
}

fn key(dice: &Dice) -> EntryKey {
    let text = dice.pick(&["a", "b", "c"]);
    EntryKey {
        cache: Arc::from("users"),
        hash: crate::hash::text_hash(text),
        text: Arc::from(text),
    }
}

const HOUR: Duration = Duration::from_secs(3600);
