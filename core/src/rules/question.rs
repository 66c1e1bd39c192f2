//! The rows of a rule set file that ask, conclude and contradict.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::row::{Cite, When};
use crate::assess::{AnswerKey, AnswerValue};

/// A question that somebody has to answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QuestionRow {
    /// Which.
    pub key: AnswerKey,
    /// What answers it.
    pub kind: QuestionKind,
    /// The choices, where it is one.
    #[serde(default)]
    pub choices: Vec<String>,
    /// What its answer can change.
    pub bears_on: Vec<Bearing>,
    /// The question, in one sentence.
    pub asks: String,
    /// Where it stands.
    pub cite: Cite,
}

/// What answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuestionKind {
    /// Yes or no.
    YesNo,
    /// A day.
    Day,
    /// One of the named choices.
    Choice,
}

/// What an answer can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bearing {
    /// The compute line.
    Verdict,
    /// Who is provider.
    Status,
    /// What a provider owes.
    Duties,
}

/// A text that does not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is answered with {wanted}, not with `{text}`")]
pub struct AnswerProblem {
    /// Name of the question.
    pub key: &'static str,
    /// What would answer it.
    pub wanted: String,
    /// What was said.
    pub text: String,
}

impl QuestionRow {
    /// What answers it, in words: `yes or no`, `a day such as 2026-11-21`, or the choices.
    pub fn wanted(&self) -> String {
        match self.kind {
            QuestionKind::YesNo => "yes or no".to_owned(),
            QuestionKind::Day => "a day such as 2026-11-21".to_owned(),
            QuestionKind::Choice => format!("one of {}", self.choices.join(", ")),
        }
    }

    /// The same as a command line shows it: `yes|no`, `DATE`, or the choices.
    pub fn placeholder(&self) -> String {
        match self.kind {
            QuestionKind::YesNo => "yes|no".to_owned(),
            QuestionKind::Day => "DATE".to_owned(),
            QuestionKind::Choice => self.choices.join("|"),
        }
    }

    /// Reads an answer to this question.
    pub fn read(&self, text: &str) -> Result<AnswerValue, AnswerProblem> {
        let value = match (self.kind, text) {
            (QuestionKind::YesNo, "yes" | "true") => Some(AnswerValue::YesNo(true)),
            (QuestionKind::YesNo, "no" | "false") => Some(AnswerValue::YesNo(false)),
            (QuestionKind::YesNo, _) => None,
            (QuestionKind::Day, day) => day.parse().ok().map(AnswerValue::Day),
            (QuestionKind::Choice, choice) => {
                self.choices.iter().find(|known| *known == choice).cloned().map(AnswerValue::Choice)
            }
        };
        value.ok_or_else(|| AnswerProblem {
            key: self.key.name(),
            wanted: self.wanted(),
            text: text.chars().take(80).collect(),
        })
    }
}

/// What follows from other answers: the rules that make one question out of several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivationRow {
    /// Stable short name.
    pub code: String,
    /// The question it answers, where nobody answered that by itself.
    pub key: AnswerKey,
    /// With yes or no.
    pub value: bool,
    /// When it follows.
    pub when: When,
    /// Why.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// Answers that cannot all be true.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContradictionRow {
    /// Stable short name.
    pub code: String,
    /// The answers; two at least.
    pub answers: BTreeMap<AnswerKey, Expectation>,
    /// Why not.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// What makes a duty lighter or later.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReliefRow {
    /// Stable short name.
    pub code: String,
    /// Codes of the duties.
    pub obligations: Vec<String>,
    /// When it holds.
    pub when: When,
    /// Key of the date until which the duties wait.
    pub defers_to: Option<String>,
    /// What it gives.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// What an answer has to be. Where nobody answered, the first form may still turn out so; the `declared` form does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// `yes`.
    Yes,
    /// `no`.
    No,
    /// `declared-yes`: somebody declared yes, or it follows from what was declared.
    DeclaredYes,
    /// `declared-no`.
    DeclaredNo,
    /// `answered-yes`: somebody answered that very question with yes; what only follows from other answers does not count.
    AnsweredYes,
    /// `declared`: somebody declared something.
    Declared,
    /// `is CHOICE`.
    Is(String),
    /// `declared CHOICE`.
    DeclaredIs(String),
    /// `before KEY`: a day before that date of the rule set.
    Before(String),
    /// `declared-before KEY`.
    DeclaredBefore(String),
}

impl Expectation {
    /// The kind of question it can be put to; `None` for any.
    pub const fn kind(&self) -> Option<QuestionKind> {
        match self {
            Self::Yes | Self::No | Self::DeclaredYes | Self::DeclaredNo | Self::AnsweredYes => {
                Some(QuestionKind::YesNo)
            }
            Self::Is(_) | Self::DeclaredIs(_) => Some(QuestionKind::Choice),
            Self::Before(_) | Self::DeclaredBefore(_) => Some(QuestionKind::Day),
            Self::Declared => None,
        }
    }

    /// Whether `value` is what is expected; `date` gives the dates of the rule set.
    pub fn is_met_by(&self, value: &AnswerValue, date: impl Fn(&str) -> Option<NaiveDate>) -> bool {
        match self {
            Self::Yes | Self::DeclaredYes | Self::AnsweredYes => value.yes_no() == Some(true),
            Self::No | Self::DeclaredNo => value.yes_no() == Some(false),
            Self::Declared => true,
            Self::Is(choice) | Self::DeclaredIs(choice) => value.choice() == Some(choice),
            Self::Before(key) | Self::DeclaredBefore(key) => {
                value.day().zip(date(key)).is_some_and(|(day, end)| day < end)
            }
        }
    }

    /// Whether it may still be met where nobody answered.
    pub const fn may_be_unanswered(&self) -> bool {
        matches!(self, Self::Yes | Self::No | Self::Is(_) | Self::Before(_))
    }
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = match text.split_once(' ') {
            None => match text.as_str() {
                "yes" => Some(Self::Yes),
                "no" => Some(Self::No),
                "declared-yes" => Some(Self::DeclaredYes),
                "declared-no" => Some(Self::DeclaredNo),
                "answered-yes" => Some(Self::AnsweredYes),
                "declared" => Some(Self::Declared),
                _ => None,
            },
            Some(("is", choice)) => Some(Self::Is(choice.to_owned())),
            Some(("declared", choice)) => Some(Self::DeclaredIs(choice.to_owned())),
            Some(("before", key)) => Some(Self::Before(key.to_owned())),
            Some(("declared-before", key)) => Some(Self::DeclaredBefore(key.to_owned())),
            Some(_) => None,
        };
        found.ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no expectation such as `yes`, `declared-no`, `is CHOICE` or `before DATE-KEY`"
            ))
        })
    }
}
