//! How long whole starts take beside what is possible: the longest path without limits, and with a limit that or the work
//! shared out, whichever is more. These are ratios, so that they mean the same on any machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use harness::{Effort, Figures, Suite};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ours;
use crate::parts::{Body, Sleeps};
use crate::scale::put;
use crate::shapes::{SEED, Shape, number};
use crate::ways::{LAYERS, OURS_ONLY_START, PEERS, Way};

pub(crate) fn add(suite: &mut Suite) {
    let about = "random graphs of 40 and 200 nodes that sleep 5 ms and more (lognormal), as a multiple of the longest \
                 path; worst: the graph with the highest";
    suite.figures("makespan-unlimited", about, unlimited);
    let about = "started twice in virtual time, of which the second counts; as a multiple of the bound: longest path or \
                 work by limit; above fifo: in how many of 150 graphs it took longer than first in, first out, and how \
                 many times as long at most";
    for limit in [2, 4, 8] {
        let name = format!("makespan-limit-{limit}");
        let about = format!(
            "limit {limit}, random graphs and chains of nodes that sleep (lognormal), {about}"
        );
        suite.figures(&name, &about, move |figures| {
            limited(figures, Mix::Even, limit);
        });
    }
    let about = format!(
        "limit 4, random graphs grown from one node, for which the bound is out of reach, {about}"
    );
    suite.figures("makespan-grown-limit-4", &about, |figures| {
        limited(figures, Mix::Grown, 4);
    });
    for (chains, length) in [(2, 20), (8, 25)] {
        let name = format!("makespan-chains-{chains}x{length}");
        let about = format!(
            "{chains} chains of {length} nodes; in each place one chain sleeps 20 ms, the others 2 ms; as a multiple of \
             the longest path"
        );
        suite.figures(&name, &about, move |figures| {
            skewed(figures, chains, length);
        });
    }
}

// === without limits, on the clock ===

fn unlimited(figures: &mut Figures<'_>) {
    let graphs = match figures.effort() {
        Effort::Smoke => 1,
        Effort::Quick => 6,
        Effort::Normal => 20,
        Effort::Full => 60,
    };
    let mut random = fastrand::Rng::with_seed(SEED);
    let graphs: Vec<_> = (0..graphs)
        .map(|graph| {
            let parts = if graph % 2 == 0 { 40 } else { 200 };
            let shape = Arc::new(Shape::random(parts, 2, &mut random));
            let sleeps = lognormal(parts, 5.0, &mut random);
            (shape, sleeps)
        })
        .collect();
    let ways = [OURS_ONLY_START].into_iter().chain(PEERS).chain([LAYERS]);
    // To wait for one part after another is no peer here, and a long time.
    for way in ways.filter(|way| !way.label.starts_with("floor:")) {
        let starts = graphs.iter();
        let ratios: Vec<f64> = starts
            .take_while(|_| !figures.is_stopped())
            .map(|(shape, sleeps)| on_the_clock(figures, way, shape, sleeps))
            .collect();
        put(figures, way, "makespan", "times", &[mean(&ratios)]);
        put(figures, way, "worst", "times", &[worst(&ratios)]);
    }
    figures.goal("makespan", "times", 1.01);
}

fn skewed(figures: &mut Figures<'_>, chains: usize, length: usize) {
    let (rounds, long) = match figures.effort() {
        Effort::Smoke => (1, 2),
        Effort::Quick => (3, 20),
        Effort::Normal | Effort::Full => (9, 20),
    };
    let shape = Arc::new(Shape::of(chains * length, |part, needs| {
        needs.extend(part.checked_sub(chains));
    }));
    let sleeps: Vec<Duration> = (0..shape.parts())
        .map(|part| match (part / chains) % chains == part % chains {
            true => Duration::from_millis(long),
            false => Duration::from_millis(2),
        })
        .collect();
    let ways = [OURS_ONLY_START].into_iter().chain(PEERS).chain([LAYERS]);
    for way in ways.filter(|way| !way.label.starts_with("floor:")) {
        let ratios: Vec<f64> = (0..rounds)
            .take_while(|_| !figures.is_stopped())
            .map(|_| on_the_clock(figures, way, &shape, &sleeps))
            .collect();
        put(figures, way, "makespan", "times", &ratios);
    }
    figures.goal("makespan", "times", 1.01);
}

