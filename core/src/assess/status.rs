//! Who is provider: the rule set's decision table over verdict and answers.

use super::known::{Known, Truth};
use super::{AnswerKey, Contradiction, LineKind, Reason, Status, Verdict};
use crate::rules::{StatusRow, When};

/// What the table is asked.
pub(super) struct Matter<'a> {
    pub(super) known: Known<'a>,
    pub(super) verdict: Verdict,
    pub(super) line: Option<LineKind>,
    /// Whether somebody can still say that the base has systemic risk.
    pub(super) base_risk_is_unanswered: bool,
}

/// What the table says.
#[derive(Clone, Debug)]
pub(super) struct Ruling<'a> {
    pub(super) status: Status,
    /// The rows that apply, or may apply once open questions are answered.
    pub(super) rows: Vec<&'a StatusRow>,
    /// Questions whose answers could still change the status.
    pub(super) open: Vec<AnswerKey>,
}

impl Ruling<'_> {
    /// Answers that cannot all be true carry no status: one of them has to be corrected first.
    pub(super) fn unless_contradicted(self, contradictions: &[Contradiction]) -> Self {
        if contradictions.is_empty() { self } else { Self { status: Status::Open, ..self } }
    }

    /// Whether the row of this code applies or may apply.
    pub(super) fn applies(&self, code: &str) -> bool {
        self.rows.iter().any(|row| row.code == code)
    }
}

impl<'a> Matter<'a> {
    /// The first row that applies decides; a row before it that may apply leaves the matter open where it says otherwise.
    pub(super) fn rule(&self) -> Ruling<'a> {
        let mut rows: Vec<&StatusRow> = Vec::new();
        for row in self.known.rules.status_rows() {
            let truth = self.holds(&row.when);
            if truth != Truth::No {
                rows.push(row);
            }
            if truth == Truth::Yes {
                break;
            }
        }
        let first = rows.first().map_or(Status::Open, |row| row.outcome);
        if rows.iter().all(|row| row.outcome == first) {
            let open = if first == Status::Open { self.open_questions(&rows) } else { Vec::new() };
            return Ruling { status: first, rows, open };
        }
        let open = self.open_questions(&rows);
        Ruling { status: Status::Open, rows, open }
    }

    /// The rows behind the status, and what derived the answers that they rest on, each with its place.
    pub(super) fn reasons(&self, ruling: &Ruling<'_>) -> Vec<Reason> {
        let decided = ruling.rows.last().map(|row| row.code.as_str());
        let mut considered: Vec<&StatusRow> = Vec::new();
        for row in self.known.rules.status_rows() {
            considered.push(row);
            if Some(row.code.as_str()) == decided {
                break;
            }
        }
        let mut reasons: Vec<Reason> = Vec::new();
        for derived in considered.iter().flat_map(|row| row.when.answers.keys()).flat_map(|key| self.derived(*key)) {
            if !reasons.contains(&derived) {
                reasons.push(derived);
            }
        }
        reasons.extend(ruling.rows.iter().map(|row| Reason {
            code: row.code.clone(),
            outcome: Some(row.outcome),
            certain: self.holds(&row.when) == Truth::Yes,
            says: row.says.clone(),
            citation: self.known.rules.citation(&row.cite),
        }));
        reasons
    }

    /// The rows that answered a question which nobody answered by itself.
    fn derived(&self, key: AnswerKey) -> Vec<Reason> {
        if self.known.answers.get(key).is_some() {
            return Vec::new();
        }
        let rows = self.known.derivations_of(key).filter(|row| self.known.holds(&row.when) == Truth::Yes);
        rows.map(|row| Reason {
            code: row.code.clone(),
            outcome: None,
            certain: true,
            says: row.says.clone(),
            citation: self.known.rules.citation(&row.cite),
        })
        .collect()
    }

    pub(super) fn holds(&self, when: &When) -> Truth {
        let verdict = when.verdict.is_empty() || when.verdict.contains(&self.verdict);
        let line = when.line.is_empty() || self.line.is_some_and(|kind| when.line.contains(&kind));
        if verdict && line { self.known.holds(when) } else { Truth::No }
    }

    /// What of a condition is still open.
    pub(super) fn open_in(&self, when: &When) -> Vec<AnswerKey> {
        let open = |key: &AnswerKey| {
            when.answers.get(key).is_some_and(|expected| self.known.meets(*key, expected) == Truth::Open)
        };
        let risk =
            (when.systemic_risk.is_some() && self.base_risk_is_unanswered).then_some(AnswerKey::BaseHasSystemicRisk);
        risk.into_iter().chain(when.answers.keys().copied().filter(open)).collect()
    }

    fn open_questions(&self, rows: &[&StatusRow]) -> Vec<AnswerKey> {
        let mut open = Vec::new();
        for key in rows.iter().flat_map(|row| self.open_in(&row.when)) {
            if !open.contains(&key) {
                open.push(key);
            }
        }
        open
    }
}
