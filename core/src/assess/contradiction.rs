//! Answers that cannot all be true.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::base_facts::BaseFacts;
use super::known::{Known, Truth};
use super::{AnswerKey, Answers, Citation};
use crate::registry::Base;
use crate::rules::{ContradictionRow, DerivationRow, RuleSet};

/// Answers that cannot all be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// Stable short name.
    pub code: String,
    /// The questions, and what else is involved.
    pub keys: Vec<String>,
    /// Why not, in one sentence.
    pub says: String,
    /// Where that stands; `None` where no law is needed to see it.
    pub citation: Option<Citation>,
}

/// What of these answers cannot be true together, by the rule set and by what is known of the base.
///
/// ```
/// use flopsmeter_core::assess::{Answer, AnswerKey, Answers, contradictions};
/// use flopsmeter_core::rules::RuleSet;
/// let date = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
/// let yes = Answer { value: true.into(), by: "Ada".into(), date };
/// let answers = Answers::default().with(AnswerKey::InternalUseOnly, yes.clone()).with(AnswerKey::MadeAvailableInUnion, yes);
/// let found = contradictions(RuleSet::in_force(date).unwrap(), None, &answers);
/// assert_eq!(found[0].keys, ["made-available-in-union", "internal-use-only"]);
/// ```
pub fn contradictions(rules: &RuleSet, base: Option<&Base<'_>>, answers: &Answers) -> Vec<Contradiction> {
    // Rows that ask for the risk are left to the assessment, which knows the sums.
    contradictions_at_risk(rules, base, answers, Truth::Open)
}

/// The same where it is known whether the result has systemic risk.
pub(super) fn contradictions_at_risk(
    rules: &RuleSet,
    base: Option<&Base<'_>>,
    answers: &Answers,
    systemic_risk: Truth,
) -> Vec<Contradiction> {
    let facts = base.map(|base| BaseFacts::of(base, rules, answers));
    let of_base = facts.map_or((None, None), |base| (base.is_gpai, base.has_systemic_risk));
    let known = Known::new(rules, answers, of_base, systemic_risk);
    let mut found: Vec<Contradiction> = Vec::new();
    for new in known.of_rows().chain(known.of_derivations()) {
        if !found.iter().any(|old| same(&old.keys, &new.keys)) {
            found.push(new);
        }
    }
    found.extend(base.and_then(|base| before_the_base(base, answers)));
    found
}

fn same(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|key| right.contains(key))
}

fn names(keys: impl IntoIterator<Item = AnswerKey>) -> Vec<String> {
    keys.into_iter().map(|key| key.name().to_owned()).collect()
}

impl Known<'_> {
    fn of_rows(&self) -> impl Iterator<Item = Contradiction> {
        let hold = |row: &&ContradictionRow| {
            row.answers.iter().all(|(key, expected)| self.meets(*key, expected) == Truth::Yes)
        };
        self.rules.contradictions().iter().filter(hold).map(|row| Contradiction {
            code: row.code.clone(),
            keys: names(self.answered_behind(row.answers.keys().copied())),
            says: row.says.clone(),
            citation: Some(self.rules.citation(&row.cite)),
        })
    }

    /// What people answered, of which these are or from which they follow: only an answer can be corrected.
    fn answered_behind(&self, keys: impl Iterator<Item = AnswerKey>) -> BTreeSet<AnswerKey> {
        let mut pending: Vec<AnswerKey> = keys.collect();
        let (mut seen, mut answered) = (BTreeSet::new(), BTreeSet::new());
        while let Some(key) = pending.pop() {
            if !seen.insert(key) {
                continue;
            }
            let mut rows = self.derivations_of(key).filter(|row| self.holds(&row.when) == Truth::Yes);
            match rows.next().filter(|_| self.answers.get(key).is_none()) {
                Some(row) => pending.extend(row.when.answers.keys()),
                // Nobody's answer: what the base's source says, which a declaration can correct too.
                None => {
                    answered.insert(key);
                }
            }
        }
        answered
    }

    /// Where an answer says otherwise than what follows from other answers.
    fn of_derivations(&self) -> impl Iterator<Item = Contradiction> {
        let denied = |row: &&DerivationRow| {
            self.answers.value(row.key).is_some_and(|declared| declared != row.value)
                && self.holds(&row.when) == Truth::Yes
        };
        self.rules.derivations().iter().filter(denied).map(|row| Contradiction {
            code: row.code.clone(),
            keys: names(self.answered_behind(std::iter::once(row.key).chain(row.when.answers.keys().copied()))),
            says: row.says.clone(),
            citation: Some(self.rules.citation(&row.cite)),
        })
    }
}

/// A result is not older than what it was made from.
fn before_the_base(base: &Base<'_>, answers: &Answers) -> Option<Contradiction> {
    let Base::Registry(model) = base else { return None };
    let placed = answers.day(AnswerKey::PlacedOnMarketDate)?;
    let released = first_day(&model.release_date)?;
    (placed < released).then(|| Contradiction {
        code: "placed-before-the-base".to_owned(),
        keys: vec![AnswerKey::PlacedOnMarketDate.name().to_owned(), format!("the release date of {}", model.id)],
        says: format!(
            "{placed} is before {}, when the base was released, and a result is not older than its base.",
            model.release_date
        ),
        citation: None,
    })
}

/// The first day that `2024`, `2024-07` or `2024-07-23` can mean.
fn first_day(text: &str) -> Option<NaiveDate> {
    let completed = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    completed.parse().ok()
}
