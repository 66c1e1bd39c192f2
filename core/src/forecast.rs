//! What a job will have spent when its schedule ends.

use crate::assess::{Question, Spent, Verdict, assess};
use crate::facts::Progress;
use crate::unit::Flops;

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

/// The same for every sum at once. What was spent `before` this process began stays as it is.
fn projected(spent: &Spent, before: &Spent, progress: Progress) -> Option<Spent> {
    let grown = |now: Option<Flops>, then: Option<Flops>| -> Option<Option<Flops>> {
        let Some(now) = now else { return Some(None) };
        let then = then.unwrap_or_default().min(now);
        projected_total(then, Flops(now.0 - then.0), progress).map(Some)
    };
    Some(Spent {
        training: grown(spent.training, before.training)?,
        cumulative: grown(spent.cumulative, before.cumulative)?,
        debatable: grown(spent.debatable, before.debatable)?,
        ceiling: None,
        ceiling_complete: false,
        other_counts: Vec::new(),
        ..spent.clone()
    })
}

/// The verdict at the end of the schedule, if the rest of the job is like its part so far. `question.spent` is everything up to now;
/// `before` is what of it was spent before this process began (other runs of the modification, earlier segments). `None` where
/// [`projected_total`] gives none or nothing was counted.
///
/// ```
/// use flopsmeter_core::assess::{Answers, Basis, Inputs, Question, Spent, Verdict};
/// use flopsmeter_core::facts::Progress;
/// use flopsmeter_core::forecast::projected_verdict;
/// use flopsmeter_core::registry::{Base, Registry};
/// use flopsmeter_core::rules::RuleSet;
///
/// let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
/// let base = Base::resolve(Registry::embedded().unwrap(), "meta-llama/Llama-3.1-8B");
/// let question = Question {
///     spent: Spent::counted("1e23".parse().unwrap(), Basis::Operations),
///     base: Some(&base),
///     rules: RuleSet::in_force(as_of).unwrap(),
///     as_of,
///     answers: &Answers::default(),
///     inputs: Inputs::default(),
/// };
/// let progress = Progress { step: 10, first_step: 0, max_steps: Some(30) };
/// assert_eq!(projected_verdict(&question, &Spent::default(), progress), Some(Verdict::Exceeds));
/// ```
pub fn projected_verdict(question: &Question<'_>, before: &Spent, progress: Progress) -> Option<Verdict> {
    question.spent.training?;
    let spent = projected(&question.spent, before, progress)?;
    Some(assess(&Question { spent, ..question.clone() }).verdict)
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

    proptest! {
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
