//! What passes on the socket, told from the frames of the protocol: what is unanswered, whether a transaction is open,
//! and with which code the last statement failed. The driver keeps all of it to itself.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::frames::Frames;
use crate::class::ErrorClass;

/// The state of one session as seen on its socket; written by the task that moves the bytes, read by anybody.
#[derive(Debug)]
pub(super) struct Wire {
    /// Requests that the server answers with "ready", and which of them was the last that did some work. (Closing a
    /// prepared statement is none: the driver does it in passing, and nobody waits for it.)
    sent: AtomicU64,
    worked: AtomicU64,
    answered: AtomicU64,
    /// PostgreSQL's letter: `I` idle, `T` in a transaction, `E` in a failed one.
    status: AtomicU8,
    /// The reader found nothing to read, or the writer no room: whatever is missing, the network has it.
    starving: AtomicBool,
    blocked: AtomicBool,
    /// Grows with every read that brought something.
    heard: AtomicU64,
    failure: Mutex<Option<ErrorClass>>,
    /// A parameter of the session was told, or a type was missing that the driver remembers.
    told: AtomicBool,
    type_lost: AtomicBool,
    process: AtomicI32,
    secret: AtomicI32,
    /// The longest silence before the connection is given up, in milliseconds; 0 is for ever.
    patience: AtomicU64,
    /// The session's own limit was changed by a statement: until its transaction ends, or for good.
    own_limit: AtomicU8,
    /// The request that changed it.
    limit_changed_by: AtomicU64,
    /// Cached statements, as the connection's instrumentation counts them.
    statements: AtomicU32,
    /// Statements that began and have not ended, by the same count; dropped ones never end.
    in_flight: AtomicUsize,
    /// Statements under way that would be sent again if their plan were stale.
    healing: AtomicUsize,
    encrypted: AtomicBool,
    /// Many tasks send statements at once.
    shared: AtomicBool,
    /// Shared by the pool: grows when a cached plan turned out stale.
    plans: Arc<AtomicU64>,
}

impl Wire {
    pub(super) fn new(plans: Arc<AtomicU64>, patience: Option<Duration>) -> Arc<Self> {
        let this = Self {
            sent: AtomicU64::new(0),
            worked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            status: AtomicU8::new(IDLE),
            starving: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            failure: Mutex::new(None),
            told: AtomicBool::new(false),
            type_lost: AtomicBool::new(false),
            process: AtomicI32::new(0),
            secret: AtomicI32::new(0),
            patience: AtomicU64::new(0),
            own_limit: AtomicU8::new(UNCHANGED),
            limit_changed_by: AtomicU64::new(0),
            statements: AtomicU32::new(0),
            in_flight: AtomicUsize::new(0),
            healing: AtomicUsize::new(0),
            encrypted: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            plans,
        };
        this.set_patience(patience);
        Arc::new(this)
    }

