//! The one place where the machine side reads clocks.
//!
//! A session's times come from one clock that only goes forward: its start is a date, everything after it is that date plus elapsed
//! time. Setting the machine's date while a job runs then moves no interval, hides no time and counts none twice. It is the kernel's
//! clock since boot, which runs on while the machine is suspended: that time shows as a late reading.

use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use nix::time::{ClockId, clock_gettime};

/// Monotonic time, which stands still while the machine is suspended: for waits and timeouts.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Time since the machine was started, suspension included: a number that all of its processes agree on. `CLOCK_MONOTONIC`, which
/// is the same without suspension, where the kernel refuses this one; zero if it has neither, which is no time of anything.
pub fn since_boot() -> Duration {
    let read = clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
    read.map(Duration::from).unwrap_or_default()
}

/// The same in nanoseconds, as a daemon tells it.
pub fn nanoseconds_since_boot() -> u64 {
    u64::try_from(since_boot().as_nanos()).unwrap_or(0)
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
    /// [`since_boot`] at the start.
    origin: Duration,
    /// [`monotonic`] then.
    began: Instant,
}

impl SessionClock {
    /// Starts now: call it just before the job is started. The date is one of whole microseconds ([`recorded`]), so that the first
    /// interval of each device begins just when the record says that the job did.
    pub fn start() -> Self {
        Self { started: recorded(now()), origin: since_boot(), began: monotonic() }
    }

    /// When it was started.
    pub fn started(&self) -> DateTime<Utc> {
        self.started
    }

    /// Time since the start, in which the machine may have been suspended.
    pub fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.origin)
    }

    /// For how long of it the machine was suspended: what the two clocks differ by, which are not read in the same moment.
    pub fn suspended(&self) -> Duration {
        let awake = monotonic().saturating_duration_since(self.began);
        self.elapsed().saturating_sub(awake)
    }

    /// The date at `elapsed` after the start.
    pub fn at(&self, elapsed: Duration) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::MAX);
        self.started.checked_add_signed(passed).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The date of a moment before the start, told as the kernel tells it, in time since boot. `None` for a later one, and where the
    /// kernel refuses the clock that it is told by.
    pub fn before(&self, since_boot: Duration) -> Option<DateTime<Utc>> {
        clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
        let ago = TimeDelta::from_std(self.origin.checked_sub(since_boot)?).ok()?;
        self.started.checked_sub_signed(ago).map(recorded)
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

    /// Suspended time cannot be made in a test; that it would be seen follows from the clock.
    #[test]
    fn a_session_counts_suspended_time() {
        let clock = SessionClock::start();
        let booted = || Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
        let before = booted();
        let told = clock.origin + clock.elapsed();
        assert!((before..=booted()).contains(&told), "{before:?} {told:?}");
        assert!(Duration::from_nanos(nanoseconds_since_boot()) >= told);
        let asleep = SessionClock { origin: Duration::ZERO, ..clock };
        assert!(asleep.suspended() >= clock.origin && clock.suspended() < Duration::from_secs(1));
    }

    #[test]
    fn a_moment_before_the_session_has_a_date_and_a_later_one_has_none() {
        let clock = SessionClock::start();
        let ago = Duration::from_millis(5);
        assert_eq!(clock.before(clock.origin.saturating_sub(ago)), Some(clock.started() - ago));
        assert_eq!(clock.before(clock.origin), Some(clock.started()));
        assert_eq!(clock.before(clock.origin + ago), None);
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
