//! From the numbers of a pool to what its settings and its borrowers should change.

use super::finding::{Finding, FindingKind as Kind, Severity, Value};
use super::input::{PoolNumbers, SiteNumbers};

/// What the pool's own numbers say, and what they are too few to say.
pub(super) fn pool(numbers: &PoolNumbers) -> (Vec<Finding>, Vec<String>) {
    let mut findings = Vec::new();
    let mut notes = Vec::new();
    if numbers.acquired < ENOUGH {
        notes.push(format!(
            "size of the pool: {} connections borrowed are too few to judge by",
            numbers.acquired
        ));
    } else {
        findings.push(size(numbers));
        findings.extend(numbers.sites.iter().filter_map(|site| held(site, numbers)));
        findings.extend(churn(numbers));
        findings.extend(abandoned(numbers));
    }
    findings.extend(waits(numbers));
    (findings, notes)
}

/// Little's law: connections in use = borrowed per second x seconds held; the 95th percentile instead of the mean, and
/// a square root on top, as arrivals come in bursts.
fn needed(numbers: &PoolNumbers) -> u32 {
    let window = numbers.window.as_secs_f64().max(1.0);
    let busy: f64 = numbers
        .sites
        .iter()
        .map(|site| site.holds as f64 / window * site.held_high.as_secs_f64())
        .sum();
    let whole = (busy + busy.sqrt()).ceil().clamp(1.0, 10_000.0);
    whole as u32
}

fn size(numbers: &PoolNumbers) -> Finding {
    let (needed, allowed) = (needed(numbers), numbers.max_size);
    let peak = numbers.in_use_max;
    let suffers =
        numbers.timeouts > 0 || numbers.waited_p99.is_some_and(|waited| waited >= LONG_WAIT);
    let used = needed.max(peak.unwrap_or(needed));
    let finding = if suffers && needed > allowed {
        too_small(numbers, needed)
    } else if used * 2 <= allowed && allowed > SMALL && numbers.window >= LONG_WINDOW {
        let what = format!(
            "the pool is larger than its traffic: {used} of {allowed} connections would do, and idle ones cost the server memory"
        );
        Finding::new(Severity::Hint, Kind::PoolTooLarge, what)
            .setting("max_size", (used + used.div_ceil(2)).max(SMALL))
    } else {
        let what = if needed > allowed {
            format!(
                "the size of the pool suits its traffic: nobody waits long for one of {allowed} connections"
            )
        } else {
            format!(
                "the size of the pool suits its traffic: {used} of {allowed} connections are needed"
            )
        };
        Finding::new(Severity::Fine, Kind::PoolFits, what)
    };
    let window = numbers.window.as_secs_f64().max(1.0);
    finding
        .with(
            "borrowed",
            Value::PerSecond(numbers.acquired as f64 / window),
        )
        .with_some(
            "held",
            longest(numbers).map(|site| Value::time(site.held_high)),
        )
        .with_some("waited p99", numbers.waited_p99.map(Value::time))
        .with_some("most in use", peak.map(|peak| Value::Count(peak.into())))
        .with("timed out", Value::Count(numbers.timeouts))
}

fn too_small(numbers: &PoolNumbers, needed: u32) -> Finding {
    let allowed = numbers.max_size;
    let severity = if numbers.timeouts > 0 {
        Severity::Urgent
    } else {
        Severity::Warning
    };
    let what = format!(
        "the pool is too small: this traffic needs {needed} connections and {allowed} are allowed"
    );
    let finding = Finding::new(severity, Kind::PoolTooSmall, what);
    let querying: f64 = numbers
        .sites
        .iter()
        .map(|site| site.querying.as_secs_f64())
        .sum();
    let held: f64 = numbers
        .sites
        .iter()
        .map(|site| site.held.as_secs_f64())
        .sum();
    let share = if held > 0.0 { querying / held } else { 1.0 };
    let finding = finding.with("querying while held", Value::Share(share));
    if share < BUSY_SHARE {
        finding
            .code("first hold connections for a shorter time: the places below hold them without a statement")
            .setting("max_size", needed)
    } else {
        finding
            .setting("max_size", needed)
            .code("more connections help as long as the database has cores to spare; else make the statements faster")
    }
}

/// The place that holds connections the longest, all of its holds together.
fn longest(numbers: &PoolNumbers) -> Option<&SiteNumbers> {
    numbers.sites.iter().max_by_key(|site| site.held)
}

