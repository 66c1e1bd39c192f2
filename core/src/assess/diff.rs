//! What another rule set changes for one modification.

use serde::{Deserialize, Serialize};

use super::reasoning::word;
use super::{Assessment, Obligation};
use crate::rules::{RowChange, RuleSet};

/// Version of the form of [`RulesDiff`] in JSON.
pub const DIFF_SCHEMA: &str = "flopsmeter.rules-diff/1";

/// What another rule set changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesDiff {
    /// [`DIFF_SCHEMA`].
    pub schema: String,
    /// The assessment under the one set.
    pub from: Assessment,
    /// The same under the other.
    pub to: Assessment,
    /// What of the result is another: verdict, status, line, sums, citations, readings.
    pub changes: Vec<Change>,
    /// Duties that only the other set gives.
    pub obligations_added: Vec<Obligation>,
    /// Duties that only the one set gives.
    pub obligations_removed: Vec<Obligation>,
    /// What stands differently in the sets themselves, whether it matters here or not.
    pub rows: Vec<RowChange>,
}

/// One part of the result that is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which, for example `verdict` or `line.citation`.
    pub what: String,
    /// Under the one set; `None` where there was none.
    pub from: Option<String>,
    /// Under the other.
    pub to: Option<String>,
}

impl RulesDiff {
    /// Whether verdict, status, line and duties are the same.
    pub fn leaves_the_result(&self) -> bool {
        self.changes.iter().all(|change| change.what.ends_with("citation"))
            && self.obligations_added.is_empty()
            && self.obligations_removed.is_empty()
    }
}

/// Compares two assessments of the same facts under two rule sets.
pub fn diff(from: (Assessment, &RuleSet), to: (Assessment, &RuleSet)) -> RulesDiff {
    let ((from, from_rules), (to, to_rules)) = (from, to);
    let mut changes = Vec::new();
    for (what, own, other) in told(&from).into_iter().zip(told(&to)).map(|((what, own), (_, other))| (what, own, other))
    {
        if own != other {
            changes.push(Change { what: what.to_owned(), from: own, to: other });
        }
    }
    let without = |these: &[Obligation], those: &[Obligation]| -> Vec<Obligation> {
        these.iter().filter(|duty| !those.iter().any(|other| other.code == duty.code)).cloned().collect()
    };
    changes.extend(of_duties(&from.obligations, &to.obligations));
    RulesDiff {
        schema: DIFF_SCHEMA.to_owned(),
        changes,
        obligations_added: without(&to.obligations, &from.obligations),
        obligations_removed: without(&from.obligations, &to.obligations),
        rows: from_rules.changes_to(to_rules),
        from,
        to,
    }
}

/// The parts of a result that are compared, each as it is told.
fn told(assessment: &Assessment) -> [(&'static str, Option<String>); 12] {
    let line = assessment.line.as_ref();
    let watch = assessment.systemic_risk_watch.as_ref();
    let reasons = |certain: bool| {
        let rows = assessment.reasons.iter().filter(|reason| reason.outcome.is_some() && reason.certain == certain);
        let codes: Vec<&str> = rows.map(|reason| reason.code.as_str()).collect();
        (!codes.is_empty()).then(|| codes.join(", "))
    };
    let decided = assessment.reasons.iter().rev().find(|reason| reason.outcome.is_some());
    [
        ("verdict", Some(word(assessment.verdict))),
        ("status", Some(word(assessment.status))),
        ("line", line.map(|line| line.flop.to_string())),
        ("line.rule", line.map(|line| line.rule.clone())),
        ("line.citation", line.map(|line| format!("{}, {}", line.citation.instrument, line.citation.place))),
        ("band", assessment.band.map(word)),
        ("training-compute", assessment.training_compute.map(|flop| flop.to_string())),
        ("cumulative-compute", assessment.cumulative_compute.map(|flop| flop.to_string())),
        ("status.reasons", reasons(true)),
        ("status.open-reasons", reasons(false)),
        ("status.citation", decided.map(|reason| format!("{}, {}", reason.citation.instrument, reason.citation.place))),
        ("systemic-risk-watch", watch.map(|watch| word(watch.state))),
    ]
}

/// Duties of both sets that are owed otherwise.
fn of_duties(from: &[Obligation], to: &[Obligation]) -> Vec<Change> {
    let pairs = from.iter().filter_map(|own| Some((own, to.iter().find(|other| other.code == own.code)?)));
    let mut changes = Vec::new();
    for (own, other) in pairs {
        let mut compare = |key: &str, from: String, to: String| {
            if from != to {
                changes.push(Change { what: format!("obligation.{}{key}", own.code), from: Some(from), to: Some(to) });
            }
        };
        let owed = |duty: &Obligation| {
            let how = if duty.conditional { "conditional" } else { "owed" };
            duty.applies_from.map_or_else(|| how.to_owned(), |day| format!("{how} from {day}"))
        };
        compare("", owed(own), owed(other));
        let place = |duty: &Obligation| format!("{}, {}", duty.citation.instrument, duty.citation.place);
        compare(".citation", place(own), place(other));
    }
    changes
}
