//! An organisation's own, stricter lines, beside the law's verdict and never in its place.

use serde::{Deserialize, Serialize};

use super::base_facts::BaseFacts;
use super::lines::Lines;
use super::verdict::Facts;
use super::{Line, Question, Verdict};

/// Where a house rule puts the modification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct House {
    /// The rule's name.
    pub name: String,
    /// Who made it a rule.
    pub declared_by: String,
    /// What it means, in the words of who made it.
    pub says: String,
    /// Its verdict, by its own lines; it says nothing of the law.
    pub verdict: Verdict,
    /// Its line; `None` where none could be chosen.
    pub line: Option<Line>,
    /// Its share of the line that is spent, in per cent, two digits.
    pub share_of_line_percent: Option<String>,
    /// SHA-256 of the file.
    pub digest: String,
}

/// The reading of the rule set's house rule, if it has one.
pub(super) fn reading(question: &Question<'_>) -> Option<House> {
    let house = question.rules.house()?;
    let rules = &house.rules;
    let base = question.base.map(|base| BaseFacts::of(base, rules, question.answers));
    let lines = Lines::choose(rules, base.as_ref(), question.answers);
    let judgement = Facts { rules, lines: &lines, base: base.as_ref(), spent: &question.spent }.judge();
    let headline = lines.headline(judgement.verdict);
    Some(House {
        name: house.name.clone(),
        declared_by: house.declared_by.clone(),
        says: house.says.clone(),
        verdict: judgement.verdict,
        line: headline.map(|line| line.line.clone()),
        share_of_line_percent: headline.zip(judgement.amounts).and_then(|(line, amounts)| line.share_percent(amounts)),
        digest: house.digest.to_string(),
    })
}

/// The house rule's verdict on compute alone, for those who ask often.
pub(super) fn verdict(question: &Question<'_>) -> Option<Verdict> {
    let rules = &question.rules.house()?.rules;
    let base = question.base.map(|base| BaseFacts::of(base, rules, question.answers));
    let lines = Lines::choose(rules, base.as_ref(), question.answers);
    Some(Facts { rules, lines: &lines, base: base.as_ref(), spent: &question.spent }.judge().verdict)
}
