//! A client that folds what it gets ends up with the server's state, whatever it missed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use proptest::prelude::*;
use startup_progress::{
    Cursor, Health, Progress, ProgressConfig, Readiness, Snapshot, Step, Update,
};

/// One thing that happens, to the server or to a client; numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Op {
    NewStep,
    Advance(usize, u64),
    Message(usize, u8),
    Finish(usize),
    Fail(usize),
    DropStep(usize),
    ToggleCheck,
    Ready,
    Drain,
    Subscribe,
    Read(usize),
    /// The client goes away and comes back with the cursor it had, having lost its state or not.
    Reconnect(usize, bool),
    DropClient(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::NewStep),
        4 => (any::<usize>(), 0..5_u64).prop_map(|(step, units)| Op::Advance(step, units)),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(step, text)| Op::Message(step, text)),
        2 => any::<usize>().prop_map(Op::Finish),
        1 => any::<usize>().prop_map(Op::Fail),
        1 => any::<usize>().prop_map(Op::DropStep),
        1 => Just(Op::ToggleCheck),
        1 => Just(Op::Ready),
        1 => Just(Op::Drain),
        2 => Just(Op::Subscribe),
        5 => any::<usize>().prop_map(Op::Read),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(client, keep)| Op::Reconnect(client, keep)),
        1 => any::<usize>().prop_map(Op::DropClient),
    ]
}

#[derive(Debug, Default)]
struct Client {
    folded: Option<Snapshot>,
}

impl Client {
    fn read(&mut self, progress: &Progress) {
        let cursor = self.folded.as_ref().map(Snapshot::cursor);
        match progress.update_since(cursor.as_ref()) {
            None => {}
            Some(Update::Snapshot(snapshot)) => self.folded = Some(snapshot),
            Some(Update::Delta(delta)) => {
                let folded = self.folded.as_mut().expect("a delta answers a cursor");
                assert!(
                    folded.apply(&delta),
                    "the delta follows what the client has"
                );
            }
            Some(other) => panic!("unknown update {other:?}"),
        }
    }
}

/// The time of reading is the one thing in which two honest readers differ.
fn timeless(mut snapshot: Snapshot) -> Snapshot {
    snapshot.elapsed_ms = 0;
    snapshot
}

struct World {
    progress: Progress,
    healthy: Arc<AtomicBool>,
    steps: Vec<Step>,
    clients: Vec<Client>,
    percent: u8,
}

impl World {
    fn new() -> Self {
        // A small bound, so that omitted steps are part of the game.
        let config = ProgressConfig {
            steps_max: 6,
            ..ProgressConfig::default()
        };
        let progress = Progress::with_config("test", config);
        let healthy = Arc::new(AtomicBool::new(true));
        let probe = Arc::clone(&healthy);
        progress.check("redis", move || match probe.load(Ordering::Relaxed) {
            true => Health::Pass,
            false => Health::Warn("away".to_owned()),
        });
        Self {
            progress,
            healthy,
            steps: Vec::new(),
            clients: Vec::new(),
            percent: 0,
        }
    }

    fn step(&mut self, number: usize) -> Option<Step> {
        let index = number.checked_rem(self.steps.len())?;
        Some(self.steps.swap_remove(index))
    }

    fn client(&mut self, number: usize) -> Option<&mut Client> {
        let index = number.checked_rem(self.clients.len())?;
        self.clients.get_mut(index)
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::NewStep => self.steps.push(self.progress.step("step").total(4)),
            Op::Advance(step, units) => {
                if let Some(step) = self.step(step) {
                    step.advance(units);
                    self.steps.push(step);
                }
            }
            Op::Message(step, text) => {
                if let Some(step) = self.step(step) {
                    step.message(text.to_string());
                    self.steps.push(step);
                }
            }
            Op::Finish(step) => self.step(step).map(Step::finish).unwrap_or_default(),
            Op::Fail(step) => self
                .step(step)
                .map(|step| step.fail("no"))
                .unwrap_or_default(),
            Op::DropStep(step) => drop(self.step(step)),
            Op::ToggleCheck => {
                self.healthy.fetch_xor(true, Ordering::Relaxed);
                // Checks are asked by readers; here by this one.
                let _ = self.progress.snapshot();
            }
            Op::Ready => {
                self.progress.ready();
            }
            Op::Drain => {
                self.progress.drain();
            }
            Op::Subscribe => self.clients.push(Client::default()),
            Op::Read(client) => {
                let progress = self.progress.clone();
                if let Some(client) = self.client(client) {
                    client.read(&progress);
                }
            }
            Op::Reconnect(client, keep) => {
                if let Some(client) = self.client(client)
                    && !keep
                {
                    client.folded = None;
                }
            }
            Op::DropClient(client) => {
                if let Some(index) = client.checked_rem(self.clients.len()) {
                    self.clients.swap_remove(index);
                }
            }
        }
    }

    fn check(&mut self) {
        let snapshot = self.progress.snapshot();
        assert!(snapshot.percent >= self.percent, "percent fell");
        assert_eq!(
            snapshot.percent == 100,
            snapshot.ready_ms.is_some(),
            "100 is for ready alone"
        );
        self.percent = snapshot.percent;
    }
}

