//! The one place where the machine side reads clocks.
//!
//! A session's times come from one monotonic clock: its start is a date, everything after it is that date plus elapsed time.
//! Setting the machine's date while a job runs then moves no interval, hides no time and counts none twice.

use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use nix::time::{ClockId, clock_gettime};

/// Monotonic time.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The same as a number that all processes of a machine agree on: nanoseconds of `CLOCK_MONOTONIC`, which is what [`Instant`] is
/// on Linux. Zero if the kernel has no such clock, which is no time of anything.
pub fn monotonic_nanoseconds() -> u64 {
    let read = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    read.ok().and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or(0)
}

/// The date and time of day.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A date as the ledger keeps those of its entries: in whole microseconds, cut off.
pub fn recorded(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// A session's clock.
#[derive(Clone, Copy, Debug)]
pub struct SessionClock {
    started: DateTime<Utc>,
    origin: Instant,
}

impl SessionClock {
    /// Starts now: call it just before the job is started. The date is one of whole microseconds ([`recorded`]), so that the first
    /// interval of each device begins just when the record says that the job did.
    pub fn start() -> Self {
        Self { started: recorded(now()), origin: monotonic() }
    }

    /// When it was started.
    pub fn started(&self) -> DateTime<Utc> {
        self.started
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        monotonic().saturating_duration_since(self.origin)
    }

    /// The date at `elapsed` after the start.
    pub fn at(&self, elapsed: Duration) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::MAX);
        self.started.checked_add_signed(passed).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The date now, by this clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.at(self.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_starts_at_a_date_that_the_ledger_keeps() {
        let clock = SessionClock::start();
        assert_eq!(DateTime::from_timestamp_micros(clock.started().timestamp_micros()), Some(clock.started()));
        let late = DateTime::from_timestamp(1, 999_999_999).unwrap();
        assert_eq!(DateTime::from_timestamp_micros(late.timestamp_micros()), Some(recorded(late)));
    }

    #[test]
    fn intervals_of_a_session_join_without_a_seam() {
        let clock = SessionClock::start();
        let (one, two) = (Duration::from_nanos(333_333_333), Duration::from_nanos(999_999_999));
        let between = clock.at(two) - clock.at(one);
        assert_eq!(between.to_std().unwrap(), Duration::from_nanos(666_666_666));
        assert_eq!(clock.at(Duration::ZERO), clock.started());
        assert_eq!(clock.at(Duration::MAX), DateTime::<Utc>::MAX_UTC);
    }
}
