//! All that is known of the servers, and every decision that follows from it; takes `now`, does nothing else.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, Role};
use super::ban::{Ban, Terms};
use super::config::PrimaryReads;
use super::lag::{History, Lag, reached};
use super::latency::Latency;
use super::role::{Verdict, judge};
use crate::lsn::Lsn;

/// The settings that decisions depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) max_lag: Option<Duration>,
    pub(super) max_lag_bytes: Option<u64>,
    pub(super) primary_reads: PrimaryReads,
    pub(super) ban: Terms,
    pub(super) probe_interval: Duration,
}

pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    pub(super) failovers: u64,
    primary: Option<usize>,
    /// The last one there was, for counting.
    former: Option<usize>,
    split: bool,
    highest_timeline: u32,
    history: History,
    rules: Rules,
    random: fastrand::Rng,
    asked_again: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    /// The last answer, however old.
    pub(super) answer: Option<Answer>,
    pub(super) silence: Option<Silence>,
    pub(super) latency: Latency,
    pub(super) ban: Ban,
    pub(super) in_flight: u32,
    pub(super) reads: u64,
    pub(super) bans: u64,
    /// Whether there is a pool to borrow from.
    pub(super) opened: bool,
    /// It was never a copy of the same database.
    stranger: bool,
}

/// Why a server has not answered since its last answer.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) why: String,
    times: u32,
    /// It refused, or its connection broke; not just slow.
    certain: bool,
}

/// What somebody has to be told after an answer or its absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// There is another primary than before.
    pub(super) promoted: Option<usize>,
    /// This server took writes before and does not now: connections opened meanwhile are to be replaced.
    pub(super) demoted: Option<usize>,
}

impl Servers {
    pub(super) fn new(count: usize, rules: Rules, random: fastrand::Rng) -> Self {
        Self {
            all: (0..count).map(|_| Server::default()).collect(),
            failovers: 0,
            primary: None,
            former: None,
            split: false,
            highest_timeline: 0,
            history: History::default(),
            rules,
            random,
            asked_again: None,
        }
    }

    // === what servers say ===

    pub(super) fn answered(&mut self, server: usize, answer: Answer, now: Instant) -> Change {
        if let Some(system) = self.other_system(server, &answer) {
            let why = format!(
                "belongs to another database: its system identifier is {}, that of the others {system}",
                answer.system
            );
            self.all[server].stranger = true;
            return self.silent(server, why, true);
        }
        let this = &mut self.all[server];
        this.stranger = false;
        this.silence = None;
        this.ban.answered(answer.asked, now);
        if this.latency.is_stale(now, self.rules.probe_interval) {
            this.latency.observe(answer.took, now);
        }
        let was = this.answer.replace(answer);
        let took_writes = was.is_some_and(|was| !was.is_standby());
        let mut change = self.resolve();
        if took_writes && self.is_standby(server) {
            change.demoted = Some(server);
        }
        if self.primary == Some(server)
            && let Some(answer) = &self.all[server].answer
        {
            self.history.observe(answer.asked, answer.position);
        }
        change
    }

    /// The server did not answer; `certain` unless it was only slow.
    pub(super) fn silent(&mut self, server: usize, why: String, certain: bool) -> Change {
        let silence = self.all[server].silence.take();
        self.all[server].silence = Some(Silence {
            why,
            times: silence.as_ref().map_or(0, |silence| silence.times) + 1,
            certain: certain || silence.is_some_and(|silence| silence.certain),
        });
        self.resolve()
    }

    /// A caller was failed by a server that should have served it. Returns whether this began a ban.
    pub(super) fn failed(&mut self, server: usize, why: String, now: Instant) -> bool {
        let begun = self.all[server].ban.strike(why, self.rules.ban, now);
        self.all[server].bans += u64::from(begun);
        begun
    }

    pub(super) fn served(&mut self, server: usize, took: Duration, now: Instant) {
        self.all[server].latency.observe(took, now);
    }

    /// The lane is back.
    pub(super) fn ended(&mut self, server: usize) {
        let in_flight = &mut self.all[server].in_flight;
        *in_flight = in_flight.saturating_sub(1);
    }

    /// Whether each server has answered and was opened, or failed.
    pub(super) fn all_known(&self) -> bool {
        self.all
            .iter()
            .all(|one| one.opened || one.silence.is_some())
    }