    /// Whether everything that was sent has been answered. What a statement has not sent yet does not show here.
    pub(super) fn is_settled(&self) -> bool {
        self.answered.load(Acquire) >= self.worked.load(Acquire)
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Acquire)
    }

    /// Whether a transaction was open after the last answer.
    pub(super) fn in_transaction(&self) -> bool {
        self.status.load(Acquire) != IDLE
    }

    /// Whether that transaction can only be rolled back.
    pub(super) fn has_failed_transaction(&self) -> bool {
        self.status.load(Acquire) == FAILED
    }

    /// Whether an answer is due that the network has not brought, or a request that it does not take.
    pub(super) fn is_waiting(&self) -> bool {
        self.blocked.load(Acquire) || (self.starving.load(Acquire) && !self.is_settled())
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Acquire)
    }

    /// How long the server may be silent while an answer is due; `None` where a statement changed its own limit.
    pub(super) fn patience(&self) -> Option<Duration> {
        let patience = self.patience.load(Acquire);
        let changed = self.own_limit.load(Acquire) != UNCHANGED;
        (patience > 0 && !changed).then(|| Duration::from_millis(patience))
    }

    pub(super) fn set_patience(&self, patience: Option<Duration>) {
        let millis = patience.map_or(0, |patience| patience.as_millis().max(1));
        self.patience
            .store(u64::try_from(millis).unwrap_or(u64::MAX), Release);
    }

    /// The class of the last error that the server sent since this was asked.
    pub(super) fn take_failure(&self) -> Option<ErrorClass> {
        self.lock_failure().take()
    }

    pub(super) fn failed_by_stale_plan(&self) -> bool {
        *self.lock_failure() == Some(ErrorClass::StalePlan)
    }

    /// Whether parameters were told since this was asked.
    pub(super) fn take_told(&self) -> bool {
        // Asked after every message, told almost never: look before writing.
        self.told.load(Acquire) && self.told.swap(false, AcqRel)
    }

    /// Whether the server has missed a type since this was asked: it was made anew, and the driver keeps the number of
    /// the old one for as long as the connection lives.
    pub(super) fn take_type_lost(&self) -> bool {
        self.type_lost.load(Acquire) && self.type_lost.swap(false, AcqRel)
    }

    /// What a request to cancel must name.
    pub(super) fn key(&self) -> (i32, i32) {
        (self.process.load(Acquire), self.secret.load(Acquire))
    }

    /// Grows when a plan anywhere in the pool turned out stale.
    pub(super) fn plans(&self) -> u64 {
        self.plans.load(Acquire)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted.load(Acquire)
    }

    /// From now on many tasks send statements at once.
    pub(super) fn share(&self) {
        self.shared.store(true, Release);
    }

    fn lock_failure(&self) -> std::sync::MutexGuard<'_, Option<ErrorClass>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, body: &[u8]) {
        let field = |name| server_field(body, name);
        let (code, message) = (field(b'C'), field(b'M'));
        let class = ErrorClass::of_server(code, message, field(b'R'));
        if message.starts_with("cache lookup failed for type") {
            self.type_lost.store(true, Release);
        }
        if class == ErrorClass::StalePlan {
            self.plans.fetch_add(1, Release);
        }
        // That an earlier one counts says nothing.
        if class != ErrorClass::TransactionAborted {
            *self.lock_failure() = Some(class);
        }
    }

    fn ready(&self, status: u8) {
        self.status.store(status, Release);
        let answered = self.answered.fetch_add(1, Release) + 1;
        if status == IDLE
            && self.own_limit.load(Acquire) == CHANGED_LOCALLY
            && answered >= self.limit_changed_by.load(Acquire)
        {
            self.own_limit.store(UNCHANGED, Release);
        }
    }

    /// Looks at the text of a statement for a change of its own time limit, which only its beginning may hold.
    fn text(&self, text: &[u8]) {
        if !contains(text, b"statement_timeout") {
            return;
        }
        let local = contains(text, b"local ") && self.own_limit.load(Acquire) != CHANGED;
        let change = if local { CHANGED_LOCALLY } else { CHANGED };
        let next = self.sent.load(Acquire) + 1;
        self.limit_changed_by.store(next, Release);
        self.own_limit.store(change, Release);
    }
}

// === statements, as instrumentation tells of them ===

impl Wire {
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Acquire)
    }

    /// A statement begins.
    pub(super) fn announce(&self) {
        self.in_flight.fetch_add(1, Release);
    }

    /// A statement ended, or was never sent.
    pub(super) fn finished(&self) {
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = self.in_flight.fetch_update(AcqRel, Acquire, less);
    }

    /// All that was dropped is answered.
    pub(super) fn nothing_in_flight(&self) {
        self.in_flight.store(0, Release);
    }

    pub(super) fn is_healing(&self) -> bool {
        self.healing.load(Acquire) > 0
    }

    /// A statement was made twice, for the case that its plan is stale.
    pub(super) fn begin_healing(&self) {
        self.healing.fetch_add(1, Release);
    }

    pub(super) fn end_healing(&self) {
        self.healing.fetch_sub(1, Release);
    }

    pub(super) fn statements(&self) -> u32 {
        self.statements.load(Acquire)
    }

    pub(super) fn cached(&self) {
        self.statements.fetch_add(1, Release);
    }

    pub(super) fn forget_statements(&self) {
        self.statements.store(0, Release);
    }
}

