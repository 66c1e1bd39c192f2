//! What is known of the legal facts: declared by somebody, known of the base, or following from other answers.

use super::{AnswerKey, AnswerValue, Answers};
use crate::rules::{DerivationRow, Expectation, QuestionKind, RuleSet, When};

/// Yes, no, or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    Open,
    Yes,
}

impl Truth {
    pub(super) const fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Open => Self::Open,
            Self::Yes => Self::No,
        }
    }

    pub(super) const fn certain(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn of(known: Option<bool>) -> Self {
        known.map_or(Self::Open, Self::certain)
    }

    const fn value(self) -> Option<bool> {
        match self {
            Self::No => Some(false),
            Self::Open => None,
            Self::Yes => Some(true),
        }
    }
}

/// Answers, with what else is known.
pub(super) struct Known<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) answers: &'a Answers,
    /// What the base's source and answers together say of it.
    pub(super) base_is_gpai: Option<bool>,
    pub(super) base_has_systemic_risk: Option<bool>,
    /// Whether the result has systemic risk; open where only a sum says so, or nothing is known of the base.
    pub(super) systemic_risk: Truth,
    /// Whether each row of the derivations applies.
    follows: Vec<bool>,
}

impl<'a> Known<'a> {
    /// `base` says whether the base is a general-purpose model, and whether it has systemic risk.
    pub(super) fn new(
        rules: &'a RuleSet,
        answers: &'a Answers,
        base: (Option<bool>, Option<bool>),
        systemic_risk: Truth,
    ) -> Self {
        let (base_is_gpai, base_has_systemic_risk) = base;
        let mut known =
            Self { rules, answers, base_is_gpai, base_has_systemic_risk, systemic_risk, follows: Vec::new() };
        // A rule set is only taken if each row rests on rows before it alone: those have been gone through.
        for row in rules.derivations() {
            let follows = known.holds(&row.when) == Truth::Yes;
            known.follows.push(follows);
        }
        known
    }

    /// Whether a question is answered yes, by somebody or by what follows from other answers.
    pub(super) fn truth(&self, key: AnswerKey) -> Truth {
        let of_base = match key {
            AnswerKey::BaseIsGpai => self.base_is_gpai,
            AnswerKey::BaseHasSystemicRisk => self.base_has_systemic_risk,
            _ => None,
        };
        match of_base.or_else(|| self.answers.value(key)) {
            Some(known) => Truth::certain(known),
            None => self.derived(key),
        }
    }

    /// What of a row's condition hangs on answers and on the risk.
    pub(super) fn holds(&self, when: &When) -> Truth {
        let risk = match when.systemic_risk {
            None => Truth::Yes,
            Some(true) => self.systemic_risk,
            Some(false) => self.systemic_risk.negated(),
        };
        when.answers.iter().map(|(key, expected)| self.meets(*key, expected)).fold(risk, Truth::min)
    }

    /// Whether an answer is what a row expects.
    pub(super) fn meets(&self, key: AnswerKey, expected: &Expectation) -> Truth {
        let declared = self.answers.get(key).map(|answer| &answer.value);
        let known = match expected.kind() {
            Some(QuestionKind::YesNo) if *expected != Expectation::AnsweredYes => {
                self.truth(key).value().map(AnswerValue::YesNo)
            }
            _ => declared.cloned(),
        };
        let met = known.map(|value| expected.is_met_by(&value, |date| self.rules.date(date)));
        match Truth::of(met) {
            Truth::Open if !expected.may_be_unanswered() => Truth::No,
            truth => truth,
        }
    }

    /// The rows of the set that answer this question from others.
    pub(super) fn derivations_of(&self, key: AnswerKey) -> impl Iterator<Item = &'a DerivationRow> {
        self.rules.derivations().iter().filter(move |row| row.key == key)
    }

    fn derived(&self, key: AnswerKey) -> Truth {
        let rows = self.rules.derivations().iter().zip(&self.follows);
        let mut found = rows.filter(|(row, follows)| **follows && row.key == key).map(|(row, _)| row.value);
        match found.next() {
            Some(first) if found.all(|other| other == first) => Truth::certain(first),
            _ => Truth::Open,
        }
    }
}
