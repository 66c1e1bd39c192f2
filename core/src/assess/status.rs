//! Who is provider: the rule set's decision table over verdict and answers, and the duties that follow.

use chrono::NaiveDate;

use super::{AnswerKey, Answers, LineKind, Obligation, Status, Verdict};
use crate::rules::{Expectation, ObligationRow, RuleSet, StatusRow, Subject, When};

/// What the table is asked.
#[derive(Clone, Copy)]
pub(super) struct Matter<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) as_of: NaiveDate,
    pub(super) answers: &'a Answers,
    pub(super) verdict: Verdict,
    pub(super) line: Option<LineKind>,
    /// Whether the result has systemic risk; open where only a sum says so, or nothing is known of the base.
    pub(super) systemic_risk: Truth,
    /// Whether somebody can still say that the base has it.
    pub(super) base_risk_is_unanswered: bool,
}

/// Yes, no, or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    Open,
    Yes,
}

impl Truth {
    const fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Open => Self::Open,
            Self::Yes => Self::No,
        }
    }
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
    /// Whether the row of this code applies or may apply.
    pub(super) fn applies(&self, code: &str) -> bool {
        self.rows.iter().any(|row| row.code == code)
    }
}

impl<'a> Matter<'a> {
    /// The first row that applies decides; a row before it that may apply leaves the matter open where it says otherwise.
    pub(super) fn rule(&self) -> Ruling<'a> {
        let mut rows: Vec<&StatusRow> = Vec::new();
        for row in self.rules.status_rows() {
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

    /// Duties of a provider, or of who may turn out to be one.
    pub(super) fn duties(&self, ruling: &Ruling<'_>) -> Vec<Obligation> {
        let provider = match ruling.status {
            Status::Provider => Truth::Yes,
            Status::NotProvider => Truth::No,
            Status::Open => Truth::Open,
        };
        let duties = self.rules.obligations().iter().filter_map(|row| self.duty(row, provider));
        duties.collect()
    }

    fn duty(&self, row: &ObligationRow, provider: Truth) -> Option<Obligation> {
        let subject = match row.applies_to {
            Subject::Provider => provider,
            Subject::SystemicRisk => provider.min(self.systemic_risk),
        };
        let in_force =
            row.from.is_none_or(|from| from <= self.as_of) && row.until.is_none_or(|until| self.as_of <= until);
        let stays = row.unless.as_ref().map_or(Truth::Yes, |unless| self.holds(unless).negated());
        let truth = subject.min(self.holds(&row.when)).min(stays).min(if in_force { Truth::Yes } else { Truth::No });
        (truth != Truth::No).then(|| Obligation {
            code: row.code.clone(),
            citation: self.rules.citation(&row.cite),
            conditional: truth == Truth::Open,
        })
    }

    fn holds(&self, when: &When) -> Truth {
        let verdict = when.verdict.is_empty() || when.verdict.contains(&self.verdict);
        let line = when.line.is_empty() || self.line.is_some_and(|kind| when.line.contains(&kind));
        if !verdict || !line {
            return Truth::No;
        }
        let risk = match when.systemic_risk {
            None => Truth::Yes,
            Some(true) => self.systemic_risk,
            Some(false) => self.systemic_risk.negated(),
        };
        when.answers.iter().map(|(key, expected)| self.answer(*key, *expected)).fold(risk, Truth::min)
    }

    fn answer(&self, key: AnswerKey, expected: Expectation) -> Truth {
        let certain = |holds: bool| if holds { Truth::Yes } else { Truth::No };
        match (expected, self.answers.value(key)) {
            (Expectation::Yes | Expectation::No, None) => Truth::Open,
            (Expectation::Yes | Expectation::DeclaredYes, value) => certain(value == Some(true)),
            (Expectation::No | Expectation::DeclaredNo, value) => certain(value == Some(false)),
        }
    }

    fn open_questions(&self, rows: &[&StatusRow]) -> Vec<AnswerKey> {
        let mut open = Vec::new();
        for row in rows {
            if row.when.systemic_risk.is_some() && self.base_risk_is_unanswered {
                open.push(AnswerKey::BaseHasSystemicRisk);
            }
            for (key, expected) in &row.when.answers {
                if self.answer(*key, *expected) == Truth::Open && !open.contains(key) {
                    open.push(*key);
                }
            }
        }
        open
    }
}
