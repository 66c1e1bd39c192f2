//! What people declare: legal facts that no counter knows.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// A question that somebody has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AnswerKey {
    /// Is the base a general-purpose AI model?
    BaseIsGpai,
    /// Was its provider asked for the base's compute, did not tell, and can it not be estimated?
    BaseUnknowable,
    /// Has the base systemic risk (presumed, designated or notified)?
    BaseHasSystemicRisk,
    /// Does whoever modifies act for the base's original provider, or is it that provider?
    ActsForOriginalProvider,
    /// Is it non-professional or scientific research work?
    NonProfessionalOrResearch,
    /// Is the result placed on the Union market under the modifier's own name in a commercial activity?
    PlacedOnUnionMarket,
    /// Did generality, capabilities or systemic risk change significantly?
    ChangedSignificantly,
    /// Is whoever modifies established in the Union?
    EstablishedInUnion,
    /// Are the conditions of the open-source exemption met?
    OpenSourceConditionsMet,
}

impl AnswerKey {
    /// All questions.
    pub const ALL: [Self; 9] = [
        Self::BaseIsGpai,
        Self::BaseUnknowable,
        Self::BaseHasSystemicRisk,
        Self::ActsForOriginalProvider,
        Self::NonProfessionalOrResearch,
        Self::PlacedOnUnionMarket,
        Self::ChangedSignificantly,
        Self::EstablishedInUnion,
        Self::OpenSourceConditionsMet,
    ];

    /// Whether the answer bears on who counts as provider, and not on the compute line.
    pub const fn decides_status(self) -> bool {
        !matches!(self, Self::BaseIsGpai | Self::BaseUnknowable | Self::BaseHasSystemicRisk)
    }

    /// The question of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The name used in files, JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BaseIsGpai => "base-is-gpai",
            Self::BaseUnknowable => "base-unknowable",
            Self::BaseHasSystemicRisk => "base-has-systemic-risk",
            Self::ActsForOriginalProvider => "acts-for-original-provider",
            Self::NonProfessionalOrResearch => "non-professional-or-research",
            Self::PlacedOnUnionMarket => "placed-on-union-market",
            Self::ChangedSignificantly => "changed-significantly",
            Self::EstablishedInUnion => "established-in-union",
            Self::OpenSourceConditionsMet => "open-source-conditions-met",
        }
    }
}

/// What somebody declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Yes or no.
    pub value: bool,
    /// Who declares it.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// Declared answers; a question without one stays open.
///
/// ```
/// use flopsmeter_core::assess::{Answer, AnswerKey, Answers};
/// let date = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
/// let answers = Answers::default().with(AnswerKey::BaseIsGpai, Answer { value: true, by: "Ada".into(), date });
/// assert_eq!(answers.value(AnswerKey::BaseIsGpai), Some(true));
/// assert_eq!(answers.value(AnswerKey::BaseUnknowable), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answers(BTreeMap<AnswerKey, Answer>);

impl Answers {
    /// The same with one more answer, which replaces an earlier one to the same question.
    #[must_use]
    pub fn with(mut self, key: AnswerKey, answer: Answer) -> Self {
        self.declare(key, answer);
        self
    }

    /// Adds an answer, which replaces an earlier one to the same question.
    pub fn declare(&mut self, key: AnswerKey, answer: Answer) {
        self.0.insert(key, answer);
    }

    /// The answer with who gave it.
    pub fn get(&self, key: AnswerKey) -> Option<&Answer> {
        self.0.get(&key)
    }

    /// Yes, no or open.
    pub fn value(&self, key: AnswerKey) -> Option<bool> {
        self.get(key).map(|answer| answer.value)
    }

    /// All answers, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (AnswerKey, &Answer)> {
        self.0.iter().map(|(key, answer)| (*key, answer))
    }
}