/// Follows both directions of one stream.
#[derive(Debug)]
pub(super) struct Follower {
    wire: Arc<Wire>,
    inbound: Frames,
    outbound: Frames,
    /// Since the last request: something besides closing statements.
    works: bool,
}

impl Follower {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self {
            wire,
            inbound: Frames::default(),
            outbound: Frames::default(),
            works: false,
        }
    }

    /// The same for what is inside of a TLS stream.
    pub(super) fn restarted(self) -> Self {
        self.wire.encrypted.store(true, Release);
        Self::new(self.wire)
    }

    pub(super) fn is_shared(&self) -> bool {
        self.wire.shared.load(Acquire)
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        let wire = &self.wire;
        wire.heard.fetch_add(1, Release);
        wire.starving.store(false, Release);
        self.inbound.feed(bytes, from_server, |frame| match frame {
            (b'Z', [status, ..]) => wire.ready(*status),
            (b'E', body) => wire.fail(body),
            (b'S', _) => wire.told.store(true, Release),
            (b'K', [p0, p1, p2, p3, s0, s1, s2, s3, ..]) => {
                let (process, secret) = ([*p0, *p1, *p2, *p3], [*s0, *s1, *s2, *s3]);
                wire.process.store(i32::from_be_bytes(process), Release);
                wire.secret.store(i32::from_be_bytes(secret), Release);
            }
            _ => {}
        });
    }

    pub(super) fn nothing_received(&self) {
        self.wire.starving.store(true, Release);
    }

    pub(super) fn written(&mut self, bytes: &[u8]) {
        let (wire, works, inbound) = (&self.wire, &mut self.works, &mut self.inbound);
        wire.blocked.store(false, Release);
        self.outbound.feed(bytes, from_client, |(kind, body)| {
            match kind {
                b'Q' | b'P' => wire.text(body),
                // Asking for TLS: the answer is one byte, without a frame.
                0 if body.len() == SSL_REQUEST_BODY => return inbound.expect_bare_byte(),
                _ => {}
            }
            *works |= kind != CLOSE && kind != SYNC;
            // Starting up ends in "ready" too.
            if matches!(kind, b'Q' | SYNC | 0) {
                let sent = wire.sent.fetch_add(1, Release) + 1;
                if std::mem::take(works) {
                    wire.worked.store(sent, Release);
                }
            }
        });
    }

    pub(super) fn nothing_written(&self) {
        self.wire.blocked.store(true, Release);
    }
}

/// How much of a frame is worth looking at.
fn from_server(kind: u8) -> usize {
    match kind {
        b'Z' | b'K' => 8,
        b'E' => 1024,
        _ => 0,
    }
}

fn from_client(kind: u8) -> usize {
    match kind {
        b'Q' | b'P' => 256,
        // Startup frames: enough to tell the short ones.
        0 => SSL_REQUEST_BODY + 1,
        _ => 0,
    }
}

/// A field of an error message: a letter, its text, a zero byte.
fn server_field(body: &[u8], name: u8) -> &str {
    body.split(|byte| *byte == 0)
        .find_map(|field| match field {
            [first, text @ ..] if *first == name => std::str::from_utf8(text).ok(),
            _ => None,
        })
        .unwrap_or_default()
}

/// Whether lower-case `part` occurs, in letters of any case.
fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part))
}

const IDLE: u8 = b'I';
const FAILED: u8 = b'E';
const SYNC: u8 = b'S';
const CLOSE: u8 = b'C';
const SSL_REQUEST_BODY: usize = 4;