/// A start on all cores as a multiple of its longest path, which is made of what the parts really took: a timer of tokio
/// rounds up to a millisecond.
fn on_the_clock(figures: &Figures<'_>, way: Way, shape: &Arc<Shape>, sleeps: &[Duration]) -> f64 {
    let runtime = figures.on_all_cores(|| {
        let made = Builder::new_multi_thread().enable_all().build();
        made.expect("a runtime needs no more than a few file descriptors")
    });
    let sleeps = Sleeps::new(sleeps.to_vec());
    let start = (way.start)(Arc::clone(shape), Body::Sleep(Arc::clone(&sleeps)));
    let task = runtime.spawn(start);
    let took = runtime.block_on(task).expect("no panic");
    let makespan = (took.build + took.check.unwrap_or_default() + took.run).as_secs_f64();
    makespan / shape.longest(|part| sleeps.took(part))
}

// === with limits, in virtual time ===

/// So many graphs for each limit.
const GRAPHS: usize = 150;

/// Which graphs are started with a limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mix {
    /// 40 and 200 nodes that need three others on the average, and eight chains of five.
    Even,
    /// 40 and 200 nodes grown from one, two needs each: at the beginning there is nothing to share out, so that the bound
    /// is out of reach for any order.
    Grown,
}

fn limited(figures: &mut Figures<'_>, mix: Mix, limit: usize) {
    let graphs = match figures.effort() {
        Effort::Smoke => 3,
        Effort::Quick | Effort::Normal | Effort::Full => GRAPHS,
    };
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut ratios: [Vec<f64>; 5] = Default::default();
    for graph in 0..graphs {
        if figures.is_stopped() {
            return;
        }
        let shape = match (mix, graph % 3) {
            (Mix::Even, 0) => Shape::even(40, 3.0, &mut random),
            (Mix::Even, 1) => Shape::even(200, 3.0, &mut random),
            (Mix::Even, _) => Shape::of(40, |part, needs| needs.extend(part.checked_sub(8))),
            (Mix::Grown, 0) => Shape::random(40, 2, &mut random),
            (Mix::Grown, _) => Shape::random(200, 2, &mut random),
        };
        let sleeps = lognormal(shape.parts(), 1_000.0, &mut random);
        let seconds = |part: usize| sleeps[part].as_secs_f64();
        let work: f64 = (0..shape.parts()).map(seconds).sum();
        let bound = shape.longest(seconds).max(work / limit as f64);
        let [without, with] = twice(&shape, &sleeps, limit);
        let fifo = first_in_first_out(&shape, &sleeps, limit);
        let least = without.min(with).min(fifo);
        assert!(
            least >= bound * 0.999,
            "limit {limit} was not kept: {least} s instead of {bound} s"
        );
        let exact = longest_first(&shape, &sleeps, limit);
        let all = [
            with / bound,
            without / bound,
            fifo / bound,
            exact / bound,
            with / fifo,
        ];
        ratios
            .iter_mut()
            .zip(all)
            .for_each(|(ratios, ratio)| ratios.push(ratio));
    }
    let [ours, first, fifo, exact, beside] = &ratios;
    let above = beside.iter().filter(|ratio| **ratio > 1.000_001).count();
    figures.ours("mean", "times", &[mean(ours)]);
    figures.ours("worst", "times", &[worst(ours)]);
    figures.ours("above_fifo", "count", &[above as f64]);
    figures.ours("most_above_fifo", "times", &[worst(beside)]);
    figures.ours("mean_of_first_start", "times", &[mean(first)]);
    for (label, ratios) in [
        ("JoinSet Semaphore", fifo),
        ("floor:longest path first, computed", exact),
    ] {
        figures.peer(label, "mean", "times", &[mean(ratios)]);
        figures.peer(label, "worst", "times", &[worst(ratios)]);
    }
    if mix == Mix::Even {
        figures.goal("mean", "times", 1.05);
        figures.goal("worst", "times", 1.25);
    }
    figures.goal("above_fifo", "count", 0.0);
}

