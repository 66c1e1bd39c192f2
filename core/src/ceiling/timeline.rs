//! Which time of a device was held, which of it was read, and why the rest was not.
//!
//! Memory stays bounded: neighbouring intervals melt into one, and past [`MAX_STRETCHES`] separate ones a reading is not
//! accepted, which leaves its time uncovered and so charged in full.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::energy::EnergyReadings;
use super::exact::charge;
use crate::unit::Flops;

/// Separate stretches (of read or of missing time, and of late readings) that are kept.
pub(super) const MAX_STRETCHES: usize = 4096;

/// What is said of time in which nothing arrived.
const NOTHING_ARRIVED: &str = "no sample arrived for this time";

/// Nanoseconds since 1970; wide enough for any date.
pub(super) type Nanoseconds = i128;

#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    held: Option<(Nanoseconds, Nanoseconds)>,
    read: BTreeMap<Nanoseconds, Stretch>,
    missing: BTreeMap<Nanoseconds, (Nanoseconds, String)>,
}

/// A stretch without a hole, and what was counted in it.
#[derive(Clone, Debug)]
struct Stretch {
    end: Nanoseconds,
    /// Apart: the tree's nodes are half empty, and a job on a starved machine has thousands of stretches.
    counters: Box<Counters>,
}

/// The counters that run on while they are not read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) energy: EnergyReadings,
    pub(super) cycles_elapsed: Counted,
    pub(super) cycles_active: Counted,
}

impl Counters {
    fn then(self, later: Self) -> Self {
        Self {
            energy: self.energy.then(later.energy),
            cycles_elapsed: self.cycles_elapsed.then(later.cycles_elapsed),
            cycles_active: self.cycles_active.then(later.cycles_active),
        }
    }
}

/// One counter's readings over time without a hole, in its order and folded: first, last, and the sum of what it rose between them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    ends: Option<(Read, Read)>,
    risen: u128,
    /// Whether the counter ever fell: it restarts there, and what it missed is not known.
    fell: bool,
    /// The least value that another one followed, and the longest time until that one can have been read.
    least: Option<u64>,
    step: u128,
}

/// A counter's value, and the interval at some moment of which it was read.
#[derive(Clone, Copy, Debug)]
struct Read {
    started: Nanoseconds,
    ended: Nanoseconds,
    value: u64,
}

impl Counted {
    /// A counter that was read at some moment of this interval.
    pub(super) fn reading(started: Nanoseconds, ended: Nanoseconds, value: Option<u64>) -> Self {
        let read = value.map(|value| Read { started, ended, value });
        Self { ends: read.map(|read| (read, read)), ..Self::default() }
    }

    fn then(self, later: Self) -> Self {
        let mut sum = Self {
            ends: self.ends.or(later.ends),
            risen: self.risen.saturating_add(later.risen),
            fell: self.fell || later.fell,
            least: self.least.into_iter().chain(later.least).min(),
            step: self.step.max(later.step),
        };
        if let (Some((first, last)), Some((next, end))) = (self.ends, later.ends) {
            sum.ends = Some((first, end));
            sum.risen = sum.risen.saturating_add(u128::from(next.value.saturating_sub(last.value)));
            sum.fell |= next.value < last.value;
            sum.least = sum.least.into_iter().chain([last.value]).min();
            sum.step = sum.step.max(length(last.started, next.ended));
        }
        sum
    }

    /// What was counted; nothing if the counter was never read.
    pub(super) const fn risen(&self) -> u128 {
        self.risen
    }

    pub(super) const fn fell(&self) -> bool {
        self.fell
    }

    /// Whether a counter that rises by at most so much in a second can have started again, or gone over its end, between two
    /// readings without being seen to fall: it held no more than it could count until the next one.
    pub(super) fn may_have_restarted(&self, per_second: u128) -> bool {
        self.least.is_some_and(|least| u128::from(least) <= charge(Flops(per_second), self.step, 1_000_000_000).0)
    }

    /// By when it had been read for the first time.
    pub(super) fn first_read(&self) -> Option<Nanoseconds> {
        self.ends.map(|(first, _)| first.ended)
    }

