//! What people declare: legal facts that no counter knows.

use core::fmt;
use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::AnswerKey;
use crate::ledger::Digest;

/// What an answer says. In JSON a truth value or a text: a text that is a day is read as one.
///
/// ```
/// use flopsmeter_core::assess::AnswerValue;
/// let read = |json| serde_json::from_str::<AnswerValue>(json).unwrap();
/// assert_eq!(read("true"), AnswerValue::YesNo(true));
/// assert_eq!(read("\"2025-06-01\"").day(), "2025-06-01".parse().ok());
/// assert_eq!(read("\"modifier\"").choice(), Some("modifier"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerValue {
    /// Yes or no.
    YesNo(bool),
    /// A day.
    Day(NaiveDate),
    /// One of the choices that the rule set names.
    Choice(String),
}

impl AnswerValue {
    /// Yes or no, if it is that.
    pub const fn yes_no(&self) -> Option<bool> {
        match self {
            Self::YesNo(value) => Some(*value),
            Self::Day(_) | Self::Choice(_) => None,
        }
    }

    /// The day, if it is one.
    pub const fn day(&self) -> Option<NaiveDate> {
        match self {
            Self::Day(day) => Some(*day),
            Self::YesNo(_) | Self::Choice(_) => None,
        }
    }

    /// The choice, if it is one.
    pub fn choice(&self) -> Option<&str> {
        match self {
            Self::Choice(choice) => Some(choice),
            Self::YesNo(_) | Self::Day(_) => None,
        }
    }
}

impl From<bool> for AnswerValue {
    fn from(value: bool) -> Self {
        Self::YesNo(value)
    }
}

impl fmt::Display for AnswerValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::YesNo(true) => formatter.write_str("yes"),
            Self::YesNo(false) => formatter.write_str("no"),
            Self::Day(day) => day.fmt(formatter),
            Self::Choice(choice) => formatter.write_str(choice),
        }
    }
}

/// What somebody declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What it says.
    pub value: AnswerValue,
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
/// let answers = Answers::default().with(AnswerKey::BaseIsGpai, Answer { value: true.into(), by: "Ada".into(), date });
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
        self.get(key).and_then(|answer| answer.value.yes_no())
    }

    /// The declared day of a question that asks for one.
    pub fn day(&self, key: AnswerKey) -> Option<NaiveDate> {
        self.get(key).and_then(|answer| answer.value.day())
    }

    /// SHA-256 of the answers as JSON, in their fixed order; `None` where nobody answered anything.
    pub fn digest(&self) -> Option<Digest> {
        if self.0.is_empty() {
            return None;
        }
        let text = serde_json::to_string(self).ok()?;
        Some(Digest(Sha256::digest(text.as_bytes()).into()))
    }

    /// All answers, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (AnswerKey, &Answer)> {
        self.0.iter().map(|(key, answer)| (*key, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_that_know_yes_and_no_alone_are_still_read() {
        let old = r#"{"value":true,"by":"Ada","date":"2026-11-21"}"#;
        let answer: Answer = serde_json::from_str(old).unwrap();
        assert_eq!(answer.value, AnswerValue::YesNo(true));
        assert_eq!(serde_json::to_string(&answer).unwrap(), old, "and are written as they were");
    }

    #[test]
    fn the_digest_tells_answers_apart() {
        let answer = |value: bool| Answer { value: value.into(), by: "Ada".to_owned(), date: NaiveDate::MIN };
        let digest = |value| Answers::default().with(AnswerKey::Sme, answer(value)).digest();
        assert_eq!(Answers::default().digest(), None);
        assert!(digest(true).is_some());
        assert_eq!(digest(true), digest(true));
        assert_ne!(digest(true), digest(false));
    }

    #[test]
    fn every_kind_of_answer_survives_its_text() {
        for value in
            [AnswerValue::YesNo(false), AnswerValue::Day(NaiveDate::MIN), AnswerValue::Choice("modifier".to_owned())]
        {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<AnswerValue>(&text).unwrap(), value, "{text}");
        }
    }
}
