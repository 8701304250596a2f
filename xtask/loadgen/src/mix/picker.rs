//! The hot side of a mix: writes one request after another and judges answers, without allocating.

use std::io::Write;
use std::ops::RangeInclusive;

use memchr::memmem::Finder;

use super::sampler::Sampler;

/// A mix whose values are there: ready to write requests.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) routes: Box<[PreparedRoute]>,
    pub(super) choice: Sampler,
    /// One for each named set of values.
    pub(super) picks: Box<[Pick]>,
    pub(super) tables: Box<[Table]>,
}

#[derive(Clone, Debug)]
pub(super) struct PreparedRoute {
    pub(super) name: String,
    pub(super) is_head: bool,
    /// The request up to its end or, if the body's length changes, up to the value of `Content-Length`.
    pub(super) head: Box<[Segment]>,
    /// The body, if its length changes.
    pub(super) body: Option<Box<[Segment]>>,
    /// Which values are chosen anew for each request.
    pub(super) picks: Box<[usize]>,
    pub(super) uses_random: bool,
    pub(super) status: Box<[RangeInclusive<u16>]>,
    pub(super) contains: Option<Finder<'static>>,
}

#[derive(Clone, Debug)]
pub(super) enum Segment {
    Text(Box<[u8]>),
    /// What was picked of `pick`, as `table` writes it.
    Value {
        pick: usize,
        table: usize,
    },
    Counter,
    Random,
}

/// How the next of a set of values is chosen.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    Sequence { values: usize },
    Uniform { values: usize },
    Weighted(Sampler),
}

/// Values as they are written at one kind of place, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) bytes: Box<[u8]>,
    pub(super) ends: Box<[u32]>,
}

/// Writes requests of a mix one after another, from a seed.
#[derive(Debug)]
pub struct Picker<'a> {
    mix: &'a Prepared,
    random: fastrand::Rng,
    /// The value of each set in the request being written; for a sequence it stays for the next one.
    picked: Box<[usize]>,
    count: u64,
    number: u64,
}

/// Whether an answer is what the mix expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is.
    Fine,
    /// Another status.
    Status,
    /// Another body.
    Body,
}

impl Prepared {
    /// Names of the routes, in the order of their numbers.
    pub fn routes(&self) -> Vec<String> {
        self.routes.iter().map(|route| route.name.clone()).collect()
    }

    /// The same seed picks the same requests. Each generator thread of a run has a seed of its own, made of the run's;
    /// `{n}` counts from 1 in each.
    pub fn picker(&self, seed: u64) -> Picker<'_> {
        Picker {
            mix: self,
            random: fastrand::Rng::with_seed(seed),
            // A sequence moves on before it is read.
            picked: vec![usize::MAX; self.picks.len()].into(),
            count: 0,
            number: 0,
        }
    }

    /// Whether the answer to a request of `route` is one to a `HEAD`: without a body whatever its head says.
    pub fn is_head(&self, route: usize) -> bool {
        self.routes[route].is_head
    }

    /// Whether [`Prepared::check`] looks at the body; otherwise it need not be kept.
    pub fn reads_body(&self, route: usize) -> bool {
        self.routes[route].contains.is_some()
    }

    /// Compares an answer with what the mix expects of `route`.
    pub fn check(&self, route: usize, status: u16, body: &[u8]) -> Check {
        let route = &self.routes[route];
        if !route.status.iter().any(|range| range.contains(&status)) {
            return Check::Status;
        }
        match &route.contains {
            Some(text) if text.find(body).is_none() => Check::Body,
            _ => Check::Fine,
        }
    }
}

impl Picker<'_> {
    /// Appends one whole HTTP/1.1 request to `out` and returns the number of its route. Does not allocate once `out`
    /// has grown.
    pub fn next(&mut self, out: &mut Vec<u8>) -> usize {
        let number = self.mix.choice.sample(&mut self.random);
        let route = &self.mix.routes[number];
        self.count += 1;
        if route.uses_random {
            // What fits a signed 64-bit integer: databases have no other.
            self.number = self.random.u64(..=i64::MAX as u64);
        }
        for &pick in &route.picks {
            let picked = &mut self.picked[pick];
            *picked = match &self.mix.picks[pick] {
                Pick::Sequence { values } => picked.wrapping_add(1) % values,
                Pick::Uniform { values } => self.random.usize(..*values),
                Pick::Weighted(sampler) => sampler.sample(&mut self.random),
            };
        }
        self.write(&route.head, out);
        if let Some(body) = &route.body {
            let length = body.iter().map(|segment| self.length(segment)).sum();
            write_number(out, length);
            out.extend_from_slice(b"\r\n\r\n");
            self.write(body, out);
        }
        number
    }

    fn write(&self, segments: &[Segment], out: &mut Vec<u8>) {
        for segment in segments {
            match segment {
                Segment::Text(text) => out.extend_from_slice(text),
                Segment::Value { pick, table } => {
                    out.extend_from_slice(self.mix.tables[*table].value(self.picked[*pick]));
                }
                Segment::Counter => write_number(out, self.count),
                Segment::Random => write_number(out, self.number),
            }
        }
    }

    fn length(&self, segment: &Segment) -> u64 {
        match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::Value { pick, table } => {
                self.mix.tables[*table].value(self.picked[*pick]).len() as u64
            }
            Segment::Counter => digits(self.count),
            Segment::Random => digits(self.number),
        }
    }
}

impl Table {
    fn value(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[at] as usize]
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}

fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}
