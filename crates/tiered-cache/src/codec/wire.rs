//! Numbers and times as a header holds them: fixed where they are random, in 7-bit groups where they are
//! small.

use crate::memory::Times;

/// Reads a header from its front; `None` from the first thing on that is not there.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(super) fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A length that is at most `bound`.
    pub(super) fn length(&mut self, bound: usize) -> Option<usize> {
        let length = usize::try_from(self.number()?).ok()?;
        (length <= bound).then_some(length)
    }
}

/// Writes a number in 7-bit groups, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Each time as its distance from the one before: most of them are small, or zero.
pub(super) fn put_times(out: &mut Vec<u8>, times: &Times) {
    let never = times.refresh_from == u64::MAX;
    let refresh = times.refresh_from.saturating_sub(times.filled);
    let numbers = [
        times.filled,
        times.fresh_until.saturating_sub(times.filled),
        times.revalidate_until.saturating_sub(times.fresh_until),
        times.keep_until.saturating_sub(times.revalidate_until),
        if never { 0 } else { refresh.saturating_add(1) },
        times.idle_ms,
        u64::from(times.cost_ms),
    ];
    numbers.iter().for_each(|number| put_number(out, *number));
}

pub(super) fn read_times(reader: &mut Reader<'_>) -> Option<Times> {
    let filled = reader.number()?;
    let fresh_until = filled.checked_add(reader.number()?)?;
    let revalidate_until = fresh_until.checked_add(reader.number()?)?;
    let keep_until = revalidate_until.checked_add(reader.number()?)?;
    let refresh_from = match reader.number()? {
        0 => u64::MAX,
        refresh => filled.checked_add(refresh - 1)?,
    };
    Some(Times {
        filled,
        refresh_from,
        fresh_until,
        revalidate_until,
        keep_until,
        idle_ms: reader.number()?,
        cost_ms: u32::try_from(reader.number()?).ok()?,
    })
}

impl Times {
    /// As written by a clock that was ahead of ours: moved back, so that nothing lives longer than its
    /// writer meant.
    pub(super) fn not_after(self, now: u64) -> Self {
        let ahead = self.filled.saturating_sub(now);
        let back = |at: u64| at.saturating_sub(ahead);
        Self {
            filled: back(self.filled),
            refresh_from: if self.refresh_from == u64::MAX {
                u64::MAX
            } else {
                back(self.refresh_from)
            },
            fresh_until: back(self.fresh_until),
            revalidate_until: back(self.revalidate_until),
            keep_until: back(self.keep_until),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reader, put_number};

    proptest! {
        #[test]
        fn numbers_come_back_whatever_their_size(number in any::<u64>(), bits in 0..64_u32) {
            let number = number >> bits;
            let mut out = Vec::new();
            put_number(&mut out, number);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert!(reader.0.is_empty());
            out.pop();
            prop_assert_eq!(Reader(&out).number(), None);
        }

        #[test]
        fn no_bytes_overflow_a_number(bytes in any::<[u8; 12]>()) {
            let mut reader = Reader(&bytes);
            if reader.number().is_some() {
                prop_assert!(reader.0.len() >= 2, "at most ten bytes");
            }
        }
    }
}
