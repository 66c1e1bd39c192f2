//! A board's energy: the rise of its counter and, beside it, the integral of its power readings.
//!
//! The counter runs on while nobody reads it. The integral covers only time between neighbouring readings that both tell the
//! power, the later of which did not come late: what lies in a gap is in neither figure of it and shows as less coverage, never
//! as zero.

mod judgement;
mod packages;
#[cfg(test)]
mod scripted;

use super::late::is_late;
use super::timeline::{Nanoseconds, length};

pub(super) use judgement::{Figure, Judgement};
pub(super) use packages::PackageReadings;

/// The counter is renewed about ten times a second: one that is the same after this time stands still.
const RENEWED_WITHIN: u128 = 500_000_000;

/// Milliwatts × nanoseconds, twice, in a millijoule: the trapezoid's half is taken last.
const DOUBLED_PER_MILLIJOULE: u128 = 2 * 1_000_000_000;

/// More than any board draws (a GB300 is rated at 1.4 kW).
const MOST_MILLIWATTS: u128 = 2_000_000;

/// What one reading told at its end.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Nanoseconds,
    counter: Option<u64>,
    milliwatts: Option<u32>,
}

/// A value of the counter, in millijoules, and when it was read.
#[derive(Clone, Copy, Debug)]
struct Tick {
    at: Nanoseconds,
    millijoules: u64,
}

/// Time between neighbouring readings, and the power integrated over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Area {
    nanoseconds: u128,
    /// Twice milliwatts × nanoseconds, so that trapezoids are exact.
    doubled: u128,
}

impl Area {
    fn plus(self, other: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds.saturating_add(other.nanoseconds),
            doubled: self.doubled.saturating_add(other.doubled),
        }
    }

    /// Rounded to nearest.
    const fn millijoules(self) -> u128 {
        self.doubled.saturating_add(DOUBLED_PER_MILLIJOULE / 2) / DOUBLED_PER_MILLIJOULE
    }
}

/// Readings of one board in the order of time, folded. Joining is associative, so that the order of arrival does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EnergyReadings {
    /// The first and the last reading.
    ends: Option<(Moment, Moment)>,
    /// The first and the last value of the counter.
    ticks: Option<(Tick, Tick)>,
    /// Millijoules by which the counter rose.
    risen: u128,
    /// How often it fell, and the time over which what it counted is not known.
    falls: u64,
    fallen: u128,
    /// All power that could be integrated.
    power: Area,
    /// The part of it over which the counter was read as well, and the counter's rise there.
    compared: Area,
    compared_risen: u128,
    /// The part in which the counter did not move although the board drew power, and in how many intervals.
    still: Area,
    still_intervals: u64,
    /// Readings of a power that no board draws, which are none.
    impossible: u64,
}

impl EnergyReadings {
    /// A reading that told these at `at`.
    pub(super) fn reading(at: Nanoseconds, counter: Option<u64>, milliwatts: Option<u32>) -> Self {
        let possible = milliwatts.filter(|&milliwatts| u128::from(milliwatts) <= MOST_MILLIWATTS);
        let moment = Moment { at, counter, milliwatts: possible };
        let tick = counter.map(|millijoules| Tick { at, millijoules });
        let impossible = u64::from(possible != milliwatts);
        Self { ends: Some((moment, moment)), ticks: tick.map(|tick| (tick, tick)), impossible, ..Self::default() }
    }

    /// Joined with what came right after.
    pub(super) fn then(self, later: Self) -> Self {
        let mut sum = self.joined(later);
        if let (Some((_, from)), Some((until, _))) = (self.ends, later.ends) {
            sum.bridge(from, until);
        }
        sum
    }

    /// Joined with what came after a gap: nothing is known of the power, and a counter that holds no more than a board can have drawn
    /// since may have begun anew in it, and passed its old value.
    pub(super) fn resumed(self, later: Self) -> Self {
        let mut sum = self.joined(later);
        if let (Some((_, last)), Some((next, _))) = (self.ticks, later.ticks) {
            let gap = length(last.at, next.at);
            if next.millijoules >= last.millijoules && u128::from(next.millijoules) <= most_millijoules(gap) {
                sum.falls = sum.falls.saturating_add(1);
                sum.fallen = sum.fallen.saturating_add(gap);
                sum.risen = sum.risen.saturating_sub(u128::from(next.millijoules - last.millijoules));
            }
        }
        sum
    }

    fn joined(self, later: Self) -> Self {
        let mut sum = Self {
            ends: span(self.ends, later.ends),
            ticks: span(self.ticks, later.ticks),
            risen: self.risen.saturating_add(later.risen),
            falls: self.falls.saturating_add(later.falls),
            fallen: self.fallen.saturating_add(later.fallen),
            power: self.power.plus(later.power),
            compared: self.compared.plus(later.compared),
            compared_risen: self.compared_risen.saturating_add(later.compared_risen),
            still: self.still.plus(later.still),
            still_intervals: self.still_intervals.saturating_add(later.still_intervals),
            impossible: self.impossible.saturating_add(later.impossible),
        };
        if let (Some((_, last)), Some((next, _))) = (self.ticks, later.ticks) {
            sum.risen = sum.risen.saturating_add(u128::from(next.millijoules.saturating_sub(last.millijoules)));
            if next.millijoules < last.millijoules {
                sum.falls = sum.falls.saturating_add(1);
                sum.fallen = sum.fallen.saturating_add(length(last.at, next.at));
            }
        }
        sum
    }

    /// Adds the time between two neighbouring readings, unless the later one came late: of what the board drew in so long a time
    /// two readings tell nothing.
    fn bridge(&mut self, from: Moment, until: Moment) {
        if is_late(from.at, until.at) {
            return;
        }
        let (Some(first), Some(last)) = (from.milliwatts, until.milliwatts) else { return };
        let nanoseconds = length(from.at, until.at);
        let doubled = (u128::from(first) + u128::from(last)).saturating_mul(nanoseconds);
        let area = Area { nanoseconds, doubled };
        self.power = self.power.plus(area);
        let (Some(before), Some(after)) = (from.counter, until.counter) else { return };
        self.compared = self.compared.plus(area);
        self.compared_risen = self.compared_risen.saturating_add(u128::from(after.saturating_sub(before)));
        if before == after && first > 0 && last > 0 && nanoseconds >= RENEWED_WITHIN {
            self.still = self.still.plus(area);
            self.still_intervals = self.still_intervals.saturating_add(1);
        }
    }

    /// Time between the first and the last value of the counter, less that over which it fell.
    fn counted_nanoseconds(&self) -> u128 {
        self.ticks.map_or(0, |(first, last)| length(first.at, last.at).saturating_sub(self.fallen))
    }
}

/// More than any board draws in so many nanoseconds.
const fn most_millijoules(nanoseconds: u128) -> u128 {
    nanoseconds.saturating_mul(MOST_MILLIWATTS) / 1_000_000_000
}

/// The ends of two stretches, one after the other.
fn span<T>(left: Option<(T, T)>, right: Option<(T, T)>) -> Option<(T, T)> {
    match (left, right) {
        (Some((first, _)), Some((_, last))) => Some((first, last)),
        (ends, None) | (None, ends) => ends,
    }
}