    /// A server of another database.
    pub(super) fn stranger(&self) -> Option<usize> {
        self.all.iter().position(|one| one.stranger)
    }

    /// Whether those who wait for a primary may have all servers asked again.
    pub(super) fn may_ask_again(&mut self, now: Instant, pause: Duration) -> bool {
        let may = self.asked_again.is_none_or(|before| now >= before + pause);
        if may {
            self.asked_again = Some(now);
        }
        may
    }

    fn other_system(&self, server: usize, answer: &Answer) -> Option<&str> {
        let others = self.all.iter().enumerate().filter(|(i, _)| *i != server);
        let mut systems = others.filter_map(|(_, other)| Some(&*other.answer.as_ref()?.system));
        systems.find(|system| *system != answer.system)
    }

    // === who is the primary ===

    fn resolve(&mut self) -> Change {
        let before = self.primary;
        let split = self.split;
        let claims = self.all.iter().map(|one| one.claim(split));
        let verdict = judge(claims, self.highest_timeline);
        self.split = matches!(verdict, Verdict::Split(_));
        match verdict {
            Verdict::Primary { server, timeline } => {
                self.primary = Some(server);
                self.highest_timeline = timeline;
            }
            Verdict::Split(_) => self.primary = None,
            // One that is merely silent may be back any moment; one that says no is not.
            Verdict::None => {
                self.primary = before.filter(|server| self.all[*server].standing().is_none());
            }
        }
        let mut change = Change::default();
        if let Some(server) = self.primary
            && before != self.primary
        {
            // Reads keep the last primary's word until there is a new one.
            self.history.clear();
            self.failovers += u64::from(self.former.is_some_and(|former| former != server));
            self.former = Some(server);
            change.promoted = Some(server);
        }
        change
    }

    /// The server that takes writes now; `None` while there is none, or it does not answer.
    pub(super) fn writer(&self) -> Option<usize> {
        self.primary
            .filter(|server| self.all[*server].opened && self.all[*server].standing().is_some())
    }

    /// Where the primary's log ended, and when it was asked.
    pub(super) fn end_of_log(&self) -> Option<(Instant, Lsn)> {
        let answer = self.all[self.writer()?].answer.as_ref()?;
        Some((answer.asked, answer.position))
    }

    fn is_standby(&self, server: usize) -> bool {
        self.all[server]
            .answer
            .as_ref()
            .is_some_and(Answer::is_standby)
    }

    pub(super) fn is_left_behind(&self, server: usize) -> bool {
        matches!(&self.all[server].answer, Some(Answer { role: Role::Primary { timeline, .. }, .. })
            if *timeline < self.highest_timeline)
    }

    pub(super) fn is_split(&self) -> bool {
        self.split
    }

    // === who serves a read ===

    /// Picks a server for a read that must see everything before `need`, except those in `tried`, and counts a lane
    /// as lent.
    ///
    /// First among replicas that answer, are not banned and not too far behind; then among those that are banned or slow
    /// but alive; then the primary, if it may or must.
    pub(super) fn choose(&mut self, need: Option<Lsn>, tried: Set) -> Option<usize> {
        let server = self.cheaper_of_two(self.candidates(need, tried))?;
        self.all[server].in_flight += 1;
        self.all[server].reads += 1;
        Some(server)
    }

    /// Whether nobody is left to choose.
    pub(super) fn is_last_choice(&self, need: Option<Lsn>, tried: Set) -> bool {
        self.candidates(need, tried) == 0
    }

    fn candidates(&self, need: Option<Lsn>, tried: Set) -> Set {
        let current = |this: &Self, server: &usize| this.is_current(*server, need);
        let fit = self.those(tried, |this, server| {
            current(this, server)
                && this.all[*server].silence.is_none()
                && !this.all[*server].ban.is_banned()
        });
        let lifted = || {
            self.those(tried, |this, server| {
                let one = &this.all[*server];
                let asked = one.standing().map(|answer| answer.asked);
                current(this, server) && asked.is_some_and(|asked| one.ban.may_be_lifted(asked))
            })
        };
        let set = match self.rules.primary_reads {
            PrimaryReads::Balanced => fit | self.writer_as_set(tried),
            _ => fit,
        };
        let set = if set == 0 { lifted() } else { set };
        let may = need.is_some() || self.rules.primary_reads != PrimaryReads::Never;
        match set {
            0 if may => self.writer_as_set(tried),
            set => set,
        }
    }

