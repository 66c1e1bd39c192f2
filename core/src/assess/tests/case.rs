//! A row of a decision table.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;

use super::super::{AnswerKey, AnswerValue, Band, Basis, LineKind, Status, Verdict, WatchState};
use crate::unit::Flops;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) rules: Option<String>,
    pub(super) as_of: Option<NaiveDate>,
    pub(super) base: Option<CaseBase>,
    pub(super) spent: CaseSpent,
    #[serde(default)]
    pub(super) answers: BTreeMap<AnswerKey, AnswerValue>,
    /// A house rule's file.
    pub(super) house: Option<String>,
    pub(super) expect: Expect,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CaseBase {
    pub(super) registry: Option<String>,
    pub(super) unresolved: Option<String>,
    pub(super) flop: Option<String>,
    pub(super) bound: Option<String>,
    pub(super) gpai: Option<bool>,
    pub(super) systemic_risk: Option<bool>,
    pub(super) parameters: Option<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "keys of a table, each one optional")]
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CaseSpent {
    pub(super) training: Option<Flops>,
    pub(super) cumulative: Option<Flops>,
    pub(super) no_cumulative: bool,
    /// The sum of a modification that has no runs; nothing else is given.
    pub(super) no_runs: bool,
    pub(super) complete: bool,
    pub(super) debatable: Option<Flops>,
    pub(super) ceiling: Option<Flops>,
    pub(super) ceiling_complete: bool,
    pub(super) other: BTreeMap<String, Flops>,
    pub(super) merged: Option<Flops>,
    /// Other measures of the same work.
    pub(super) attention_context: Option<Flops>,
    pub(super) tokens: Option<Flops>,
    pub(super) hardware: Option<Flops>,
    /// The two sums of a run that somebody left out.
    pub(super) excluded_training: Option<Flops>,
    pub(super) excluded_cumulative: Option<Flops>,
    /// Days with what was spent on them, cumulatively.
    pub(super) by_day: BTreeMap<NaiveDate, Flops>,
}

impl Default for CaseSpent {
    fn default() -> Self {
        Self {
            training: None,
            cumulative: None,
            no_cumulative: false,
            no_runs: false,
            complete: true,
            debatable: None,
            ceiling: None,
            ceiling_complete: false,
            other: BTreeMap::new(),
            merged: None,
            attention_context: None,
            tokens: None,
            hardware: None,
            excluded_training: None,
            excluded_cumulative: None,
            by_day: BTreeMap::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) verdict: Option<Verdict>,
    pub(super) status: Option<Status>,
    pub(super) band: Option<Band>,
    pub(super) basis: Option<Basis>,
    pub(super) kind: Option<LineKind>,
    pub(super) rule: Option<String>,
    pub(super) place: Option<String>,
    pub(super) status_place: Option<String>,
    pub(super) line_flop: Option<Flops>,
    pub(super) base_flop: Option<Flops>,
    pub(super) ratio: Option<String>,
    pub(super) share: Option<String>,
    pub(super) no_line: bool,
    pub(super) missing: Vec<String>,
    pub(super) findings: Vec<String>,
    pub(super) no_findings: Vec<String>,
    pub(super) readings: Vec<String>,
    pub(super) no_readings: Vec<String>,
    /// Readings with their verdicts.
    pub(super) reading_verdicts: BTreeMap<String, Verdict>,
    pub(super) owed: Vec<String>,
    pub(super) conditional: Vec<String>,
    pub(super) no_obligations: Vec<String>,
    /// Rows that the status rests on.
    pub(super) reasons: Vec<String>,
    /// Questions that are open.
    pub(super) questions: Vec<String>,
    pub(super) no_questions: Vec<String>,
    /// Duties whose first day is put off, with that day.
    pub(super) deferred: BTreeMap<String, NaiveDate>,
    /// Duties with the relief they have.
    pub(super) reliefs: BTreeMap<String, String>,
    pub(super) no_reliefs: Vec<String>,
    pub(super) watch: Option<WatchState>,
    pub(super) watch_total: Option<Flops>,
    pub(super) notify_by: Option<NaiveDate>,
    pub(super) overdue: Option<bool>,
    pub(super) no_clock: bool,
    pub(super) house_verdict: Option<Verdict>,
    pub(super) house_line: Option<Flops>,
}
