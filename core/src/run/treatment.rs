//! How the law treats each kind of work of a run.

use serde::{Deserialize, Serialize};

use super::RunSummary;
use crate::assess::Citation;
use crate::facts::Phase;
use crate::rules::{Counts, RuleSet};

/// How a rule set treats one kind of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Treatment {
    /// In which of the two sums it counts.
    pub counts: Counts,
    /// The rule set that says so.
    pub rules: String,
    /// Why; `None` where the rule set has no row for it, which makes it debatable.
    pub says: Option<String>,
    /// Where it stands.
    pub citation: Option<Citation>,
}

impl Treatment {
    /// What a rule set says of a phase.
    ///
    /// ```
    /// use flopsmeter_core::facts::Phase;
    /// use flopsmeter_core::rules::{Counts, RuleSet};
    /// use flopsmeter_core::run::Treatment;
    /// let rules = RuleSet::embedded("eu-gpai-2026-07-27").unwrap();
    /// assert_eq!(Treatment::of(rules, Phase::Rollout).counts, Counts::Debatable);
    /// assert_eq!(Treatment::of(rules, Phase::ValueModel).counts, Counts::Neither);
    /// ```
    pub fn of(rules: &RuleSet, phase: Phase) -> Self {
        let row = rules.phase(phase.name());
        Self {
            counts: rules.counts(phase.name()),
            rules: rules.id().to_owned(),
            says: row.map(|row| row.says.clone()),
            citation: row.map(|row| rules.citation(&row.cite)),
        }
    }
}

impl RunSummary {
    /// Says of each phase how a rule set treats it.
    pub fn tag_phases(&mut self, rules: &RuleSet) {
        for phase in &mut self.phases {
            phase.treatment = Some(Treatment::of(rules, phase.phase));
        }
    }
}
