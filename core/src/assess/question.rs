//! What an assessment is asked.

use chrono::NaiveDate;

use super::{Answers, Basis, Inputs};
use crate::registry::Base;
use crate::rules::{Counts, RuleSet};
use crate::run::{PhaseSummary, RunSummary};
use crate::unit::Flops;

/// Everything an assessment depends on.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What the modification spent.
    pub spent: Spent,
    /// The model that was modified; `None` if nobody named one.
    pub base: Option<&'a Base<'a>>,
    /// The rule set to apply.
    pub rules: &'a RuleSet,
    /// The day as of which it is applied.
    pub as_of: NaiveDate,
    /// Declared answers.
    pub answers: &'a Answers,
    /// Digests of what the caller read: runs, GPU table, answers. Rule set and base model are filled in.
    pub inputs: Inputs,
}

/// What a modification spent, in the sums the law tells apart.
///
/// ```
/// use flopsmeter_core::assess::{Basis, Spent};
/// use flopsmeter_core::unit::Flops;
/// let spent = Spent::counted(Flops(1_000_000), Basis::Operations);
/// assert!(spent.complete);
/// assert_eq!(spent.cumulative, Some(Flops(1_000_000)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Model operations that directly contribute to parameter updates; `None` if nothing was counted.
    pub training: Option<Flops>,
    /// The same and what else counts cumulatively; `None` if that was not counted.
    pub cumulative: Option<Flops>,
    /// Whether everything was counted; a sum that is not complete is a lower bound.
    pub complete: bool,
    /// What the debatable kinds of work would add to `training`.
    pub debatable: Option<Flops>,
    /// What the hardware could have done at most.
    pub ceiling: Option<Flops>,
    /// Whether that covers every device for the whole time.
    pub ceiling_complete: bool,
    /// How `training` was counted.
    pub basis: Basis,
    /// The same work counted in other ways.
    pub other_counts: Vec<OtherCount>,
}

/// The same work counted in another way, for example by parameters and tokens alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherCount {
    /// Stable short name; becomes the code of a reading.
    pub code: String,
    /// What that way gives.
    pub training: Flops,
}

impl Default for Spent {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            training: None,
            cumulative: None,
            complete: false,
            debatable: None,
            ceiling: None,
            ceiling_complete: false,
            basis: Basis::None,
            other_counts: Vec::new(),
        }
    }
}

impl Spent {
    /// Complete training operations and nothing else: what a plan knows.
    pub fn counted(training: Flops, basis: Basis) -> Self {
        Self { training: Some(training), cumulative: Some(training), complete: true, basis, ..Self::default() }
    }

    /// Adds up runs, each kind of work as the rule set counts it. Recomputation stays out of every sum; no runs spent nothing.
    pub fn of_runs<'r>(rules: &RuleSet, runs: impl IntoIterator<Item = &'r RunSummary>) -> Self {
        let nothing = Self {
            complete: true,
            ceiling: Some(Flops::ZERO),
            ceiling_complete: true,
            basis: Basis::Operations,
            ..Self::default()
        };
        let mut runs = runs.into_iter().peekable();
        if runs.peek().is_none() {
            return Self::counted(Flops::ZERO, Basis::Operations);
        }
        let sum = runs.fold(nothing, |sum, run| sum.plus(rules, run));
        let basis = if sum.training.is_some() { Basis::Operations } else { Basis::None };
        Self { basis, ..sum }
    }

    fn plus(mut self, rules: &RuleSet, run: &RunSummary) -> Self {
        let counted = run.flops.is_some();
        self.complete &= run.complete && counted;
        self.ceiling = self.ceiling.zip(run.ceiling.flop).map(|(before, own)| before + own);
        self.ceiling_complete &= run.ceiling.complete && run.ceiling.flop.is_some();
        if counted {
            let own = Sums::of(rules, &run.phases);
            self.training = Some(self.training.unwrap_or_default() + own.training);
            self.cumulative = Some(self.cumulative.unwrap_or_default() + own.cumulative);
            self.debatable = Some(self.debatable.unwrap_or_default() + own.debatable);
        }
        self
    }
}

#[derive(Default)]
struct Sums {
    training: Flops,
    cumulative: Flops,
    debatable: Flops,
}

impl Sums {
    fn of(rules: &RuleSet, phases: &[PhaseSummary]) -> Self {
        let mut sums = Self::default();
        for phase in phases {
            let work = phase.forward + phase.backward;
            match rules.counts(phase.phase.name()) {
                Counts::Training => {
                    sums.training += work;
                    sums.cumulative += work;
                }
                Counts::Cumulative => sums.cumulative += work,
                Counts::Debatable => {
                    sums.debatable += work;
                    sums.cumulative += work;
                }
                Counts::Neither => {}
            }
        }
        sums
    }
}
