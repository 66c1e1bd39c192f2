//! What an assessment is asked.

use chrono::NaiveDate;

use super::{Answers, Basis, ExcludedRun, Inputs, Measures};
use crate::facts::Phase;
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
    /// Digests of what the caller read: runs, GPU table. Rule set, house rules, base model and answers are filled in.
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
    /// The same work by other measures than its operations.
    pub measures: Measures,
    /// Compute behind weights that were merged in or used as initialisation, beside the base's; `None` where nothing was.
    pub merged: Option<Flops>,
    /// Whether some of that is not known, so that the figure is a lower bound.
    pub merged_is_lower_bound: bool,
    /// When the work was done, where that is known; it need not be all of it.
    pub by_day: Vec<DayWork>,
    /// Runs that stand in no sum, because a named person declared so.
    pub excluded: Vec<ExcludedRun>,
}

/// Work that ended on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayWork {
    /// The day.
    pub day: NaiveDate,
    /// Its part of the training sum.
    pub training: Flops,
    /// Its part of the cumulative sum.
    pub cumulative: Flops,
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
            measures: Measures::default(),
            merged: None,
            merged_is_lower_bound: false,
            by_day: Vec::new(),
            excluded: Vec::new(),
        }
    }
}

impl Spent {
    /// Complete training operations and nothing else: what a plan knows.
    pub fn counted(training: Flops, basis: Basis) -> Self {
        Self { training: Some(training), cumulative: Some(training), complete: true, basis, ..Self::default() }
    }