    /// The longest time that can lie between the first and the last reading, in nanoseconds.
    pub(super) fn longest(&self) -> u128 {
        self.ends.map_or(0, |(first, last)| length(first.started, last.ended))
    }

    /// Until when it had certainly not been read for the last time: what is later is not in the sum.
    pub(super) fn last_read(&self) -> Option<Nanoseconds> {
        self.ends.map(|(first, last)| last.started.max(first.ended))
    }
}

/// Time of a device that no reading covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uncovered {
    pub(super) started: Nanoseconds,
    pub(super) ended: Nanoseconds,
    pub(super) reason: String,
}

pub(super) fn nanoseconds(at: DateTime<Utc>) -> Nanoseconds {
    Nanoseconds::from(at.timestamp()) * 1_000_000_000 + Nanoseconds::from(at.timestamp_subsec_nanos())
}

pub(super) fn date(at: Nanoseconds) -> DateTime<Utc> {
    let seconds = i64::try_from(at.div_euclid(1_000_000_000)).ok();
    let fraction = u32::try_from(at.rem_euclid(1_000_000_000)).unwrap_or(0);
    seconds.and_then(|seconds| DateTime::from_timestamp(seconds, fraction)).unwrap_or_default()
}

impl Timeline {
    /// The job held the device in this time, whether or not it was read.
    pub(super) fn hold(&mut self, started: Nanoseconds, ended: Nanoseconds) {
        let ended = ended.max(started);
        self.held = Some(match self.held {
            Some((from, until)) => (from.min(started), until.max(ended)),
            None => (started, ended),
        });
    }

    /// A reading covers this time. `false` if some of it is covered already (a duplicate) or too many stretches are kept: such
    /// a reading must prove nothing, since what it tells may have been told before.
    pub(super) fn cover(&mut self, started: Nanoseconds, ended: Nanoseconds, counters: &Counters) -> bool {
        self.hold(started, ended);
        let before = self.read.range(..ended).next_back();
        if before.is_some_and(|(_, stretch)| stretch.end > started) {
            return false;
        }
        let before = before.filter(|(_, stretch)| stretch.end == started).map(|(&start, _)| start);
        let after = self.read.contains_key(&ended);
        if before.is_none() && !after && self.read.len() >= MAX_STRETCHES {
            return false;
        }
        let mut merged = Stretch { end: ended, counters: Box::new(*counters) };
        if let Some(stretch) = self.read.remove(&ended) {
            merged.end = stretch.end;
            *merged.counters = merged.counters.then(*stretch.counters);
        }
        let start = before.unwrap_or(started);
        if let Some(stretch) = self.read.remove(&start) {
            *merged.counters = stretch.counters.then(*merged.counters);
        }
        self.read.insert(start, merged);
        true
    }

    /// Something was said of this time, namely that nothing can be.
    pub(super) fn miss(&mut self, started: Nanoseconds, ended: Nanoseconds, reason: &str) {
        self.hold(started, ended);
        let before = self.missing.range_mut(..=started).next_back();
        if let Some((_, (until, _))) = before.filter(|(_, (until, said))| *until >= started && said == reason) {
            *until = ended.max(*until);
            return;
        }
        if self.missing.len() < MAX_STRETCHES {
            self.missing.entry(started).or_insert_with(|| (ended, reason.to_owned()));
        }
    }

    pub(super) fn held_nanoseconds(&self) -> u128 {
        self.held.map_or(0, |(from, until)| length(from, until))
    }

    pub(super) fn uncovered_nanoseconds(&self) -> u128 {
        let covered: u128 = self.read.iter().map(|(&start, stretch)| length(start, stretch.end)).sum();
        self.held_nanoseconds().saturating_sub(covered)
    }

    /// The board's energy over the whole time, in which its counter runs on while it is not read.
    pub(super) fn energy(&self) -> EnergyReadings {
        let stretches = self.counters().map(|counters| counters.energy);
        stretches.fold(EnergyReadings::default(), EnergyReadings::resumed)
    }

