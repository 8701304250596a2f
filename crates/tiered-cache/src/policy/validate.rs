//! Which settings can work: every field is checked before anything is made, and the message names it.

use std::{fmt::Debug, time::Duration};

use super::{Capacity, Policy};
use crate::error::ConfigError;

impl Policy {
    /// Checks every field without opening anything; making a cache does so as well.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, its value, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_loading()?;
        self.validate_sizes()
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        let lasting = MS..=LONGEST;
        check(
            lasting.contains(&self.ttl),
            "ttl",
            self.ttl,
            "use 1 ms to 10 years",
        )?;
        let jitter = self.ttl_jitter;
        check(
            (0.0..=0.5).contains(&jitter),
            "ttl_jitter",
            jitter,
            "use 0 to 0.5",
        )?;
        let within_ttl = |ttl: &Duration| (MS..=self.ttl).contains(ttl);
        optional(
            self.memory_ttl,
            within_ttl,
            "memory_ttl",
            "use 1 ms up to `ttl`",
        )?;
        optional(
            self.idle_ttl,
            within_ttl,
            "idle_ttl",
            "use 1 ms up to `ttl`",
        )?;
        for (field, value) in [
            ("stale_while_revalidate", self.stale_while_revalidate),
            ("stale_if_error", self.stale_if_error),
            ("error_throttle", self.error_throttle),
            ("negative_ttl", self.negative_ttl),
            ("error_ttl", self.error_ttl),
        ] {
            check(value <= LONGEST, field, value, "use at most 10 years")?;
        }
        Ok(())
    }

    fn validate_loading(&self) -> Result<(), ConfigError> {
        let timeout = self.load_timeout;
        check(
            (MS..=DAY).contains(&timeout),
            "load_timeout",
            timeout,
            "use 1 ms to 1 day",
        )?;
        let shorter = |wait: &Duration| *wait < timeout;
        optional(
            self.soft_timeout,
            shorter,
            "soft_timeout",
            "use less than `load_timeout`",
        )?;
        let lease = |wait: &Duration| (MS..timeout).contains(wait);
        optional(
            self.lease,
            lease,
            "lease",
            "use at least 1 ms and less than `load_timeout`",
        )?;
        let loads = 1..=LOADS_MAX;
        check(
            loads.contains(&self.loads_max),
            "loads_max",
            self.loads_max,
            "use 1 to 1,000,000",
        )?;
        let share = |share: &f64| *share > 0.0 && *share < 1.0;
        optional(
            self.refresh_ahead,
            share,
            "refresh_ahead",
            "use above 0 and below 1",
        )?;
        let beta = |beta: &f64| *beta > 0.0 && *beta <= 100.0;
        optional(
            self.early_refresh,
            beta,
            "early_refresh",
            "use above 0, up to 100",
        )
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        let room = match self.capacity {
            Capacity::Entries(count) => (1..=ENTRIES_MAX).contains(&(count as u64)),
            Capacity::Bytes(bytes) => (1..=BYTES_MAX).contains(&bytes),
        };
        let expected = "use 1 to 4,294,967,295 entries, or 1 byte to 1 PiB";
        check(room, "capacity", self.capacity, expected)?;
        let bytes = self.max_value_bytes;
        let sized = (1..=VALUE_BYTES_MAX).contains(&bytes);
        check(sized, "max_value_bytes", bytes, "use 1 byte to 64 MiB")?;
        check(
            self.max_tags <= TAGS_MAX,
            "max_tags",
            self.max_tags,
            "use 0 to 1,024",
        )
    }
}

fn check(
    works: bool,
    field: &'static str,
    value: impl Debug,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if works {
        return Ok(());
    }
    Err(ConfigError::Value {
        field,
        value: format!("{value:?}"),
        expected,
    })
}

