//! What a job will have spent when its schedule ends.

mod course;

use crate::assess::{Measures, Spent};
use crate::facts::Progress;
use crate::unit::Flops;

pub use course::{Course, Range};

/// The total at the end of the schedule: `before`, and `spent` since [`Progress::first_step`] scaled to all of this process's
/// steps, rounded up. `None` while no step is done, or where the schedule has no end.
///
/// ```
/// use flopsmeter_core::facts::Progress;
/// use flopsmeter_core::forecast::projected_total;
/// use flopsmeter_core::unit::Flops;
/// let progress = Progress { step: 130, first_step: 100, max_steps: Some(200) };
/// assert_eq!(projected_total(Flops(1000), Flops(30), progress), Some(Flops(1100)));
/// ```
pub fn projected_total(before: Flops, spent: Flops, progress: Progress) -> Option<Flops> {
    let end = progress.max_steps?;
    let done = progress.step.checked_sub(progress.first_step).filter(|done| *done > 0)?;
    // A trainer that went past its end is at its end.
    let all = end.saturating_sub(progress.first_step).max(done);
    Some(before + scaled_up(spent, all, done))
}

/// `amount * all / done` rounded up, saturating: a forecast never wraps to a small one.
fn scaled_up(amount: Flops, all: u64, done: u64) -> Flops {
    let (all, done) = (u128::from(all), u128::from(done));
    let (whole, rest) = (amount.0 / done, amount.0 % done);
    // `rest < done` and `all` fit 64 bits each, so their product fits 128.
    Flops(whole.saturating_mul(all).saturating_add((rest * all).div_ceil(done)))
}

/// `all` once a part of it, `own`, has grown as its training operations grow to `then`; each kind of work in it grows alike, rounded
/// up. The ceiling says nothing of what is to come.
pub(crate) fn grown(all: &Spent, own: &Spent, then: Flops) -> Spent {
    let now = own.training.unwrap_or_default();
    let (more, per) = ratio(Flops(then.0.saturating_sub(now.0)), now);
    let plus = |all: Option<Flops>, own: Option<Flops>| {
        all.map(|all| all + own.map_or(Flops::ZERO, |own| scaled_up(own, more, per)))
    };
    // A basis that counts tokens grows with the operations; of the hardware's time to come nothing is known.
    let tokens = |measures: Measures| measures.tokens.map(Flops);
    let tokens = plus(tokens(all.measures), tokens(own.measures)).map(|tokens| tokens.0);
    Spent {
        training: plus(all.training, own.training),
        cumulative: plus(all.cumulative, own.cumulative),
        debatable: plus(all.debatable, own.debatable),
        ceiling: None,
        ceiling_complete: false,
        other_counts: Vec::new(),
        measures: Measures { tokens, ..Measures::default() },
        ..all.clone()
    }
}

/// Two numbers that fit 64 bits, in a ratio not below that of `more` to `per`; nothing grows from nothing.
fn ratio(more: Flops, per: Flops) -> (u64, u64) {
    let bits = u128::BITS - more.0.max(per.0).leading_zeros();
    let shift = bits.saturating_sub(u64::BITS - 1);
    let (up, down) = (more.0.div_ceil(1 << shift), per.0 >> shift);
    (u64::try_from(up).unwrap_or(u64::MAX), u64::try_from(down).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(step: u64, first_step: u64, max_steps: Option<u64>) -> Progress {
        Progress { step, first_step, max_steps }
    }

    #[test]
    fn a_forecast_rounds_up() {
        assert_eq!(projected_total(Flops(0), Flops(10), at(3, 0, Some(10))), Some(Flops(34)));
    }

    #[test]
    fn nothing_is_forecast_without_schedule_or_step() {
        assert_eq!(projected_total(Flops(0), Flops(10), at(3, 0, None)), None);
        assert_eq!(projected_total(Flops(0), Flops(10), at(5, 5, Some(10))), None);
        assert_eq!(projected_total(Flops(0), Flops(10), at(4, 5, Some(10))), None);
    }

    #[test]
    fn a_job_past_its_end_has_spent_what_it_has_spent() {
        assert_eq!(projected_total(Flops(7), Flops(10), at(12, 0, Some(10))), Some(Flops(17)));
        assert_eq!(projected_total(Flops(7), Flops(10), at(12, 11, Some(3))), Some(Flops(17)));
    }

    #[test]
    fn each_kind_of_work_grows_alike() {
        let spent = |training, cumulative| Spent {
            training: Some(Flops(training)),
            cumulative: Some(Flops(cumulative)),
            ..Spent::default()
        };
        let then = grown(&spent(1000, 2000), &spent(100, 300), Flops(150));
        assert_eq!((then.training, then.cumulative, then.debatable), (Some(Flops(1050)), Some(Flops(2150)), None));
        // What is beyond 64 bits keeps its ratio to some 10^-18, upwards.
        let large = 10_u128.pow(26);
        let then = grown(&spent(large, large), &spent(large, large), Flops(2 * large)).training.unwrap();
        assert!(then.0 >= 2 * large && then.0 - 2 * large < large / 10_u128.pow(15), "{then}");
        assert_eq!(grown(&spent(7, 7), &Spent::default(), Flops(9)).training, Some(Flops(7)));
    }

    proptest! {
        #[test]
        fn growth_never_shrinks(all: u128, own: u128, then: u128) {
            let spent = |amount| Spent { training: Some(Flops(amount)), ..Spent::default() };
            prop_assert!(grown(&spent(all), &spent(own), Flops(then)).training >= Some(Flops(all)));
        }

        #[test]
        fn a_forecast_is_never_below_what_is_spent(before: u128, spent: u128, step: u64, first: u64, end: u64) {
            let total = projected_total(Flops(before), Flops(spent), at(step, first, Some(end)));
            prop_assert!(total.is_none_or(|total| total >= Flops(before) + Flops(spent)));
        }

        #[test]
        fn a_finished_schedule_is_exact(spent: u128, end in 1..u64::MAX) {
            prop_assert_eq!(projected_total(Flops(0), Flops(spent), at(end, 0, Some(end))), Some(Flops(spent)));
        }
    }
}