    /// The counters of each stretch without a hole, in order: what they did in a hole nobody knows.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.read.values().map(|stretch| &*stretch.counters)
    }

    /// The time that the device was held, from and until.
    pub(super) fn held(&self) -> Option<(Nanoseconds, Nanoseconds)> {
        self.held
    }

    /// The time that no reading covers, in order, each with its reason.
    pub(super) fn uncovered(&self) -> Vec<Uncovered> {
        let Some((from, until)) = self.held else { return Vec::new() };
        let mut found = Vec::new();
        let mut cursor = from;
        for (&start, stretch) in &self.read {
            self.explain(cursor, start, &mut found);
            cursor = stretch.end;
        }
        self.explain(cursor, until, &mut found);
        found
    }

    /// Cuts one uncovered stretch where the reason changes.
    fn explain(&self, from: Nanoseconds, until: Nanoseconds, found: &mut Vec<Uncovered>) {
        let mut cursor = from;
        let mut push = |started: Nanoseconds, ended: Nanoseconds, reason: &str| {
            if started < ended {
                found.push(Uncovered { started, ended, reason: reason.to_owned() });
            }
        };
        for (&start, (end, reason)) in self.missing.range(..until) {
            if *end <= cursor {
                continue;
            }
            push(cursor, start, NOTHING_ARRIVED);
            let (start, end) = (start.max(cursor), (*end).min(until));
            push(start, end, reason);
            cursor = end;
        }
        push(cursor, until, NOTHING_ARRIVED);
    }
}

pub(super) fn length(from: Nanoseconds, until: Nanoseconds) -> u128 {
    u128::try_from(until - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uncovered(timeline: &Timeline) -> Vec<(Nanoseconds, Nanoseconds, String)> {
        timeline.uncovered().into_iter().map(|hole| (hole.started, hole.ended, hole.reason)).collect()
    }

    #[test]
    fn what_is_not_covered_is_listed_with_its_reason() {
        let mut timeline = Timeline::default();
        timeline.hold(0, 100);
        assert!(timeline.cover(10, 20, &Counters::default()));
        assert!(timeline.cover(20, 30, &Counters::default()));
        timeline.miss(30, 40, "lost");
        timeline.miss(40, 50, "lost");
        timeline.miss(50, 60, "late");
        assert!(timeline.cover(70, 100, &Counters::default()));
        assert_eq!(timeline.uncovered_nanoseconds(), 50);
        assert_eq!(
            uncovered(&timeline),
            [
                (0, 10, NOTHING_ARRIVED.to_owned()),
                (30, 50, "lost".to_owned()),
                (50, 60, "late".to_owned()),
                (60, 70, NOTHING_ARRIVED.to_owned())
            ]
        );
    }

    #[test]
    fn a_duplicate_or_an_overlap_is_not_accepted_twice() {
        let mut timeline = Timeline::default();
        assert!(timeline.cover(0, 10, &Counters::default()));
        assert!(!timeline.cover(0, 10, &Counters::default()));
        assert!(!timeline.cover(9, 11, &Counters::default()));
        assert!(!timeline.cover(-5, 50, &Counters::default()));
        assert!(timeline.cover(10, 11, &Counters::default()));
        assert_eq!(timeline.held_nanoseconds(), 55);
    }

    #[test]
    fn stretches_are_bounded_and_the_rest_stays_uncovered() {
        let mut timeline = Timeline::default();
        let count = Nanoseconds::try_from(MAX_STRETCHES).unwrap() + 10;
        let accepted =
            (0..count).filter(|&index| timeline.cover(index * 10, index * 10 + 5, &Counters::default())).count();
        assert_eq!(accepted, MAX_STRETCHES);
        assert_eq!(timeline.uncovered_nanoseconds(), timeline.held_nanoseconds() - 5 * MAX_STRETCHES as u128);
    }

    /// What the tree keeps in place is small; all of it together is some megabytes for a device at the very most.
    #[test]
    fn a_stretch_takes_little_room() {
        assert!(size_of::<Stretch>() <= 32, "{}", size_of::<Stretch>());
        assert!(MAX_STRETCHES * size_of::<Counters>() <= 4 << 20, "{}", size_of::<Counters>());
    }

    #[test]
    fn a_date_survives_the_way_through_nanoseconds() {
        let at = DateTime::from_timestamp(-5, 7).unwrap();
        assert_eq!(date(nanoseconds(at)), at);
    }
}