fn optional<T: Debug + Copy>(
    value: Option<T>,
    works: impl Fn(&T) -> bool,
    field: &'static str,
    expected: &'static str,
) -> Result<(), ConfigError> {
    value.map_or(Ok(()), |value| check(works(&value), field, value, expected))
}

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Far enough for everyone, near enough that no sum of a time and a few of these overflows.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
const LOADS_MAX: usize = 1_000_000;
/// The memory tier numbers its places with 32 bits.
const ENTRIES_MAX: u64 = u32::MAX as u64;
const BYTES_MAX: u64 = 1 << 50;
const VALUE_BYTES_MAX: usize = 64 << 20;
pub(crate) const TAGS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Capacity, Policy};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The message for the policy that `change` makes of the default.
    fn refused(change: impl Fn(&mut Policy)) -> String {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.validate().expect_err("it cannot work").to_string()
    }

    #[test]
    fn the_default_works_and_so_do_the_ends_of_every_range() {
        Policy::default().validate().expect("the default works");
        let least = Policy {
            ttl: Duration::from_millis(1),
            ttl_jitter: 0.0,
            memory_ttl: Some(Duration::from_millis(1)),
            idle_ttl: Some(Duration::from_millis(1)),
            error_throttle: Duration::ZERO,
            soft_timeout: Some(Duration::ZERO),
            loads_max: 1,
            refresh_ahead: Some(f64::MIN_POSITIVE),
            early_refresh: Some(f64::MIN_POSITIVE),
            capacity: Capacity::Entries(1),
            max_value_bytes: 1,
            max_tags: 0,
            lease: Some(Duration::from_millis(1)),
            ..Policy::default()
        };
        least.validate().expect("the least works");
        let most = Policy {
            ttl: super::LONGEST,
            ttl_jitter: 0.5,
            memory_ttl: Some(super::LONGEST),
            idle_ttl: Some(super::LONGEST),
            stale_while_revalidate: super::LONGEST,
            stale_if_error: super::LONGEST,
            error_throttle: super::LONGEST,
            soft_timeout: Some(super::DAY - Duration::from_nanos(1)),
            load_timeout: super::DAY,
            loads_max: super::LOADS_MAX,
            early_refresh: Some(100.0),
            negative_ttl: super::LONGEST,
            error_ttl: super::LONGEST,
            capacity: Capacity::Bytes(super::BYTES_MAX),
            max_value_bytes: super::VALUE_BYTES_MAX,
            max_tags: super::TAGS_MAX,
            ..Policy::default()
        };
        most.validate().expect("the most works");
    }

    #[test]
    fn what_cannot_work_is_named_with_its_value_and_its_range() {
        let messages = [
            refused(|policy| policy.ttl = Duration::ZERO),
            refused(|policy| policy.ttl = Duration::MAX),
            refused(|policy| policy.ttl_jitter = 0.51),
            refused(|policy| policy.ttl_jitter = f64::NAN),
            refused(|policy| policy.memory_ttl = Some(seconds(3601))),
            refused(|policy| policy.idle_ttl = Some(Duration::ZERO)),
            refused(|policy| policy.stale_while_revalidate = Duration::MAX),
            refused(|policy| policy.stale_if_error = seconds(u64::MAX)),
            refused(|policy| policy.error_throttle = Duration::MAX),
            refused(|policy| policy.negative_ttl = Duration::MAX),
            refused(|policy| policy.error_ttl = Duration::MAX),
            refused(|policy| policy.soft_timeout = Some(seconds(30))),
            refused(|policy| policy.load_timeout = Duration::ZERO),
            refused(|policy| policy.load_timeout = seconds(86_401)),
            refused(|policy| policy.lease = Some(seconds(30))),
            refused(|policy| policy.lease = Some(Duration::ZERO)),
            refused(|policy| policy.loads_max = 0),
            refused(|policy| policy.refresh_ahead = Some(0.0)),
            refused(|policy| policy.refresh_ahead = Some(1.0)),
            refused(|policy| policy.early_refresh = Some(f64::INFINITY)),
            refused(|policy| policy.early_refresh = Some(f64::NAN)),
            refused(|policy| policy.capacity = Capacity::Entries(0)),
            refused(|policy| policy.capacity = Capacity::Bytes(u64::MAX)),
            refused(|policy| policy.max_value_bytes = 0),
            refused(|policy| policy.max_tags = 1025),
        ];
        expect_test::expect![[r#"
            ttl = 0ns cannot work: use 1 ms to 10 years
            ttl = 18446744073709551615.999999999s cannot work: use 1 ms to 10 years
            ttl_jitter = 0.51 cannot work: use 0 to 0.5
            ttl_jitter = NaN cannot work: use 0 to 0.5
            memory_ttl = 3601s cannot work: use 1 ms up to `ttl`
            idle_ttl = 0ns cannot work: use 1 ms up to `ttl`
            stale_while_revalidate = 18446744073709551615.999999999s cannot work: use at most 10 years
            stale_if_error = 18446744073709551615s cannot work: use at most 10 years
            error_throttle = 18446744073709551615.999999999s cannot work: use at most 10 years
            negative_ttl = 18446744073709551615.999999999s cannot work: use at most 10 years
            error_ttl = 18446744073709551615.999999999s cannot work: use at most 10 years
            soft_timeout = 30s cannot work: use less than `load_timeout`
            load_timeout = 0ns cannot work: use 1 ms to 1 day
            load_timeout = 86401s cannot work: use 1 ms to 1 day
            lease = 30s cannot work: use at least 1 ms and less than `load_timeout`
            lease = 0ns cannot work: use at least 1 ms and less than `load_timeout`
            loads_max = 0 cannot work: use 1 to 1,000,000
            refresh_ahead = 0.0 cannot work: use above 0 and below 1
            refresh_ahead = 1.0 cannot work: use above 0 and below 1
            early_refresh = inf cannot work: use above 0, up to 100
            early_refresh = NaN cannot work: use above 0, up to 100
            capacity = Entries(0) cannot work: use 1 to 4,294,967,295 entries, or 1 byte to 1 PiB
            capacity = Bytes(18446744073709551615) cannot work: use 1 to 4,294,967,295 entries, or 1 byte to 1 PiB
            max_value_bytes = 0 cannot work: use 1 byte to 64 MiB
            max_tags = 1025 cannot work: use 0 to 1,024"#]].assert_eq(&messages.join("\n"));
    }
}