const UNCHANGED: u8 = 0;
const CHANGED_LOCALLY: u8 = 1;
const CHANGED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [kind, &length.to_be_bytes(), body].concat()
    }

    fn follower(limit: Option<Duration>) -> (Arc<Wire>, Follower) {
        let wire = Wire::new(Arc::default(), limit);
        let mut follower = Follower::new(Arc::clone(&wire));
        follower.written(&frame(b"", b"\0\x03\0\0user\0app\0\0"));
        assert!(!wire.is_settled());
        follower.received(&frame(b"K", &[0, 0, 1, 0, 0, 0, 0, 9]));
        follower.received(&frame(b"Z", b"I"));
        assert!(wire.is_settled());
        assert_eq!(wire.key(), (256, 9));
        (wire, follower)
    }

    #[test]
    fn a_session_is_settled_when_all_work_is_answered_and_closing_statements_is_no_work() {
        let (wire, mut follower) = follower(None);
        let execute = [frame(b"B", b"xx"), frame(b"E", b"yy"), frame(b"S", b"")].concat();
        for byte in &execute {
            assert!(wire.is_settled(), "before the request is complete");
            follower.written(std::slice::from_ref(byte));
        }
        assert!(!wire.is_settled());
        follower.written(&[frame(b"C", b"Ss1\0"), frame(b"S", b"")].concat());
        let answer = [frame(b"D", &[7; 3000]), frame(b"Z", b"T")].concat();
        for part in answer.chunks(7) {
            follower.received(part);
        }
        assert!(wire.is_settled() && wire.in_transaction());
        follower.received(&frame(b"Z", b"T"));
        follower.written(&frame(b"Q", b"COMMIT\0"));
        assert!(!wire.is_settled());
        follower.received(&frame(b"Z", b"I"));
        assert!(wire.is_settled() && !wire.in_transaction());
    }

    #[test]
    fn the_answer_to_the_question_for_tls_is_no_frame() {
        let wire = Wire::new(Arc::default(), None);
        let mut follower = Follower::new(Arc::clone(&wire));
        follower.written(&frame(b"", &80_877_103_u32.to_be_bytes()));
        assert!(wire.is_settled(), "nothing to be ready for");
        follower.received(b"N");
        follower.written(&frame(b"", b"\0\x03\0\0user\0app\0\0"));
        follower.received(&frame(b"Z", b"I"));
        assert!(wire.is_settled());
    }

    #[test]
    fn errors_are_classed_by_their_code_in_any_language() {
        let (wire, mut follower) = follower(None);
        follower.received(&frame(b"E", b"SFEHLER\0VERROR\0C40P01\0MVerklemmung\0\0"));
        assert_eq!(wire.take_failure(), Some(ErrorClass::Deadlock));
        assert_eq!(wire.take_failure(), None);
        let stale = b"SFEHLER\0VERROR\0C0A000\0Mx\0RRevalidateCachedQuery\0\0";
        follower.received(&frame(b"E", stale));
        assert!(wire.failed_by_stale_plan());
        assert_eq!(wire.plans(), 1);
    }

    #[test]
    fn a_statement_that_sets_its_own_limit_is_not_timed() {
        let (wire, mut follower) = follower(Some(Duration::from_secs(31)));
        assert_eq!(wire.patience(), Some(Duration::from_secs(31)));
        follower.written(&frame(b"Q", b"set local STATEMENT_TIMEOUT = 0\0"));
        assert_eq!(wire.patience(), None);
        follower.received(&frame(b"Z", b"T"));
        assert_eq!(wire.patience(), None);
        follower.received(&frame(b"Z", b"I"));
        assert_eq!(wire.patience(), Some(Duration::from_secs(31)));
        follower.written(&frame(b"Q", b"SET statement_timeout TO '1h'\0"));
        follower.received(&frame(b"Z", b"I"));
        assert_eq!(wire.patience(), None);
    }
}
