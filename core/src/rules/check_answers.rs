//! What the rows about answers have to satisfy: every question asked once, and every condition one that can hold.

use std::collections::BTreeMap;

use super::document::Document;
use super::problem::RulesProblem;
use super::question::{Expectation, QuestionKind, QuestionRow};
use super::row::When;
use crate::assess::AnswerKey;

pub(super) fn check(document: &Document) -> Result<(), RulesProblem> {
    for key in AnswerKey::ALL {
        let count = document.questions.iter().filter(|row| row.key == key).count();
        if count != 1 {
            let cause = if count == 0 { "the row is missing" } else { "the row stands twice" };
            return Err(RulesProblem::row(format!("question.{}", key.name()), cause));
        }
    }
    document.questions.iter().try_for_each(check_question)?;
    check_derivations(document)?;
    for row in &document.contradictions {
        let name = format!("contradiction.{}", row.code);
        if row.answers.len() < 2 {
            return Err(RulesProblem::row(name, "`answers` names fewer than two, which contradict nothing"));
        }
        check_expectations(document, &name, &row.answers)?;
    }
    for row in &document.status {
        check_expectations(document, &format!("status.{}", row.code), &row.when.answers)?;
    }
    for row in &document.obligations {
        let name = format!("obligation.{}", row.code);
        for when in std::iter::once(&row.when).chain(&row.unless) {
            check_expectations(document, &name, &when.answers)?;
        }
    }
    check_reliefs(document)
}

fn check_question(row: &QuestionRow) -> Result<(), RulesProblem> {
    let name = format!("question.{}", row.key.name());
    let refuse = |cause: &str| Err(RulesProblem::row(&name, cause));
    match row.kind {
        QuestionKind::Choice if row.choices.len() < 2 => refuse("`choices` names fewer than two"),
        QuestionKind::YesNo | QuestionKind::Day if !row.choices.is_empty() => {
            refuse("`choices` is given, and `kind` is no choice")
        }
        _ if row.bears_on.is_empty() => refuse("`bears-on` is empty: an answer that changes nothing is not asked for"),
        _ if row.asks.trim().is_empty() => refuse("`asks` is empty"),
        _ => Ok(()),
    }
}

/// A derivation rests on rows before it alone, so that deriving comes to an end.
fn check_derivations(document: &Document) -> Result<(), RulesProblem> {
    for (at, row) in document.derivations.iter().enumerate() {
        let name = format!("derivation.{}", row.code);
        check_expectations(document, &name, &row.when.answers)?;
        if row.when.answers.is_empty() {
            return Err(RulesProblem::row(name, "`when` names no answer that this could follow from"));
        }
        let bare = When { answers: row.when.answers.clone(), systemic_risk: row.when.systemic_risk, ..When::default() };
        if bare != row.when {
            return Err(RulesProblem::row(name, "`when` names a verdict or a line; answers rest on answers alone"));
        }
        let later = document.derivations.iter().skip(at);
        if let Some(key) = later.map(|later| later.key).find(|key| row.when.answers.contains_key(key)) {
            let cause = format!("`when` rests on `{}`, which a row at or after this one derives", key.name());
            return Err(RulesProblem::row(name, cause));
        }
    }
    Ok(())
}

fn check_reliefs(document: &Document) -> Result<(), RulesProblem> {
    for row in &document.reliefs {
        let name = format!("relief.{}", row.code);
        check_expectations(document, &name, &row.when.answers)?;
        if let Some(code) =
            row.obligations.iter().find(|code| !document.obligations.iter().any(|duty| duty.code == **code))
        {
            return Err(RulesProblem::row(
                name,
                format!("`obligations` names `{code}`, which is no duty of this file"),
            ));
        }
        if let Some(key) = row.defers_to.as_deref().filter(|key| !has_date(document, key)) {
            return Err(RulesProblem::row(name, format!("`defers-to` names `{key}`, which is no date of this file")));
        }
    }
    Ok(())
}

fn has_date(document: &Document, key: &str) -> bool {
    document.dates.iter().any(|row| row.key == key)
}

fn check_expectations(
    document: &Document,
    row: &str,
    answers: &BTreeMap<AnswerKey, Expectation>,
) -> Result<(), RulesProblem> {
    for (key, expected) in answers {
        let Some(question) = document.questions.iter().find(|question| question.key == *key) else { continue };
        let refuse = |cause: String| Err(RulesProblem::row(row, format!("`{}` {cause}", key.name())));
        if expected.kind().is_some_and(|kind| kind != question.kind) {
            return refuse(format!("is answered with {}, and the row expects something else", question.wanted()));
        }
        match expected {
            Expectation::Is(choice) | Expectation::DeclaredIs(choice) if !question.choices.contains(choice) => {
                return refuse(format!("has no choice `{choice}`"));
            }
            Expectation::Before(date) | Expectation::DeclaredBefore(date) if !has_date(document, date) => {
                return refuse(format!("is compared with `{date}`, which is no date of this file"));
            }
            _ => {}
        }
    }
    Ok(())
}
