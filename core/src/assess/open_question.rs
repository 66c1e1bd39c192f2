//! The questions that are still open, in the rule set's words.

use serde::{Deserialize, Serialize};

use super::known::Truth;
use super::status::{Matter, Ruling};
use super::{AnswerKey, Citation};
use crate::rules::{Bearing, QuestionKind, QuestionRow};

/// A question whose answer could still change the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenQuestion {
    /// Which.
    pub key: AnswerKey,
    /// The question of which this is a part, if its answer helps only through that.
    pub part_of: Option<AnswerKey>,
    /// What answers it.
    pub kind: QuestionKind,
    /// The choices, where it is one.
    pub choices: Vec<String>,
    /// What the answer can change.
    pub bears_on: Vec<Bearing>,
    /// The question.
    pub asks: String,
    /// Where it stands.
    pub citation: Citation,
}

impl Matter<'_> {
    /// Open questions, each followed by its parts. `for_verdict` are those that the compute line hangs on.
    pub(super) fn open(&self, ruling: &Ruling<'_>, for_verdict: &[AnswerKey]) -> Vec<OpenQuestion> {
        let mut keys: Vec<AnswerKey> = for_verdict.to_vec();
        keys.extend(&ruling.open);
        keys.extend(self.open_in_duties(ruling));
        let mut open: Vec<OpenQuestion> = Vec::new();
        for row in self.known.rules.questions().iter().filter(|row| keys.contains(&row.key)) {
            add(&mut open, self.asked(row, None));
            for part in self.parts_of(row.key) {
                if let Some(part) = self.known.rules.question(part) {
                    add(&mut open, self.asked(part, Some(row.key)));
                }
            }
        }
        open
    }

    fn parts_of(&self, key: AnswerKey) -> Vec<AnswerKey> {
        let rows = self.known.derivations_of(key).filter(|row| self.known.holds(&row.when) != Truth::No);
        let mut parts: Vec<AnswerKey> = Vec::new();
        for part in rows.flat_map(|row| row.when.answers.keys().copied()) {
            if self.known.answers.get(part).is_none() && self.known.truth(part) == Truth::Open && !parts.contains(&part)
            {
                parts.push(part);
            }
        }
        parts
    }

    fn asked(&self, row: &QuestionRow, part_of: Option<AnswerKey>) -> OpenQuestion {
        OpenQuestion {
            key: row.key,
            part_of,
            kind: row.kind,
            choices: row.choices.clone(),
            bears_on: row.bears_on.clone(),
            asks: row.asks.clone(),
            citation: self.known.rules.citation(&row.cite),
        }
    }
}

fn add(open: &mut Vec<OpenQuestion>, question: OpenQuestion) {
    if !open.iter().any(|known| known.key == question.key) {
        open.push(question);
    }
}