    /// Adds up runs, each kind of work as the rule set counts it. Recomputation stays out of every sum. Of no runs
    /// nothing is known: the job may have run unmetered.
    pub fn of_runs<'r>(rules: &RuleSet, runs: impl IntoIterator<Item = &'r RunSummary>) -> Self {
        let nothing = Self {
            complete: true,
            ceiling: Some(Flops::ZERO),
            ceiling_complete: true,
            basis: Basis::Operations,
            measures: Measures::ZERO,
            ..Self::default()
        };
        let mut runs = runs.into_iter().peekable();
        if runs.peek().is_none() {
            return Self::default();
        }
        let sum = runs.fold(nothing, |sum, run| sum.plus(rules, run));
        let basis = if sum.training.is_some() { Basis::Operations } else { Basis::None };
        let mut by_day = sum.by_day.clone();
        by_day.sort_by_key(|work| (work.day, work.cumulative, work.training));
        Self { basis, by_day, ..sum }
    }

    fn plus(mut self, rules: &RuleSet, run: &RunSummary) -> Self {
        self.complete &= run.complete && run.flops.is_some();
        self.ceiling = self.ceiling.zip(run.ceiling.flop).map(|(before, own)| before + own);
        self.ceiling_complete &= run.ceiling.complete && run.ceiling.flop.is_some();
        let is_training = |phase: &PhaseSummary| counts_as(rules, phase, run.phase.as_deref()) == Counts::Training;
        if let Some(flops) = &run.flops {
            let own = Sums::of(rules, flops.training, run);
            self.training = Some(self.training.unwrap_or_default() + own.training);
            self.cumulative = Some(self.cumulative.unwrap_or_default() + own.cumulative);
            self.debatable = Some(self.debatable.unwrap_or_default() + own.debatable);
            let day = run.ended.unwrap_or(run.started).date_naive();
            self.by_day.push(DayWork { day, training: own.training, cumulative: own.cumulative });
            self.measures = self.measures + Measures::of_run(run, own.training, is_training);
        } else {
            self.measures = Measures::default();
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
    /// `training` is the run's own sum of passes that a backward pass follows.
    fn of(rules: &RuleSet, training: Flops, run: &RunSummary) -> Self {
        let mut sums = Self { training, cumulative: training, debatable: Flops::ZERO };
        let mut in_training_steps = Flops::ZERO;
        for phase in &run.phases {
            let work = phase.forward + phase.backward;
            let counts = counts_as(rules, phase, run.phase.as_deref());
            if counts == Counts::Training {
                in_training_steps += work;
                continue;
            }
            // The run's own sum has every pass that a backward pass follows, also those that update an auxiliary model.
            if phase.backward > Flops::ZERO {
                sums.leave_out(work);
            }
            match counts {
                Counts::Training | Counts::Neither => {}
                Counts::Cumulative => sums.cumulative += work,
                Counts::Debatable => sums.add_debatable(work),
            }
        }
        // What runs within training steps without a gradient is another model's work, such as a reference model's.
        sums.add_debatable(Flops(in_training_steps.0.saturating_sub(sums.training.0)));
        sums
    }

    fn leave_out(&mut self, work: Flops) {
        self.training = Flops(self.training.0.saturating_sub(work.0));
        self.cumulative = Flops(self.cumulative.0.saturating_sub(work.0));
    }

    fn add_debatable(&mut self, work: Flops) {
        self.debatable += work;
        self.cumulative += work;
    }
}

/// How one kind of work of a run counts that was declared to be of the kind `declared`.
///
/// The declaration stands on a command line and is nobody's by name. It says what a hook cannot tell, and takes nothing out of both
/// sums: what trains is computed both ways where the rule set counts the declared kind otherwise, and counts where it counts it as neither.
fn counts_as(rules: &RuleSet, phase: &PhaseSummary, declared: Option<&str>) -> Counts {
    let seen = rules.counts(phase.phase.name());
    let Some(declared) = declared.map(|name| rules.counts(name)) else { return seen };
    match (phase.phase, declared) {
        // Leaving work out takes a declaration with a name.
        (Phase::Training, Counts::Training | Counts::Neither) => Counts::Training,
        (Phase::Training, _) => Counts::Debatable,
        (Phase::Generation | Phase::Other, Counts::Cumulative) => Counts::Cumulative,
        _ => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Phase;
    use crate::run::{RUN_SCHEMA, RunFlops, RunTokens};

    fn phase(phase: Phase, forward: u128, backward: u128) -> PhaseSummary {
        let (forward, backward) = (Flops(forward), Flops(backward));
        let tokens = RunTokens::default();
        let (recompute, terms, treatment) = (Flops(1000), Vec::new(), None);
        PhaseSummary { phase, passes: 1, tokens, forward, backward, recompute, terms, treatment }
    }

    fn run(training: Option<u128>, phases: Vec<PhaseSummary>, complete: bool) -> RunSummary {
        let run = serde_json::json!({
            "schema": RUN_SCHEMA, "run": "r", "state": "closed", "started": "2026-11-21T00:00:00Z", "command": [],
            "complete": complete, "tokens": { "fed": 0, "real": null }, "phases": [], "models": [], "gaps": [], "findings": [], "alerts": [],
            "ceiling": { "flop": "10000", "layer": "L0", "complete": true, "devices": [] },
        });
        let flops = training.map(|sum| RunFlops { training: Flops(sum), ..RunFlops::default() });
        RunSummary { flops, phases, ..serde_json::from_value(run).unwrap() }
    }

    fn rules() -> &'static RuleSet {
        RuleSet::embedded("eu-gpai-2026-07-27").unwrap()
    }

    #[test]
    fn each_kind_of_work_goes_where_the_rule_set_says() {
        let phases = vec![
            phase(Phase::Training, 100, 200),
            phase(Phase::Evaluation, 7000, 0),
            phase(Phase::Generation, 30, 0),
            phase(Phase::Other, 5, 0),
        ];
        let spent = Spent::of_runs(rules(), [&run(Some(300), phases, true)]);
        assert_eq!(
            (spent.training, spent.debatable, spent.cumulative),
            (Some(Flops(300)), Some(Flops(35)), Some(Flops(335)))
        );
        assert!(spent.complete && spent.ceiling_complete);
        assert_eq!(spent.basis, Basis::Operations);
    }

    #[test]
    fn updates_of_an_auxiliary_model_are_not_the_modifications() {
        let phases = vec![phase(Phase::Training, 100, 200), phase(Phase::ValueModel, 10, 20)];
        let spent = Spent::of_runs(rules(), [&run(Some(330), phases, true)]);
        assert_eq!(
            (spent.training, spent.debatable, spent.cumulative),
            (Some(Flops(300)), Some(Flops(0)), Some(Flops(300)))
        );
    }

    #[test]
    fn every_kind_of_work_beside_the_update_is_debatable_until_the_law_says_more() {
        let beside = [
            Phase::ReferenceModel,
            Phase::Rollout,
            Phase::PolicyScoring,
            Phase::RewardScoring,
            Phase::ValueScoring,
            Phase::TeacherOnline,
        ];
        let phases = beside.map(|kind| phase(kind, 10, 0)).into_iter().chain([phase(Phase::Training, 100, 200)]);
        let spent = Spent::of_runs(rules(), [&run(Some(300), phases.collect(), true)]);
        assert_eq!(
            (spent.training, spent.debatable, spent.cumulative),
            (Some(Flops(300)), Some(Flops(60)), Some(Flops(360)))
        );
    }

    #[test]
    fn passes_without_gradient_in_a_training_step_are_debatable() {
        let spent = Spent::of_runs(rules(), [&run(Some(300), vec![phase(Phase::Training, 140, 200)], true)]);
        assert_eq!(
            (spent.training, spent.debatable, spent.cumulative),
            (Some(Flops(300)), Some(Flops(40)), Some(Flops(340)))
        );
    }

    #[test]
    fn runs_add_up_in_any_order_and_one_that_was_not_counted_leaves_the_sum_open() {
        let counted = run(Some(300), vec![phase(Phase::Training, 100, 200)], true);
        let unseen = run(None, Vec::new(), true);
        let spent = Spent::of_runs(rules(), [&counted, &unseen]);
        assert_eq!(spent, Spent::of_runs(rules(), [&unseen, &counted]));
        assert_eq!((spent.training, spent.complete, spent.ceiling), (Some(Flops(300)), false, Some(Flops(20_000))));
        let nothing = Spent::of_runs(rules(), [&unseen]);
        assert_eq!((nothing.training, nothing.basis), (None, Basis::None));
    }

    #[test]
    fn a_run_that_is_left_out_keeps_both_sums() {
        let phases =
            vec![phase(Phase::Training, 100, 200), phase(Phase::ValueModel, 10, 20), phase(Phase::Rollout, 30, 0)];
        let date = "2026-11-21".parse().unwrap();
        let (reason, by) = ("diverged".to_owned(), "Ada".to_owned());
        let declared = crate::ledger::body::RunExcluded { run: "r".to_owned(), reason, by, date };
        let out = ExcludedRun::of(rules(), &declared, &run(Some(330), phases, true));
        assert_eq!((out.training_compute, out.cumulative_compute), (Some(Flops(300)), Some(Flops(330))));
    }

    #[test]
    fn of_no_runs_nothing_is_known() {
        let spent = Spent::of_runs(rules(), []);
        assert_eq!(spent, Spent::default());
        assert_eq!((spent.training, spent.complete, spent.ceiling_complete), (None, false, false));
    }

    #[test]
    fn a_word_on_the_command_line_takes_no_training_out() {
        let declared = |kind: &str| {
            let run = run(Some(300), vec![phase(Phase::Training, 100, 200)], true);
            Spent::of_runs(rules(), [&RunSummary { phase: Some(kind.to_owned()), ..run }])
        };
        let neither: Vec<_> =
            rules().phases().iter().filter(|row| rules().counts(&row.name) == Counts::Neither).collect();
        assert!(!neither.is_empty());
        for row in neither {
            assert_eq!(declared(&row.name).training, Some(Flops(300)), "{}", row.name);
        }
    }
}