    /// Whether a replica could serve such a read now.
    pub(super) fn has_seen(&self, need: Lsn) -> bool {
        (0..self.all.len())
            .any(|server| self.is_current(server, Some(need)) && self.all[server].silence.is_none())
    }

    /// Whether any replica may catch up with the primary at all.
    pub(super) fn has_replicas(&self) -> bool {
        (0..self.all.len())
            .any(|server| self.is_standby(server) && self.all[server].silence.is_none())
    }

    fn those(&self, tried: Set, which: impl Fn(&Self, &usize) -> bool) -> Set {
        (0..self.all.len())
            .filter(|server| tried & bit(*server) == 0 && self.all[*server].opened)
            .filter(|server| which(self, server))
            .fold(0, |set, server| set | bit(server))
    }

    fn writer_as_set(&self, tried: Set) -> Set {
        self.writer().map_or(0, bit) & !tried
    }

    /// A standby within the bounds that has replayed `need`.
    fn is_current(&self, server: usize, need: Option<Lsn>) -> bool {
        let Some(lag) = self.lag(server) else {
            return false;
        };
        let replayed = self.all[server]
            .answer
            .as_ref()
            .map(|answer| answer.position);
        self.is_within_bounds(lag)
            && need.is_none_or(|need| replayed.is_some_and(|replayed| reached(replayed, need)))
    }

    pub(super) fn is_within_bounds(&self, lag: Lag) -> bool {
        self.rules.max_lag.is_none_or(|most| lag.time <= most)
            && self
                .rules
                .max_lag_bytes
                .is_none_or(|most| lag.bytes <= most)
    }

    /// How far a standby is behind; `None` for others.
    pub(super) fn lag(&self, server: usize) -> Option<Lag> {
        let answer = self.all[server].answer.as_ref()?;
        match answer.role {
            Role::Standby { behind } => Some(self.history.lag(answer.position, behind)),
            Role::Primary { .. } => None,
        }
    }

    /// The power of two choices: of two taken at random the one with less work ahead. Close to the best of all, and
    /// unlike it never the same server for everybody who looks at the same moment.
    fn cheaper_of_two(&mut self, set: Set) -> Option<usize> {
        let count = set.count_ones();
        if count <= 1 {
            return nth(set, 0);
        }
        let first = self.random.u32(..count);
        let second = (first + self.random.u32(1..count)) % count;
        let (first, second) = (nth(set, first)?, nth(set, second)?);
        Some(if self.cost(second) < self.cost(first) {
            second
        } else {
            first
        })
    }

    /// The expected time until one more statement is done.
    fn cost(&self, server: usize) -> f64 {
        let server = &self.all[server];
        f64::from(server.in_flight + 1) * server.latency.seconds()
    }
}

impl Server {
    /// The answer that still counts: nothing contradicts it, or at most a slow answer or two.
    pub(super) fn standing(&self) -> Option<&Answer> {
        match &self.silence {
            Some(silence) if silence.certain || silence.times >= SLOW_ANSWERS => None,
            _ => self.answer.as_ref(),
        }
    }

    /// The answer that counts when it is decided who the primary is. One of several equal claims stands until it is
    /// withdrawn or its server is down: that it cannot be reached from here does not mean that nobody writes to it.
    fn claim(&self, is_split: bool) -> Option<&Answer> {
        match &self.silence {
            Some(silence) if is_split && !silence.certain => self.answer.as_ref(),
            _ => self.standing(),
        }
    }
}

/// Servers by their bits.
pub(super) type Set = u64;

pub(super) fn bit(server: usize) -> Set {
    1 << server
}

fn nth(mut set: Set, n: u32) -> Option<usize> {
    for _ in 0..n {
        set &= set.wrapping_sub(1);
    }
    (set != 0).then(|| set.trailing_zeros() as usize)
}

/// So many answers in a row may be late before a server counts as gone: a loaded server is not a dead one.
const SLOW_ANSWERS: u32 = 3;

#[cfg(test)]
mod tests;