fn held(site: &SiteNumbers, numbers: &PoolNumbers) -> Option<Finding> {
    let (held, querying) = (site.held.as_secs_f64(), site.querying.as_secs_f64());
    let mean = held / site.holds.max(1) as f64;
    let share = if held > 0.0 {
        (querying / held).min(1.0)
    } else {
        1.0
    };
    let lost = (held - querying) / numbers.window.as_secs_f64().max(1.0);
    if site.holds < 20 || share >= 0.5 || mean < 0.005 || lost < 0.05 {
        return None;
    }
    let severity = if lost >= f64::from(numbers.max_size) / 4.0 {
        Severity::Warning
    } else {
        Severity::Hint
    };
    let what = format!(
        "connections are held across other awaits at {}: a statement runs for {:.0} % of the time",
        site.at,
        share * 100.0
    );
    Some(
        Finding::new(severity, Kind::HeldIdle, what)
            .with("holds", Value::Count(site.holds))
            .with("held on average", Value::Seconds(mean))
            .with(
                "thereof querying",
                Value::Seconds(querying / site.holds.max(1) as f64),
            )
            .with(
                "connections kept from others",
                Value::Text(format!("{lost:.1}")),
            )
            .code("borrow after the other awaits, or give the connection back before them"),
    )
}

fn waits(numbers: &PoolNumbers) -> Option<Finding> {
    // Looked at once a second: only a wide margin over a long time says that connections were free.
    let half = |peak: u32| peak * 2 <= numbers.max_size && numbers.window >= WINDOW;
    let spare = numbers.in_use_max.is_some_and(half);
    let share = numbers.timeouts as f64 / (numbers.acquired + numbers.timeouts).max(1) as f64;
    if let Some(waited) = numbers
        .waited_p99
        .filter(|waited| spare && *waited >= LONG_WAIT)
    {
        let what = "callers wait although connections are free: opening or validating them is slow";
        return Some(
            Finding::new(Severity::Warning, Kind::WaitWhileIdle, what)
                .with("waited p99", Value::time(waited))
                .with(
                    "most in use",
                    Value::Count(numbers.in_use_max.unwrap_or(0).into()),
                )
                .with("timed out", Value::Count(numbers.timeouts))
                .setting(
                    "min_idle",
                    numbers.in_use_max.unwrap_or(1).max(numbers.min_idle + 1),
                ),
        );
    }
    if numbers.timeouts == 0 {
        return None;
    }
    let severity = if share >= 0.01 {
        Severity::Urgent
    } else {
        Severity::Warning
    };
    let what = format!("borrowing ran out of time {} times", numbers.timeouts);
    Some(
        Finding::new(severity, Kind::Timeouts, what)
            .with("of all", Value::Share(share))
            .code("the errors name who held the connections, or why none could be opened"),
    )
}

fn churn(numbers: &PoolNumbers) -> Option<Finding> {
    let minutes = (numbers.window.as_secs_f64() / 60.0).max(1.0);
    let each_minute = numbers.connects as f64 / minutes;
    let share = numbers.connects as f64 / numbers.acquired.max(1) as f64;
    // The first filling of the pool is no churn.
    let refilled = numbers.connects > u64::from(numbers.max_size) * 3;
    if !refilled || (each_minute < f64::from(numbers.max_size) && share < 0.1) {
        return None;
    }
    Some(
        Finding::new(
            Severity::Warning,
            Kind::Churn,
            "connections are opened and closed all the time",
        )
        .with("opened", Value::Count(numbers.connects))
        .with("in a minute", Value::Text(format!("{each_minute:.1}")))
        .with("of all borrowed", Value::Share(share))
        .with(
            "closed after vanished borrowers",
            Value::Count(numbers.discarded),
        )
        .setting(
            "min_idle",
            numbers
                .in_use_max
                .unwrap_or(numbers.max_size)
                .min(numbers.max_size),
        )
        .code(
            "a longer idle_timeout or max_lifetime keeps them, if the server closes none by itself",
        ),
    )
}

fn abandoned(numbers: &PoolNumbers) -> Option<Finding> {
    let all = numbers.recovered + numbers.discarded;
    let share = all as f64 / numbers.acquired.max(1) as f64;
    if all < 20 || share < 0.05 {
        return None;
    }
    let what = "borrowers vanish in the middle of a statement or transaction";
    Some(
        Finding::new(Severity::Hint, Kind::Abandoned, what)
            .with("repaired", Value::Count(numbers.recovered))
            .with("closed", Value::Count(numbers.discarded))
            .with("of all borrowed", Value::Share(share))
            .code(
                "a time-out of the request that is shorter than its statements is the usual reason",
            ),
    )
}

