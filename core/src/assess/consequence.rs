//! What follows: the reasons for the status, duties and what makes them lighter.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{Citation, Spent, Status};
use crate::ledger::body::RunExcluded;
use crate::rules::RuleSet;
use crate::run::RunSummary;
use crate::unit::Flops;

/// A row of the rule set that the status rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable short name.
    pub code: String,
    /// The status it gives; `None` for a row that only answers a question from other answers.
    pub outcome: Option<Status>,
    /// Whether it applies, or only may once open questions are answered.
    pub certain: bool,
    /// What it says, in the rule set's words.
    pub says: String,
    /// Where it stands.
    pub citation: Citation,
}

/// A duty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligation {
    /// Stable short name, for example `training-content-summary`.
    pub code: String,
    /// Article.
    pub citation: Citation,
    /// Whether it follows already, or only if open questions are answered one way.
    pub conditional: bool,
    /// What it asks, in the rule set's words.
    #[serde(default)]
    pub says: String,
    /// Whether it concerns the modification alone.
    #[serde(default)]
    pub limited_to_modification: bool,
    /// First day it applies to this model.
    #[serde(default)]
    pub applies_from: Option<NaiveDate>,
    /// Whether that day is put off and still to come.
    #[serde(default)]
    pub deferred: bool,
    /// What makes it lighter or later.
    #[serde(default)]
    pub reliefs: Vec<Relief>,
}

/// What makes a duty lighter or later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relief {
    /// Stable short name, for example `legacy-model`.
    pub code: String,
    /// What it gives, in the rule set's words.
    pub says: String,
    /// Article.
    pub citation: Citation,
}

/// A run that somebody declared to be left out of the sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedRun {
    /// Id of the run.
    pub run: String,
    /// Why, in the words of who declared it.
    pub reason: String,
    /// Who declared it.
    pub by: String,
    /// When.
    pub date: NaiveDate,
    /// What it would add to the training sum; `None` if it was not counted.
    pub training_compute: Option<Flops>,
    /// What it would add to the cumulative sum; `None` if it was not counted.
    #[serde(default)]
    pub cumulative_compute: Option<Flops>,
}

impl ExcludedRun {
    /// A run with the declaration that leaves it out, its work counted as the rule set counts that of any other run.
    pub fn of(rules: &RuleSet, declared: &RunExcluded, run: &RunSummary) -> Self {
        let spent = Spent::of_runs(rules, [run]);
        Self {
            run: declared.run.clone(),
            reason: declared.reason.clone(),
            by: declared.by.clone(),
            date: declared.date,
            training_compute: spent.training,
            cumulative_compute: spent.cumulative,
        }
    }
}
