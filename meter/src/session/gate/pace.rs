//! How fast a trainer makes its steps.

use std::collections::VecDeque;
use std::time::Duration;

use flopsmeter_core::facts::Progress;

/// Stretches that are kept: a trainer may become faster, as when its longest batches come first.
const RECENT: usize = 8;

/// Steps over time, from the trainer's own words.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(u64, Duration)>,
    recent: VecDeque<Stretch>,
    /// The most that one step took.
    slowest: Duration,
}

/// Steps that were made between two looks, and the time between.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    steps: u64,
    milliseconds: u128,
}

impl Stretch {
    fn new(steps: u64, time: Duration) -> Self {
        Self { steps: steps.max(1), milliseconds: time.as_millis().max(1) }
    }

    fn is_faster_than(self, other: Self) -> bool {
        u128::from(self.steps).saturating_mul(other.milliseconds)
            > u128::from(other.steps).saturating_mul(self.milliseconds)
    }

    fn time_per_step(self) -> Duration {
        u64::try_from(self.milliseconds.div_ceil(self.steps.into())).map_or(Duration::MAX, Duration::from_millis)
    }
}

impl Pace {
    /// Takes where the trainer stands at this time of the session. Fewer steps than before are those of another trainer.
    pub(super) fn observe(&mut self, progress: Progress, elapsed: Duration) {
        let Progress { step, first_step, .. } = progress;
        if self.last.is_some_and(|(last, _)| step < last) {
            *self = Self::default();
        }
        let stretch = match self.last {
            Some((last, _)) if step <= last => return,
            Some((last, then)) => Stretch::new(step - last, elapsed.saturating_sub(then)),
            // Of the steps before `first_step` an earlier process made all.
            None => Stretch::new(step.saturating_sub(first_step), elapsed),
        };
        // The first one has the start of the job in it.
        if self.recent.len() > 1 || self.last.is_none() {
            self.slowest = self.slowest.max(stretch.time_per_step());
        } else {
            self.slowest = stretch.time_per_step();
        }
        self.last = Some((step, elapsed));
        self.recent.push_back(stretch);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Time since the last step was told of.
    pub(super) fn since(&self, elapsed: Duration) -> Option<Duration> {
        self.last.map(|(_, then)| elapsed.saturating_sub(then))
    }

    /// Steps that are made in this time at the fastest of late, rounded up.
    pub(super) fn steps_in(&self, time: Duration) -> Option<u64> {
        let fastest =
            self.recent.iter().copied().reduce(|fast, next| if next.is_faster_than(fast) { next } else { fast })?;
        let made = time.as_millis().saturating_mul(fastest.steps.into()).div_ceil(fastest.milliseconds);
        u64::try_from(made).ok()
    }

    /// Time that so many steps take at the slowest of late.
    pub(super) fn time_of(&self, steps: u64) -> Duration {
        let slowest = self.recent.iter().map(|stretch| stretch.time_per_step()).max().unwrap_or_default();
        slowest.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
    }

    /// The most that one step took so far.
    pub(super) const fn slowest(&self) -> Duration {
        self.slowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(pace: &mut Pace, step: u64, milliseconds: u64) {
        let progress = Progress { step, first_step: 5000, max_steps: None };
        pace.observe(progress, Duration::from_millis(milliseconds));
    }

    #[test]
    fn steps_of_an_earlier_process_were_not_made_by_this_one() {
        let mut pace = Pace::default();
        observe(&mut pace, 5002, 10_000);
        assert_eq!(pace.steps_in(Duration::from_secs(10)), Some(2));
    }

    #[test]
    fn the_fastest_stretch_counts_and_the_slowest_step_is_kept() {
        let mut pace = Pace::default();
        observe(&mut pace, 5001, 90_000);
        observe(&mut pace, 5002, 94_000);
        observe(&mut pace, 5006, 95_000);
        observe(&mut pace, 5007, 97_000);
        assert_eq!(pace.steps_in(Duration::from_secs(3)), Some(12));
        assert_eq!(pace.slowest(), Duration::from_secs(4), "the start of the job is no step");
        assert_eq!(pace.since(Duration::from_secs(99)), Some(Duration::from_secs(2)));
        assert_eq!(pace.time_of(2), Duration::from_mins(3), "a step may take as long as the first");
    }
}
