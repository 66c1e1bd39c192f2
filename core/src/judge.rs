//! One judge for a whole session or command: what does not change from one assessment to the next.

use std::borrow::Cow;

use chrono::NaiveDate;

use crate::alert::Stand;
use crate::assess::{
    Answers, Assessment, Cumulated, ExcludedRun, InputDigest, Inputs, Question, Reckoning, Spent, Verdict,
};
use crate::budget::ToCome;
use crate::facts::Progress;
use crate::forecast::{Range, grown, projected_total};
use crate::gpu_table::GpuTable;
use crate::lineage::Ancestry;
use crate::registry::Base;
use crate::rules::{CumulationKey, RuleSet};
use crate::run::RunSummary;
use crate::unit::Flops;

/// Everything an assessment needs but the runs.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The base model; `None` if nobody named one.
    pub base: Option<Base<'static>>,
    /// The rule set.
    pub rules: &'static RuleSet,
    /// The day as of which it was chosen.
    pub as_of: NaiveDate,
    /// Declared answers.
    pub answers: Answers,
    /// What stands between the modification and its original, where anything does; `base` is then not looked at.
    pub ancestry: Option<Ancestry>,
}

impl Judge {
    /// Where the law puts these runs together; `heads` are the ends of their chains.
    pub fn assess<'r>(&self, runs: impl IntoIterator<Item = &'r RunSummary>, heads: Vec<InputDigest>) -> Assessment {
        self.assess_without(runs, Vec::new(), heads)
    }

    /// The same with runs that a named person left out: they stand in no sum, and the assessment says who left them out and why.
    pub fn assess_without<'r>(
        &self,
        runs: impl IntoIterator<Item = &'r RunSummary>,
        excluded: Vec<ExcludedRun>,
        heads: Vec<InputDigest>,
    ) -> Assessment {
        let runs: Vec<&RunSummary> = runs.into_iter().collect();
        let spent = Spent::of_modification(self.rules, runs.iter().copied(), excluded, self.is_merge());
        let largest = largest_job(self.rules, &runs);
        self.assess_read(spent, largest.as_ref(), heads)
    }

    /// The same for a sum that is already formed, as a plan has it.
    pub fn assess_spent(&self, spent: Spent, heads: Vec<InputDigest>) -> Assessment {
        self.assess_read(spent, None, heads)
    }

    fn assess_read(&self, spent: Spent, largest_job: Option<&Spent>, heads: Vec<InputDigest>) -> Assessment {
        let reckonings = self.reckon(&spent, largest_job);
        let mut assessment = Cumulated { question: &self.question(spent, heads), reckonings: &reckonings }.assess();
        if let Some(ancestry) = &self.ancestry {
            assessment.findings.extend(ancestry.findings(self.rules));
        }
        assessment
    }

    /// The ways to hold what was spent against an original; a modification of one original has one, and its largest job another.
    pub fn reckon(&self, spent: &Spent, largest_job: Option<&Spent>) -> Vec<Reckoning> {
        if let Some(ancestry) = &self.ancestry {
            return ancestry.reckon(spent, largest_job);
        }
        let way = |key, spent: &Spent| Reckoning { key, base: self.base.clone(), spent: spent.clone() };
        let together = way(CumulationKey::OwnModificationsOfSameOriginal, spent);
        core::iter::once(together).chain(largest_job.map(|job| way(CumulationKey::PerJob, job))).collect()
    }

    /// Whether what it is held against was published in GPU-hours as well, so that the time that devices are held matters.
    pub fn compares_hardware(&self) -> bool {
        let of = |base: &Base<'_>| matches!(base, Base::Registry(model) if model.hardware_flop.is_some());
        match &self.ancestry {
            Some(ancestry) => ancestry.originals().any(of),
            None => self.base.as_ref().is_some_and(of),
        }
    }

    fn is_merge(&self) -> bool {
        self.ancestry.as_ref().is_some_and(Ancestry::is_merge)
    }

    /// The compute line alone, for a sum that is already formed.
    pub fn verdict(&self, spent: Spent) -> Verdict {
        let reckonings = self.reckon(&spent, None);
        Cumulated { question: &self.bare_question(spent), reckonings: &reckonings }.verdict()
    }

    /// The same by the house rule, if there is one; it never takes the place of the law's.
    pub fn house_verdict(&self, spent: Spent) -> Option<Verdict> {
        let reckonings = self.reckon(&spent, None);
        Cumulated { question: &self.bare_question(spent), reckonings: &reckonings }.house_verdict()
    }

    /// A judge by the organisation's own lines, where there are any: what it says is not the law.
    pub fn by_house(&self) -> Option<Self> {
        let house = self.rules.house()?;
        Some(Self { rules: &house.rules, ..self.clone() })
    }

    /// Where this sum puts the modification as levels see it: what was counted as if nothing were missing, because a lower bound that
    /// is inside the margin cannot turn out below it. `None` where nothing was counted.
    pub fn stand(&self, mut spent: Spent) -> Option<Stand> {
        spent.training?;
        let is_lower_bound = !spent.complete || self.ancestry.as_ref().is_some_and(|ancestry| !ancestry.is_complete());
        spent.complete = true;
        let assessment = self.of_what_was_counted().assess_spent(spent, Vec::new());
        Some(Stand::new(self.rules, assessment, is_lower_bound))
    }

    /// The judge as if everything behind the modification had been counted.
    pub(crate) fn of_what_was_counted(&self) -> Cow<'_, Self> {
        match &self.ancestry {
            Some(ancestry) if !ancestry.is_complete() => {
                Cow::Owned(Self { ancestry: Some(ancestry.as_complete()), ..self.clone() })
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// Where the modification would stand with a twentieth of the line more: a level that is not reached even so was left behind.
    pub fn eased(&self, spent: &Spent, stand: &Stand) -> Option<Stand> {
        let slack = stand.slack();
        let more = |sum: Option<Flops>| sum.map(|sum| sum + slack);
        self.stand(Spent { training: more(spent.training), cumulative: more(spent.cumulative), ..spent.clone() })
    }

    /// What the modification, which has spent `all`, will have spent once the run `own` has done `then` training operations.
    pub fn grown(&self, all: &Spent, own: &RunSummary, then: Flops) -> Spent {
        grown(all, &Spent::of_runs(self.rules, [own]), then)
    }

    /// Where `own` will end with the rest of its schedule like the part since `began` operations were spent, added to `all` that the
    /// modification has spent, to what is held for it, and to what is held behind it.
    pub fn forecast(
        &self,
        (all, reserved): (&Spent, &ToCome),
        own: &RunSummary,
        began: Flops,
        progress: Progress,
    ) -> Option<Forecast> {
        let since = Flops(own.flops?.training.0.saturating_sub(began.0));
        let total = projected_total(began, since, progress)?;
        let stand = self.after(reserved).stand(self.grown(all, own, total).and_more(reserved.own))?;
        let verdict = match stand.assessment.verdict {
            // What is missing from the count may bring it nearer.
            Verdict::Below if stand.is_lower_bound => Verdict::Undetermined,
            verdict => verdict,
        };
        Some(Forecast { total, verdict, ends: None })
    }

    fn question(&self, spent: Spent, heads: Vec<InputDigest>) -> Question<'_> {
        let gpu_table = InputDigest { name: "gpus.csv".to_owned(), digest: GpuTable::embedded_digest().to_owned() };
        let inputs = Inputs { gpu_table: Some(gpu_table), runs: heads, ..Inputs::default() };
        Question { inputs, ..self.bare_question(spent) }
    }

    fn bare_question(&self, spent: Spent) -> Question<'_> {
        Question {
            spent,
            base: self.base.as_ref(),
            rules: self.rules,
            as_of: self.as_of,
            answers: &self.answers,
            inputs: Inputs::default(),
        }
    }
}