/// Fewer borrowed connections say nothing.
const ENOUGH: u64 = 100;
/// A pool of this size is never too large.
const SMALL: u32 = 4;
const BUSY_SHARE: f64 = 0.5;
const WINDOW: std::time::Duration = std::time::Duration::from_secs(600);
const LONG_WAIT: std::time::Duration = std::time::Duration::from_millis(20);
/// A pool may be large for a peak that comes once an hour.
const LONG_WINDOW: std::time::Duration = std::time::Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn busy() -> PoolNumbers {
        let site = |at: &str, holds, high: u64, querying: f64| SiteNumbers {
            at: at.to_owned(),
            holds,
            held: Duration::from_millis(high) * u32::try_from(holds).expect("small"),
            held_high: Duration::from_millis(high),
            querying: (Duration::from_millis(high) * u32::try_from(holds).expect("small"))
                .mul_f64(querying),
        };
        PoolNumbers {
            max_size: 10,
            window: MINUTE,
            acquired: 60_000,
            connects: 10,
            sites: vec![
                site("src/a.rs:1:2", 54_000, 10, 0.9),
                site("src/b.rs:3:4", 6_000, 20, 0.9),
            ],
            ..PoolNumbers::default()
        }
    }

    fn told(numbers: &PoolNumbers) -> Vec<String> {
        let (findings, notes) = pool(numbers);
        let shown = |it: Finding| {
            let todo: Vec<String> = it.todo.iter().map(ToString::to_string).collect();
            format!("{} {} [{}]", it.severity, it.what, todo.join("; "))
        };
        findings.into_iter().map(shown).chain(notes).collect()
    }

    #[test]
    fn the_size_follows_from_arrivals_and_hold_times() {
        // 900/s x 10 ms + 100/s x 20 ms = 11 in use, and a square root of it.
        assert_eq!(needed(&busy()), 15);
        let fits = told(&busy());
        assert_eq!(
            fits,
            [
                "fine the size of the pool suits its traffic: nobody waits long for one of 10 connections []"
            ]
        );
        let suffering = PoolNumbers {
            timeouts: 700,
            ..busy()
        };
        let told = told(&suffering);
        assert!(told[0].starts_with("urgent the pool is too small: this traffic needs 15 connections and 10 are allowed [set max_size = 15;"), "{told:?}");
        assert!(
            told[1].starts_with("urgent borrowing ran out of time 700 times"),
            "{told:?}"
        );
    }

    #[test]
    fn a_pool_is_too_large_only_after_a_long_time_of_little_use() {
        let mut idle = busy();
        (idle.max_size, idle.in_use_max) = (100, Some(12));
        assert!(told(&idle)[0].starts_with("fine"), "{:?}", told(&idle));
        idle.window = MINUTE * 120;
        for site in &mut idle.sites {
            site.holds *= 120;
        }
        assert!(
            told(&idle)[0].contains("15 of 100 connections would do")
                && told(&idle)[0].ends_with("[set max_size = 23]"),
            "{:?}",
            told(&idle)
        );
        idle.max_size = 4;
        assert!(told(&idle)[0].starts_with("fine"));
    }

    #[test]
    fn holding_without_querying_names_the_place_and_comes_before_growing() {
        let mut numbers = busy();
        numbers.sites[0].querying = numbers.sites[0].held.mul_f64(0.1);
        numbers.waited_p99 = Some(Duration::from_millis(40));
        let told = told(&numbers);
        assert!(
            told[0].starts_with("warning the pool is too small")
                && told[0].contains("[first hold connections"),
            "{told:?}"
        );
        assert!(told[1].starts_with("warning connections are held across other awaits at src/a.rs:1:2: a statement runs for 10 % of the time"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn waiting_beside_free_connections_churn_and_vanished_borrowers_are_told() {
        let numbers = PoolNumbers {
            waited_p99: Some(Duration::from_millis(40)),
            in_use_max: Some(5),
            window: MINUTE * 10,
            connects: 9_000,
            recovered: 2_000,
            discarded: 4_000,
            ..busy()
        };
        let told = told(&numbers);
        let has = |text: &str| told.iter().any(|it| it.contains(text));
        assert!(
            has("callers wait although connections are free"),
            "{told:?}"
        );
        assert!(
            has("opened and closed all the time [set min_idle = 5"),
            "{told:?}"
        );
        assert!(has("borrowers vanish"), "{told:?}");
    }

    #[test]
    fn too_little_traffic_is_a_note_and_no_number_divides_by_nothing() {
        let told = told(&PoolNumbers::default());
        assert_eq!(
            told,
            ["size of the pool: 0 connections borrowed are too few to judge by"]
        );
        let odd = PoolNumbers {
            acquired: 1_000,
            sites: vec![SiteNumbers::default()],
            ..PoolNumbers::default()
        };
        assert_eq!(pool(&odd).0.len(), 1);
    }
}