/// The makespan of a first start, which knows no durations, and of one that has the history of the first.
fn twice(shape: &Shape, sleeps: &[Duration], limit: usize) -> [f64; 2] {
    let folder = tempfile::tempdir().expect("a folder for the history");
    let history = folder.path().join("history.json");
    [(); 2].map(|()| {
        in_virtual_time(async {
            let mut graph = ours::graph(shape, &Body::Sleep(Sleeps::new(sleeps.to_vec())));
            graph.concurrency(limit);
            graph.history(&history);
            let began = Instant::now();
            let running = graph.start().await.expect("a start");
            let took = began.elapsed();
            running.shutdown().await.expect("a stop");
            took.as_secs_f64()
        })
    })
}

/// What one would write by hand: each part waits for a permit from the moment on at which it could begin.
fn first_in_first_out(shape: &Shape, sleeps: &[Duration], limit: usize) -> f64 {
    in_virtual_time(async {
        let began = Instant::now();
        let permits = Arc::new(Semaphore::new(limit));
        let followers = shape.followers();
        let mut missing: Vec<usize> = (0..shape.parts())
            .map(|part| shape.needs(part).len())
            .collect();
        let mut tasks = JoinSet::new();
        let spawn = |tasks: &mut JoinSet<u32>, part: u32| {
            let (permits, sleep) = (Arc::clone(&permits), sleeps[part as usize]);
            tasks.spawn(async move {
                let _permit = permits.acquire().await.expect("never closed");
                tokio::time::sleep(sleep).await;
                part
            });
        };
        for part in (0..shape.parts()).filter(|part| missing[*part] == 0) {
            spawn(&mut tasks, number(part));
        }
        while let Some(done) = tasks.join_next().await {
            for follower in &followers[done.expect("no panic") as usize] {
                let missing = &mut missing[*follower as usize];
                *missing -= 1;
                if *missing == 0 {
                    spawn(&mut tasks, *follower);
                }
            }
        }
        began.elapsed().as_secs_f64()
    })
}

/// The makespan of a start that always begins the part with the longest path behind it, if it knows all durations:
/// computed, not started.
fn longest_first(shape: &Shape, sleeps: &[Duration], limit: usize) -> f64 {
    let followers = shape.followers();
    let mut behind = sleeps.to_vec();
    for part in (0..shape.parts()).rev() {
        let longest = followers[part]
            .iter()
            .map(|next| behind[*next as usize])
            .max();
        behind[part] += longest.unwrap_or_default();
    }
    let mut missing: Vec<usize> = (0..shape.parts())
        .map(|part| shape.needs(part).len())
        .collect();
    let free = (0..shape.parts()).filter(|part| missing[*part] == 0);
    let mut ready: BinaryHeap<_> = free.map(|part| (behind[part], part)).collect();
    let mut running = BinaryHeap::new();
    let mut now = Duration::ZERO;
    loop {
        while running.len() < limit
            && let Some((_, part)) = ready.pop()
        {
            running.push(Reverse((now + sleeps[part], part)));
        }
        let Some(Reverse((end, part))) = running.pop() else {
            return now.as_secs_f64();
        };
        now = end;
        for follower in followers[part].iter().map(|next| *next as usize) {
            missing[follower] -= 1;
            if missing[follower] == 0 {
                ready.push((behind[follower], follower));
            }
        }
    }
}

/// Nothing waits for a clock: when all wait, it jumps to the next time that somebody waits for.
fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime
        .expect("a runtime needs no more than a few file descriptors")
        .block_on(future)
}

/// Times around `median` milliseconds, of which some take many times that, as those of real parts do (sigma 1); at most
/// 20 times.
fn lognormal(parts: usize, median: f64, random: &mut fastrand::Rng) -> Vec<Duration> {
    let mut normal = || {
        // Box and Muller.
        let (a, b) = (1.0 - random.f64(), random.f64());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    };
    let sleeps = (0..parts).map(|_| median * normal().exp().min(20.0));
    sleeps
        .map(|sleep| Duration::from_millis(sleep.round().max(1.0) as u64))
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn worst(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
