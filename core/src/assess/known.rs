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
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) answers: &'a Answers,
    /// What the base's source and answers together say of it.
    pub(super) base_is_gpai: Option<bool>,
    pub(super) base_has_systemic_risk: Option<bool>,
    /// Whether the result has systemic risk; open where only a sum says so, or nothing is known of the base.
    pub(super) systemic_risk: Truth,
}

impl<'a> Known<'a> {
    /// Whether a question is answered yes, by somebody or by what follows from other answers.
    pub(super) fn truth(&self, key: AnswerKey) -> Truth {
        self.truth_before(key, usize::MAX)
    }

    /// Whether an answer is what a row expects.
    pub(super) fn meets(&self, key: AnswerKey, expected: &Expectation) -> Truth {
        self.meets_before(key, expected, usize::MAX)
    }

    /// What of a row's condition hangs on answers and on the risk.
    pub(super) fn holds(&self, when: &When) -> Truth {
        self.holds_before(when, usize::MAX)
    }

    /// The rows of the set that answer this question from others.
    pub(super) fn derivations_of(&self, key: AnswerKey) -> impl Iterator<Item = &'a DerivationRow> {
        self.rules.derivations().iter().filter(move |row| row.key == key)
    }

    /// A row of the derivations rests on rows before it alone, so this comes to an end.
    fn truth_before(&self, key: AnswerKey, before: usize) -> Truth {
        let of_base = match key {
            AnswerKey::BaseIsGpai => self.base_is_gpai,
            AnswerKey::BaseHasSystemicRisk => self.base_has_systemic_risk,
            _ => None,
        };
        match of_base.or_else(|| self.answers.value(key)) {
            Some(known) => Truth::certain(known),
            None => self.derived(key, before),
        }
    }

    fn derived(&self, key: AnswerKey, before: usize) -> Truth {
        let rows = self.rules.derivations().iter().enumerate().take(before).filter(|(_, row)| row.key == key);
        let mut found =
            rows.filter(|(at, row)| self.holds_before(&row.when, *at) == Truth::Yes).map(|(_, row)| row.value);
        match found.next() {
            Some(first) if found.all(|other| other == first) => Truth::certain(first),
            _ => Truth::Open,
        }
    }

    fn holds_before(&self, when: &When, before: usize) -> Truth {
        let risk = match when.systemic_risk {
            None => Truth::Yes,
            Some(true) => self.systemic_risk,
            Some(false) => self.systemic_risk.negated(),
        };
        when.answers.iter().map(|(key, expected)| self.meets_before(*key, expected, before)).fold(risk, Truth::min)
    }

    fn meets_before(&self, key: AnswerKey, expected: &Expectation, before: usize) -> Truth {
        let declared = self.answers.get(key).map(|answer| &answer.value);
        let known = match expected.kind() {
            Some(QuestionKind::YesNo) if *expected != Expectation::AnsweredYes => {
                self.truth_before(key, before).value().map(AnswerValue::YesNo)
            }
            _ => declared.cloned(),
        };
        let met = known.map(|value| expected.is_met_by(&value, |date| self.rules.date(date)));
        match Truth::of(met) {
            Truth::Open if !expected.may_be_unanswered() => Truth::No,
            truth => truth,
        }
    }
}
