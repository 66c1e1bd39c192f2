//! `flopsmeter modifications questions`: what people have to answer, in the rule set's words.

use flopsmeter_core::assess::{AnswerKey, Answers, Citation, OpenQuestion};
use flopsmeter_core::rules::{Bearing, QuestionKind, QuestionRow};
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use super::existing;
use crate::args::QuestionsArguments;
use crate::exit::ExitStatus;
use crate::judgement::{self, Judgement};
use crate::{output, settings};

/// One question as it is listed.
#[derive(Serialize)]
struct Listed {
    key: AnswerKey,
    /// Whether an answer could change the result as it stands.
    matters_now: bool,
    part_of: Option<AnswerKey>,
    kind: QuestionKind,
    choices: Vec<String>,
    bears_on: Vec<Bearing>,
    asks: String,
    citation: Citation,
    answer: Option<String>,
    answered_by: Option<String>,
    answered_on: Option<String>,
    /// How the answer is given on the command line.
    placeholder: String,
}

pub(super) fn execute(arguments: QuestionsArguments) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(arguments.ledger.ledger))?;
    let modification = existing(&ledger, &arguments.modification)?;
    let judgement = judgement::of_modification(&ledger, &modification, &arguments.rules)?;
    let rows = judgement.rules.questions().iter();
    let all = rows.map(|row| listed(row, &judgement, &modification.answers));
    let shown: Vec<Listed> = all.filter(|question| question.matters_now || arguments.all).collect();
    if arguments.json {
        output::json(&shown)?;
        return Ok(ExitStatus::Done);
    }
    if shown.is_empty() {
        output::data("no answer would change the result as it stands\n")?;
        return Ok(ExitStatus::Done);
    }
    let mut text: String = shown.iter().map(in_words).collect();
    text.push_str(&format!(
        "\n`flopsmeter modifications answer {} KEY=VALUE … --by NAME` records answers\n",
        modification.slug
    ));
    output::data(&text)?;
    Ok(ExitStatus::Done)
}

fn listed(row: &QuestionRow, judgement: &Judgement, answers: &Answers) -> Listed {
    let open: Option<&OpenQuestion> = judgement.assessment.questions.iter().find(|open| open.key == row.key);
    let answer = answers.get(row.key);
    Listed {
        key: row.key,
        matters_now: open.is_some(),
        part_of: open.and_then(|open| open.part_of),
        kind: row.kind,
        choices: row.choices.clone(),
        bears_on: row.bears_on.clone(),
        asks: row.asks.clone(),
        citation: judgement.rules.citation(&row.cite),
        answer: answer.map(|answer| answer.value.to_string()),
        answered_by: answer.map(|answer| answer.by.clone()),
        answered_on: answer.map(|answer| answer.date.to_string()),
        placeholder: row.placeholder(),
    }
}

fn in_words(question: &Listed) -> String {
    let bears = question.bears_on.iter().map(|bearing| match bearing {
        Bearing::Verdict => "verdict",
        Bearing::Status => "status",
        Bearing::Duties => "duties",
    });
    let bears = bears.collect::<Vec<_>>().join(", ");
    let part = question.part_of.map_or_else(String::new, |whole| format!(", part of {}", whole.name()));
    let mut text = format!("{}={}  ({bears}{part})\n", question.key.name(), question.placeholder);
    text.push_str(&output::labelled("", 4, &question.asks));
    let citation = &question.citation;
    let place = format!("{}, {} ({})", citation.instrument, citation.place, citation.confidence);
    text.push_str(&output::labelled("", 4, &place));
    if let (Some(answer), Some(by), Some(on)) = (&question.answer, &question.answered_by, &question.answered_on) {
        text.push_str(&output::labelled("", 4, &format!("answered {answer} by {by} on {on}")));
    }
    text
}
