//! Readings that came late: they cover their time as any other, and whoever reads the record has to know of them all the same.

use std::collections::BTreeMap;

use super::timeline::{MAX_STRETCHES, Nanoseconds, length};

/// Readings are ordered once a second. One that tells of more than this was not made at that pace: the meter was stopped or had no
/// processor, the driver was slow, or the machine was suspended.
const LATE: u128 = 3_000_000_000;

/// Whether a reading at `until` came late after one at `from`.
pub(super) fn is_late(from: Nanoseconds, until: Nanoseconds) -> bool {
    length(from, until) > LATE
}

/// The late readings of a device. Neighbouring ones melt into one stretch, whatever the order in which they arrive.
#[derive(Clone, Debug, Default)]
pub(super) struct LateReadings {
    stretches: BTreeMap<Nanoseconds, Late>,
    /// Time of those past the greatest number of stretches that is kept.
    unlisted: u128,
}

/// A stretch of time that late readings cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) ended: Nanoseconds,
    /// Nanoseconds of it of which no reading tells anything.
    pub(super) charged: u128,
}

impl LateReadings {
    /// A reading that covers this time, of which so many nanoseconds are told by nothing. One that is not late is none of them.
    pub(super) fn add(&mut self, started: Nanoseconds, ended: Nanoseconds, charged: u128) {
        if !is_late(started, ended) {
            return;
        }
        let before = self.stretches.range(..started).next_back();
        let before = before.filter(|(_, late)| late.ended == started).map(|(&start, _)| start);
        if before.is_none() && !self.stretches.contains_key(&ended) && self.stretches.len() >= MAX_STRETCHES {
            self.unlisted = self.unlisted.saturating_add(length(started, ended));
            return;
        }
        let mut melted = Late { ended, charged };
        if let Some(after) = self.stretches.remove(&ended) {
            melted.ended = after.ended;
            melted.charged = melted.charged.saturating_add(after.charged);
        }
        let start = before.unwrap_or(started);
        if let Some(before) = self.stretches.remove(&start) {
            melted.charged = melted.charged.saturating_add(before.charged);
        }
        self.stretches.insert(start, melted);
    }

    /// Each stretch with its start, in order.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (Nanoseconds, Late)> {
        self.stretches.iter().map(|(&start, &late)| (start, late))
    }

    /// Nanoseconds that came late and are in no stretch.
    pub(super) const fn unlisted_nanoseconds(&self) -> u128 {
        self.unlisted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanoseconds = 1_000_000_000;

    fn listed(readings: &[(Nanoseconds, Nanoseconds, u128)]) -> Vec<(Nanoseconds, Nanoseconds, u128)> {
        let mut late = LateReadings::default();
        for &(from, until, charged) in readings {
            late.add(from * SECOND, until * SECOND, charged);
        }
        late.stretches().map(|(start, late)| (start / SECOND, late.ended / SECOND, late.charged)).collect()
    }

    #[test]
    fn what_is_longer_than_three_seconds_is_late() {
        assert_eq!(listed(&[(0, 3, 1), (3, 7, 2)]), [(3, 7, 2)]);
        assert!(is_late(0, 3 * SECOND + 1) && !is_late(0, 3 * SECOND));
    }

    #[test]
    fn neighbours_melt_in_any_order() {
        let readings = [(0, 4, 1), (4, 8, 10), (8, 12, 100), (13, 17, 1000)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 3, 1], [1, 3, 0, 2]] {
            assert_eq!(listed(&order.map(|index| readings[index])), [(0, 12, 111), (13, 17, 1000)], "{order:?}");
        }
    }

    #[test]
    fn stretches_are_bounded_and_the_time_of_the_rest_is_known() {
        let mut late = LateReadings::default();
        let count = Nanoseconds::try_from(MAX_STRETCHES).unwrap() + 2;
        for index in 0..count {
            late.add(index * 5 * SECOND, (index * 5 + 4) * SECOND, 0);
        }
        assert_eq!((late.stretches().count(), late.unlisted_nanoseconds()), (MAX_STRETCHES, 8_000_000_000));
    }
}
