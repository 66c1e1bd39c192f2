//! What the last assessment says of sums that have grown since.

use flopsmeter_core::alert::{Levels, Stand};
use flopsmeter_core::assess::Spent;
use flopsmeter_core::unit::Flops;

/// Sums that were assessed, and what they left. A whole assessment takes more time than all else that is done once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assessed {
    sums: [Option<Flops>; 2],
    /// Until the next level; `None` beyond all of them and where there is no line.
    left: Option<Flops>,
}

impl Assessed {
    pub(super) fn of(spent: &Spent, stand: &Stand, levels: &Levels) -> Self {
        Self { sums: sums(spent), left: stand.left_until_next(levels) }
    }

    /// Whether no level was reached since, nor any left behind, by the sum that is held against the line, whichever it is. What else may
    /// raise a verdict (other ways to count, hours of GPUs) is heard with the next forecast.
    pub(super) fn holds_for(&self, spent: &Spent) -> bool {
        self.sums.iter().zip(sums(spent)).all(|pair| match pair {
            (Some(before), Some(now)) => {
                now.0.checked_sub(before.0).is_some_and(|grown| self.left.is_none_or(|left| grown < left.0))
            }
            (before, now) => before.is_none() && now.is_none(),
        })
    }
}

const fn sums(spent: &Spent) -> [Option<Flops>; 2] {
    [spent.training, spent.cumulative]
}

#[cfg(test)]
mod tests {
    use flopsmeter_core::assess::Basis;

    use super::*;

    fn spent(training: u128, cumulative: u128) -> Spent {
        Spent { cumulative: Some(Flops(cumulative)), ..Spent::counted(Flops(training), Basis::Operations) }
    }

    #[test]
    fn it_holds_until_the_next_level_and_for_no_smaller_sum() {
        let before = Assessed { sums: [Some(Flops(10)), Some(Flops(12))], left: Some(Flops(5)) };
        let holds = |training, cumulative| before.holds_for(&spent(training, cumulative));
        assert_eq!(
            [holds(10, 12), holds(14, 12), holds(15, 12), holds(10, 16), holds(10, 17)],
            [true, true, false, true, false]
        );
        assert!(!holds(9, 12), "a run was taken out of the sum");
        assert!(!before.holds_for(&Spent { training: None, ..spent(0, 12) }));
    }

    #[test]
    fn beyond_all_levels_it_holds_for_every_larger_sum() {
        let before = Assessed { sums: [Some(Flops(10)), None], left: None };
        assert!(before.holds_for(&Spent { cumulative: None, ..spent(u128::MAX, 0) }));
        assert!(!before.holds_for(&spent(10, 10)), "it was not counted before");
    }
}
