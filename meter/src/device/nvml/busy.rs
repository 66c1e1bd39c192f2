//! From the driver's buffered busy shares to stretches of time that prove something.
//!
//! Each buffered sample tells the share of the time *since the sample before* in which a kernel ran, if none was skipped. How
//! long a sample reaches back is not told (the header says 1/6 s to 1 s by product), so it is taken from the shortest of the
//! last distances between samples: after a hole, a sample covers no more than that, and the rest of the hole is left uncovered.
//! The first sample that comes after the first turn reaches back to before it, so that it proves nothing either.

use std::collections::VecDeque;

use flopsmeter_core::sample::BusyStretch;

/// The shortest sampling period that NVIDIA documents (`nvmlUtilization_t`), in microseconds.
const SHORTEST_PERIOD: u64 = 166_666;
/// The longest.
const LONGEST_PERIOD: u64 = 1_000_000;
/// How many distances between samples are remembered.
const REMEMBERED: usize = 64;

/// One buffered sample: time in microseconds and whole per cent.
pub(crate) type Buffered = (u64, u32);

/// Reads one GPU's buffer in turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusyBuffer {
    newest: Option<u64>,
    /// Whether the newest sample came while the GPU was watched: only then the next one covers nothing but watched time.
    joined: bool,
    distances: VecDeque<u64>,
}

impl BusyBuffer {
    /// Only samples after this time are new.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// The GPU could not be read: what the next sample tells may be of that time.
    pub(crate) fn interrupt(&mut self) {
        self.joined = false;
    }

    /// Takes what the driver buffered since the last turn. The first turn and the first sample after it only set the start: what
    /// they tell may lie before the job, by up to one period.
    pub(crate) fn take(&mut self, mut samples: Vec<Buffered>) -> Vec<BusyStretch> {
        samples.sort_unstable_by_key(|&(at, _)| at);
        let first_turn = self.newest.is_none();
        let mut stretches: Vec<BusyStretch> = Vec::new();
        for (at, percent) in samples {
            let Some(before) = self.newest.replace(at.max(self.newest.unwrap_or(0))) else { continue };
            let Some(distance) = at.checked_sub(before).filter(|&distance| distance > 0) else { continue };
            self.remember(distance);
            if first_turn || !std::mem::replace(&mut self.joined, true) {
                continue;
            }
            // More than 100 per cent is no reading: it proves nothing.
            if percent <= 100 {
                push(&mut stretches, BusyStretch { microseconds: distance.min(self.period()), percent });
            }
        }
        stretches
    }

    fn remember(&mut self, distance: u64) {
        // A hole for sure.
        if distance > LONGEST_PERIOD {
            return;
        }
        if self.distances.len() == REMEMBERED {
            self.distances.pop_front();
        }
        self.distances.push_back(distance);
    }

    fn period(&self) -> u64 {
        // One distance alone may be a hole.
        let shortest = if self.distances.len() > 1 { self.distances.iter().min().copied() } else { None };
        shortest.unwrap_or(SHORTEST_PERIOD)
    }
}

/// Neighbours of one share melt together: the record stays small while a GPU is busy throughout.
fn push(stretches: &mut Vec<BusyStretch>, next: BusyStretch) {
    match stretches.last_mut() {
        Some(last) if last.percent == next.percent => last.microseconds += next.microseconds,
        _ => stretches.push(next),
    }
}

/// What a single reading of the present share proves, for GPUs without a buffer: it covers one sampling period, of which only
/// the shortest documented length is sure. Readings at least two of those apart never prove more idle time than there was,
/// even if a longer period is read twice.
pub(crate) fn polled(percent: u32) -> Option<BusyStretch> {
    (percent <= 100).then_some(BusyStretch { microseconds: SHORTEST_PERIOD, percent })
}

/// How far apart polled readings have to be, in microseconds.
pub(crate) const POLLED_APART: u64 = 2 * SHORTEST_PERIOD + 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covered(stretches: &[BusyStretch]) -> u64 {
        stretches.iter().map(|stretch| stretch.microseconds).sum()
    }

    /// A buffer that was read once and has told its next sample as well.
    fn joined(first: Vec<Buffered>, next: Buffered) -> BusyBuffer {
        let mut buffer = BusyBuffer::default();
        assert!(buffer.take(first).is_empty());
        assert!(buffer.take(vec![next]).is_empty());
        buffer
    }

    #[test]
    fn the_first_turn_proves_nothing_nor_does_the_sample_after_it() {
        let mut buffer = BusyBuffer::default();
        assert!(buffer.take(vec![(1000, 5), (1100, 5), (1200, 5)]).is_empty());
        // Watching began between 1200 and 1300.
        let stretches = buffer.take(vec![(1400, 50), (1300, 0), (1500, 50), (1600, 7)]);
        assert_eq!(stretches, [(200, 50).into(), (100, 7).into()]);
        assert_eq!(buffer.newest(), Some(1600));
    }

    #[test]
    fn a_sample_after_time_in_which_nothing_could_be_read_proves_nothing() {
        let mut buffer = joined(vec![(1000, 5), (1100, 5)], (1200, 5));
        assert_eq!(covered(&buffer.take(vec![(1300, 5)])), 100);
        buffer.interrupt();
        assert_eq!(covered(&buffer.take(vec![(5400, 0), (5500, 0)])), 100);
    }

    #[test]
    fn a_hole_in_the_buffer_stays_uncovered() {
        let mut buffer = joined(vec![(1000, 5), (1100, 5)], (1200, 5));
        assert_eq!(buffer.take(vec![(9200, 5), (9300, 5)]), [(200, 5).into()]);
    }

    #[test]
    fn a_clock_that_goes_back_proves_nothing() {
        let mut buffer = BusyBuffer::default();
        buffer.take(vec![(1000, 5), (1100, 5)]);
        assert!(buffer.take(vec![(900, 5), (1100, 5)]).is_empty());
        assert_eq!(buffer.newest(), Some(1100));
    }

    #[test]
    fn nonsense_shares_prove_nothing() {
        let mut buffer = joined(vec![(1000, 5)], (1100, 5));
        assert!(buffer.take(vec![(1200, 101), (1300, u32::MAX)]).is_empty());
        assert_eq!(polled(101), None);
    }

    #[test]
    fn holes_are_not_taken_for_the_period() {
        let mut buffer = joined(vec![(1_000_000, 0)], (1_900_000, 0));
        assert_eq!(covered(&buffer.take(vec![(9_000_000, 0)])), SHORTEST_PERIOD);
        assert_eq!(covered(&buffer.take(vec![(19_000_000, 0)])), SHORTEST_PERIOD);
    }

    proptest! {
        /// Samples every `period`, some skipped: never more time is covered than samples were given out for.
        #[test]
        fn no_more_is_covered_than_was_sampled(
            period in 1_u64..1_000_000,
            kept in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..8), 1..20),
        ) {
            let mut buffer = BusyBuffer::default();
            buffer.take((1..=3).map(|index| (index * period, 0)).collect());
            buffer.take(vec![(4 * period, 0)]);
            let mut index = 4;
            for turn in kept {
                let mut samples = Vec::new();
                for keep in turn {
                    index += 1;
                    if keep {
                        samples.push((index * period, 0));
                    }
                }
                let given = samples.len() as u64;
                prop_assert_eq!(covered(&buffer.take(samples)), given * period);
            }
        }
    }
}
