//! Who is provider: the status, what it rests on, the duties that follow, and the questions that are open.

use flopsmeter_core::assess::{Citation, Obligation};

use super::composer::Composer;
use super::law::in_words;
use super::verdict;
use crate::document::{Align, Block, Cell, Inline, Row, RowKind, Section, Text, Words};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// Status and duties.
pub(super) fn section(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let assessment = &composer.input.assessment;
    let values = verdict::values(composer)?;
    let mut blocks = vec![composer.paragraph("status", verdict::status_name(assessment.status), &values)?];
    blocks.extend(reasons(composer)?);
    if assessment.obligations.is_empty() {
        blocks.push(composer.paragraph("obligations", "none", &values)?);
    } else {
        blocks.push(duties(composer, &values)?);
        if assessment.obligations.iter().any(|obligation| obligation.conditional) {
            blocks.push(composer.paragraph("obligations", "conditional", &values)?);
        }
    }
    blocks.extend(questions(composer, &values)?);
    composer.section("status", "section_status", blocks)
}

/// The rows of the rule set behind the status, in its own words.
fn reasons(composer: &Composer<'_>) -> Result<Option<Block>, ReportProblem> {
    let reasons = &composer.input.assessment.reasons;
    if reasons.is_empty() {
        return Ok(None);
    }
    let row = |reason: &flopsmeter_core::assess::Reason| {
        let gives = match reason.outcome {
            Some(status) => composer.label(&format!("gives_{}", verdict::status_name(status).replace('-', "_")))?,
            None => composer.label("gives_answer")?,
        };
        let applies = if reason.certain { "applies_now" } else { "applies_if" };
        let cells = vec![
            reason.says.as_str().into(),
            gives.as_str().into(),
            composer.label(applies)?.as_str().into(),
            composer.citation(Some(&reason.citation))?,
        ];
        Ok(Row { cells, kind: RowKind::Plain })
    };
    let rows = reasons.iter().map(row).collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [
        ("col_reason", Align::Left),
        ("col_gives", Align::Left),
        ("col_applies", Align::Left),
        ("col_source", Align::Left),
    ];
    composer.table("table_reasons", &columns, rows).map(Some)
}

fn duties(composer: &Composer<'_>, values: &Values) -> Result<Block, ReportProblem> {
    let row = |obligation: &Obligation| {
        Ok(Row {
            cells: vec![
                duty(composer, obligation, values),
                applies(composer, obligation)?,
                composer.citation(Some(&obligation.citation))?,
            ],
            kind: RowKind::Plain,
        })
    };
    let rows = composer.input.assessment.obligations.iter().map(row).collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [("col_duty", Align::Left), ("col_applies", Align::Left), ("col_source", Align::Left)];
    composer.table("table_obligations", &columns, rows)
}

/// The duty, and below it what makes it lighter or later.
fn duty(composer: &Composer<'_>, obligation: &Obligation, values: &Values) -> Cell {
    let named = composer
        .by_code("obligations", &obligation.code, values)
        .unwrap_or_else(|| Text::plain(&in_words(&obligation.code)));
    let mut cell = vec![named];
    for relief in &obligation.reliefs {
        let said = format!("{} ({})", relief.says, place(&relief.citation));
        cell.push(Text(vec![Inline::Quiet(Words::new(&said))]));
    }
    Cell(cell)
}

fn applies(composer: &Composer<'_>, obligation: &Obligation) -> Result<Cell, ReportProblem> {
    let mut cell = Vec::new();
    if obligation.conditional || !obligation.deferred {
        let name = if obligation.conditional { "applies_if" } else { "applies_now" };
        cell.push(Text::plain(composer.label(name)?.as_str()));
    }
    if let Some(day) = obligation.applies_from.filter(|_| obligation.deferred) {
        cell.push(composer.say("obligations", "applies-from", &Values::default().words("day", &day.to_string()))?);
    }
    Ok(Cell(cell))
}

fn place(citation: &Citation) -> String {
    format!("{}, {}", citation.instrument, citation.place)
}

/// What people still have to answer, in the rule set's words.
fn questions(composer: &Composer<'_>, values: &Values) -> Result<Vec<Block>, ReportProblem> {
    let questions = &composer.input.assessment.questions;
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let row = |question: &flopsmeter_core::assess::OpenQuestion| {
        let mut asks = vec![Text::plain(&question.asks)];
        if !question.choices.is_empty() {
            asks.push(Text(vec![Inline::Quiet(Words::new(&question.choices.join(", ")))]));
        }
        let cells =
            vec![Cell(asks), Text::code(question.key.name()).into(), composer.citation(Some(&question.citation))?];
        Ok(Row { cells, kind: RowKind::Plain })
    };
    let rows = questions.iter().map(row).collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [("col_question", Align::Left), ("col_key", Align::Left), ("col_source", Align::Left)];
    Ok(vec![composer.paragraph("status", "questions", values)?, composer.table("table_questions", &columns, rows)?])
}
