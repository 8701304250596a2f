//! Identifiers and time stamps, made so that they mean the same in every database.

use std::sync::Mutex;

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};

/// Cuts a time stamp to whole microseconds, the finest unit that both databases keep.
///
/// Without it, a value read back would differ from the value that was written.
#[must_use]
pub fn micros(at: Timestamp) -> Timestamp {
    // Within the very last second of the year 9999 jiff counts no microseconds.
    let whole_second = || Timestamp::from_second(at.as_second()).unwrap_or(at);
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or_else(|_| whole_second())
}

/// A new version 7 identifier for something created at `now`.
///
/// Identifiers of one process rise strictly in the order in which they were made, even when several
/// share one `now` or the clock steps back; listings that promise "newest first" rely on it.
#[must_use]
pub fn new_id(now: Timestamp) -> Uuid {
    static ORDER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

    // Version 7 cannot say "before 1970"; such a clock is broken, and 1970 is as good an answer.
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(&ORDER, seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_cut_to_whole_microseconds() {
        let at: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert_eq!(micros(at).to_string(), "2026-01-02T03:04:05.123456Z");
        assert_eq!(micros(micros(at)), micros(at));
        for edge in [Timestamp::MIN, Timestamp::MAX] {
            let cut = micros(edge);
            let again = Timestamp::from_microsecond(cut.as_microsecond()).unwrap();
            assert_eq!(again, cut);
        }
    }

    #[test]
    fn ids_rise_even_when_the_clock_stands_still_or_steps_back() {
        let late: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let early: Timestamp = "2020-01-02T03:04:05Z".parse().unwrap();
        let ids = [late, late, early, Timestamp::MIN, late].map(new_id);
        assert!(ids.is_sorted_by(|left, right| left < right), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 7), "{ids:?}");
    }
}