/// What the largest of several jobs spent; not complete where a job that was not fully counted may be larger.
fn largest_job(rules: &RuleSet, runs: &[&RunSummary]) -> Option<Spent> {
    if runs.len() < 2 {
        return None;
    }
    let jobs: Vec<Spent> = runs.iter().map(|run| Spent::of_runs(rules, [*run])).collect();
    let complete = jobs.iter().all(|job| job.complete);
    let largest = jobs.into_iter().max_by_key(|job| (job.training, job.cumulative))?;
    Some(Spent { complete, ..largest })
}

/// Where a job will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Model operations of the run at the end of its schedule.
    pub total: Flops,
    /// The modification's verdict then.
    pub verdict: Verdict,
    /// How the total may turn out by how much the stretches so far differ, where two were seen.
    pub ends: Option<Range<Flops>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::{Basis, Measures};
    use crate::registry::Registry;

    #[test]
    fn held_gpus_raise_the_verdict_of_a_base_that_publishes_its_gpu_hours() {
        let as_of = NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
        let judge = |id: &str| Judge {
            base: Some(Base::Registry(Registry::embedded().unwrap().lookup_name_or_path(id).unwrap())),
            rules: RuleSet::in_force(as_of).unwrap(),
            as_of,
            answers: Answers::default(),
            ancestry: None,
        };
        let (hours, none) = (judge("meta-llama/Llama-3.1-8B"), judge("Qwen/Qwen2.5-7B"));
        assert!(hours.compares_hardware() && !none.compares_hardware());
        // 5.2e24 by its GPU-hours: near from 7/39 of it.
        let held = |flop: &str| Spent {
            measures: Measures { hardware: Some(flop.parse().unwrap()), ..Measures::default() },
            ..Spent::counted(Flops(1), Basis::Operations)
        };
        let at = |judge: &Judge, flop: &str| judge.stand(held(flop)).unwrap().assessment.verdict;
        assert_eq!((at(&hours, "9.3e23"), at(&hours, "9.4e23")), (Verdict::Below, Verdict::Near));
        assert_eq!(at(&none, "9.4e23"), Verdict::Below);
    }
}
