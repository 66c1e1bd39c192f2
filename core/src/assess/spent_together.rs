//! Sums over several modifications.

use std::collections::BTreeMap;

use super::{Basis, ExcludedRun, Measures, OtherCount, Spent};
use crate::rules::RuleSet;
use crate::run::RunSummary;
use crate::unit::Flops;

impl Spent {
    /// Nothing was spent, and that is all there is to know: what a merge of weights trains by itself.
    pub fn nothing() -> Self {
        Self {
            ceiling: Some(Flops::ZERO),
            ceiling_complete: true,
            measures: Measures::ZERO,
            ..Self::counted(Flops::ZERO, Basis::Operations)
        }
    }

    /// What a modification spent by itself, without the runs that a named person left out: these are only named. Of no runs nothing is
    /// known, unless all of them were left out, or it is a merge.
    pub fn of_modification<'r>(
        rules: &RuleSet,
        runs: impl IntoIterator<Item = &'r RunSummary>,
        excluded: Vec<ExcludedRun>,
        is_merge: bool,
    ) -> Self {
        let mut runs = runs.into_iter().peekable();
        let spent = match runs.peek() {
            Some(_) => Self::of_runs(rules, runs),
            // Of what counts, nothing was spent.
            None if !excluded.is_empty() => Self::nothing(),
            // Merging weights trains nothing.
            None if is_merge => Self::nothing(),
            None => Self::default(),
        };
        Self { excluded, ..spent }
    }

    /// Both together, in either order: what is missing of one is missing of the sum, and what is known of one is its lower bound.
    ///
    /// ```
    /// use flopsmeter_core::assess::{Basis, Spent};
    /// use flopsmeter_core::unit::Flops;
    /// let first = Spent::counted(Flops(2), Basis::Operations);
    /// assert_eq!(first.and(&Spent::counted(Flops(3), Basis::Operations)).training, Some(Flops(5)));
    /// assert!(!first.and(&Spent::default()).complete);
    /// ```
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let either = |own: Option<Flops>, other: Option<Flops>| match (own, other) {
            (None, None) => None,
            (own, other) => Some(own.unwrap_or_default() + other.unwrap_or_default()),
        };
        let lacks_cumulative = |spent: &Self| spent.training.is_some() && spent.cumulative.is_none();
        let cumulative = either(self.cumulative, other.cumulative);
        let mut by_day = [self.by_day.as_slice(), &other.by_day].concat();
        by_day.sort_by_key(|work| (work.day, work.cumulative, work.training));
        let mut excluded = [self.excluded.as_slice(), &other.excluded].concat();
        excluded.sort_by(|own, other| own.run.cmp(&other.run));
        Self {
            training: either(self.training, other.training),
            cumulative: cumulative.filter(|_| !lacks_cumulative(self) && !lacks_cumulative(other)),
            complete: self.complete && other.complete,
            debatable: either(self.debatable, other.debatable),
            ceiling: self.ceiling.zip(other.ceiling).map(|(own, other)| own + other),
            ceiling_complete: self.ceiling_complete && other.ceiling_complete,
            basis: weaker(self, other),
            measures: self.measures + other.measures,
            other_counts: other_counts(self, other),
            merged: either(self.merged, other.merged),
            merged_is_lower_bound: self.merged_is_lower_bound || other.merged_is_lower_bound,
            by_day,
            excluded,
        }
    }
}

/// A sum rests on the weaker of what its parts rest on.
fn weaker(one: &Spent, other: &Spent) -> Basis {
    let rests_on = |basis: Basis| {
        let parts = [one, other].into_iter().filter(|part| part.training.is_some());
        parts.into_iter().any(|part| part.basis == basis)
    };
    [Basis::Parameters, Basis::Ceiling, Basis::Operations]
        .into_iter()
        .find(|basis| rests_on(*basis))
        .unwrap_or(Basis::None)
}

/// A part that was counted in one way only is counted so in each.
fn other_counts(one: &Spent, other: &Spent) -> Vec<OtherCount> {
    let by_code = |spent: &Spent| -> BTreeMap<String, Flops> {
        spent.other_counts.iter().map(|count| (count.code.clone(), count.training)).collect()
    };
    let (ones, others) = (by_code(one), by_code(other));
    let mut codes: Vec<&String> = ones.keys().chain(others.keys()).collect();
    codes.sort();
    codes.dedup();
    let of = |counts: &BTreeMap<String, Flops>, code: &String, spent: &Spent| {
        counts.get(code).copied().or(spent.training).unwrap_or_default()
    };
    let sum = |code: &String| of(&ones, code, one) + of(&others, code, other);
    codes.into_iter().map(|code| OtherCount { code: code.clone(), training: sum(code) }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::assess::DayWork;

    prop_compose! {
        fn any_spent()(training in any::<Option<u64>>(), more in any::<Option<u32>>(), complete: bool, merged in any::<Option<u32>>(), debatable in any::<Option<u32>>(), ceiling in any::<Option<u64>>(), other in any::<Option<u32>>(), day in 0..3_u64, parameters: bool) -> Spent {
            let flops = |value: u64| Flops(value.into());
            let cumulative = training.zip(more).map(|(training, more)| flops(training) + flops(more.into()));
            Spent {
                training: training.map(flops),
                cumulative,
                complete,
                debatable: debatable.map(|value| flops(value.into())),
                ceiling: ceiling.map(flops),
                ceiling_complete: complete,
                basis: if parameters { Basis::Parameters } else { Basis::Operations },
                measures: Measures::default(),
                other_counts: other.map(|value| OtherCount { code: format!("c{}", value % 2), training: flops(value.into()) }).into_iter().collect(),
                merged: merged.map(|value| flops(value.into())),
                merged_is_lower_bound: !complete,
                by_day: vec![DayWork { day: chrono::NaiveDate::MIN + chrono::Days::new(day), training: Flops(1), cumulative: Flops(1) }],
                excluded: Vec::new(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_order(parts in prop::collection::vec(any_spent(), 3)) {
            let [first, second, third] = parts.as_slice() else { unreachable!() };
            prop_assert_eq!(first.and(second), second.and(first));
            let (left, right) = (first.and(second).and(third), first.and(&second.and(third)));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn nothing_adds_nothing(part in any_spent()) {
            let sum = part.and(&Spent::nothing());
            prop_assert_eq!(sum.training.unwrap_or_default(), part.training.unwrap_or_default());
            prop_assert_eq!((sum.complete, sum.ceiling, sum.merged, sum.by_day), (part.complete, part.ceiling, part.merged, part.by_day));
        }
    }
}