proptest! {
    #[test]
    fn any_interleaving_of_changes_and_readers_ends_in_the_servers_state(
        ops in prop::collection::vec(op(), 0..120)
    ) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
            world.check();
        }
        let server = timeless(world.progress.snapshot());
        for client in &mut world.clients {
            client.read(&world.progress);
            let folded = client.folded.clone().map(timeless);
            prop_assert_eq!(folded.as_ref(), Some(&server));
            prop_assert_eq!(world.progress.update_since(Some(&server.cursor())), None);
        }
    }
}

#[test]
fn a_cursor_of_another_run_or_from_the_future_gets_a_snapshot() {
    let progress = Progress::new("test");
    progress.step("one").finish();
    let cursor = progress.snapshot().cursor();
    let other_run = Cursor {
        run: "another".into(),
        ..cursor.clone()
    };
    let future = Cursor {
        seq: cursor.seq + 1,
        ..cursor
    };
    for cursor in [None, Some(&other_run), Some(&future)] {
        let update = progress.update_since(cursor);
        assert!(
            matches!(update, Some(Update::Snapshot(_))),
            "{cursor:?}: {update:?}"
        );
    }
}

#[test]
fn many_changes_of_one_step_are_one_record() {
    let progress = Progress::new("test");
    let untouched = progress.step("untouched");
    let busy = progress.step("busy").total(1_000);
    let cursor = progress.snapshot().cursor();
    for _ in 0..1_000 {
        busy.advance(1);
    }
    let Some(Update::Delta(delta)) = progress.update_since(Some(&cursor)) else {
        panic!("a delta")
    };
    assert_eq!(delta.steps.len(), 1);
    assert_eq!(delta.steps[0].current, 1_000);
    busy.finish();
    untouched.finish();
}

#[test]
fn a_delta_that_does_not_follow_changes_nothing() {
    let progress = Progress::new("test");
    let mut early = progress.snapshot();
    progress.step("missed").finish();
    let cursor = progress.snapshot().cursor();
    progress.ready();
    let Some(Update::Delta(delta)) = progress.update_since(Some(&cursor)) else {
        panic!("a delta")
    };
    let before = early.clone();
    assert!(!early.apply(&delta), "a gap");
    assert_eq!(early, before);

    let mut other = Progress::new("test").snapshot();
    assert!(!other.apply(&delta), "another run");
    assert_eq!(other.status, Readiness::Starting);
}

#[test]
fn cursors_survive_the_wire_and_nonsense_does_not() {
    let cursor = Progress::new("test").snapshot().cursor();
    assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    for nonsense in ["", "7", "run:", "run:-1", "run:99999999999999999999999"] {
        assert!(nonsense.parse::<Cursor>().is_err(), "{nonsense:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_beside_four_writers_ends_in_the_servers_state() {
    let progress = Progress::new("test");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let progress = progress.clone();
            tokio::spawn(async move {
                for number in 0..50 {
                    let step = progress.step(format!("{writer}.{number}")).total(10);
                    for _ in 0..10 {
                        step.advance(1);
                        tokio::task::yield_now().await;
                    }
                    step.finish();
                }
            })
        })
        .collect();
    let reader = {
        let progress = progress.clone();
        tokio::spawn(async move {
            let mut client = Client::default();
            client.read(&progress);
            while client
                .folded
                .as_ref()
                .is_some_and(|folded| folded.status != Readiness::Ready)
            {
                let seen = client.folded.as_ref().map_or(0, |folded| folded.seq);
                progress.changed(seen).await;
                client.read(&progress);
            }
            client.folded
        })
    };
    for writer in writers {
        writer.await.unwrap();
    }
    progress.ready();
    let folded = reader.await.unwrap().map(timeless);
    assert_eq!(folded, Some(timeless(progress.snapshot())));
}
