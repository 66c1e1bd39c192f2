//! The legal reasoning: the line and how it was chosen, other readings, status and duties.

use std::collections::BTreeMap;

use flopsmeter_core::assess::{Origin, Reading, Step};
use flopsmeter_core::unit::Flops;

use super::composer::Composer;
use super::verdict;
use crate::document::{Align, Block, Cell, Figure, Inline, Row, RowKind, Section, Text, Words};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// The line and the steps that lead to the verdict.
pub(super) fn line(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let values = verdict::values(composer)?;
    let name = if composer.input.assessment.line.is_some() { "intro" } else { "no-line" };
    let mut blocks = vec![composer.paragraph("line", name, &values)?];
    let steps = &composer.input.assessment.steps;
    let rows = steps
        .iter()
        .zip(1_u64..)
        .map(|(step, number)| {
            Ok(Row {
                cells: vec![
                    Figure::count(number, composer.computed("from_order")?).text().into(),
                    sentence(composer, step)?.into(),
                    composer.citation(step.citation.as_ref())?,
                ],
                kind: RowKind::Plain,
            })
        })
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    if !rows.is_empty() {
        let columns = [("col_number", Align::Right), ("col_step", Align::Left), ("col_source", Align::Left)];
        blocks.push(composer.table("table_steps", &columns, rows)?);
        blocks.push(composer.paragraph("line", "confidence", &values)?);
    }
    if let Some(base) = composer.input.base.as_ref().filter(|base| !base.notes.is_empty()) {
        blocks.push(Block::Heading { title: composer.label("base_notes")? });
        let items = base.notes.iter().map(|note| crate::document::Item { label: None, text: Text::plain(note) });
        blocks.push(Block::List { items: items.collect() });
    }
    composer.section("line", "section_line", blocks)
}

/// A step's sentence, or its code and values where the wording does not know it.
fn sentence(composer: &Composer<'_>, step: &Step) -> Result<Text, ReportProblem> {
    let values = step_values(composer, &step.values)?;
    match composer.by_code("steps", &step.code, &values) {
        Some(text) => Ok(text),
        None => generic(composer, &step.code, &step.values),
    }
}

/// Values of a step under their names: numbers as figures, words as words, and every one of them as `raw_<name>` to ask for.
fn step_values(composer: &Composer<'_>, values: &BTreeMap<String, String>) -> Result<Values, ReportProblem> {
    let mut all = verdict::values(composer)?;
    for (name, value) in values {
        let name = name.replace(['-', '.', ' '], "_");
        all = all.words(&format!("raw_{name}"), value);
        all = match (figure(composer, &name, value)?, list(composer, &name, value)) {
            (Some(figure), _) => all.figure(&name, figure),
            (None, Some(list)) => all.words(&name, &list),
            (None, None) => all.words(&name, value),
        };
    }
    Ok(all)
}

/// A value that lists codes, in words.
fn list(composer: &Composer<'_>, name: &str, value: &str) -> Option<String> {
    let (file, prefix) = match name {
        "rows" => ("status", "row-"),
        "open" => ("missing", ""),
        "readings" => ("readings", ""),
        "followed" => ("cumulation", ""),
        _ => return None,
    };
    let shared = Values::default().words("base", &composer.base_name().unwrap_or_default());
    let word = |code: &str| {
        composer
            .by_code(file, &format!("{prefix}{code}"), &shared)
            .map_or_else(|| in_words(code), |text| text.to_plain())
    };
    let codes = value.split(", ").filter(|code| !code.is_empty());
    Some(codes.map(word).collect::<Vec<_>>().join("; "))
}

/// A value that is a number becomes a figure; the base's and the spent operations keep their own origins.
fn figure(composer: &Composer<'_>, name: &str, value: &str) -> Result<Option<Figure>, ReportProblem> {
    let starts_as_number = value.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    let decimal = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !starts_as_number || !decimal {
        return Ok(None);
    }
    let origin = origin_of(composer, name)?;
    if let Ok(flops) = value.parse::<Flops>() {
        return Ok(Some(Figure::flops(flops, origin)));
    }
    let shown = if name.ends_with("percent") { Figure::percent } else { Figure::decimal };
    Ok(Some(shown(value, origin)))
}

fn origin_of(composer: &Composer<'_>, name: &str) -> Result<Origin, ReportProblem> {
    let assessment = &composer.input.assessment;
    match (name, &assessment.line) {
        ("base_flop" | "flop", Some(line)) => Ok(line.origin.clone()),
        ("spent" | "training" | "cumulative", _) => Ok(verdict::spent(composer)?.origin().clone()),
        _ => Ok(Origin::Computed { from: format!("{} {}", composer.label("from_rules")?, assessment.rules) }),
    }
}

fn generic(composer: &Composer<'_>, code: &str, values: &BTreeMap<String, String>) -> Result<Text, ReportProblem> {
    let mut text = vec![Inline::Text(Words::new(&in_words(code)))];
    for (position, (name, value)) in values.iter().enumerate() {
        let lead = if position == 0 { ": " } else { "; " };
        text.push(Inline::Text(Words::new(&format!("{lead}{} ", name.replace(['_', '-'], " ")))));
        text.push(match figure(composer, name, value)? {
            Some(figure) => Inline::Figure(figure),
            None => Inline::Text(Words::new(value)),
        });
    }
    text.push(Inline::Text(Words::new(".")));
    Ok(Text(text))
}

/// Abbreviations that codes write small.
const ABBREVIATIONS: [&str; 6] = ["gpu", "cpu", "gpai", "nvml", "json", "flop"];

/// `gpu-lost` as `GPU lost`.
pub(super) fn in_words(code: &str) -> String {
    let words = code.split(['-', '_']).enumerate().map(|(index, word)| {
        if ABBREVIATIONS.contains(&word) {
            return word.to_uppercase();
        }
        let mut characters = word.chars();
        match characters.next() {
            Some(first) if index == 0 => first.to_uppercase().chain(characters).collect(),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Other readings of the same facts, where there are any.
pub(super) fn readings(composer: &Composer<'_>) -> Result<Option<Section>, ReportProblem> {
    let readings = &composer.input.assessment.readings;
    if readings.is_empty() {
        return Ok(None);
    }
    let rows = readings.iter().map(|reading| reading_row(composer, reading)).collect::<Result<Vec<_>, _>>()?;
    let columns = [
        ("col_reading", Align::Left),
        ("col_line", Align::Right),
        ("col_ratio", Align::Right),
        ("col_verdict", Align::Left),
        ("col_source", Align::Left),
    ];
    let blocks = vec![
        composer.paragraph("readings", "intro", &verdict::values(composer)?)?,
        composer.table("table_readings", &columns, rows)?,
    ];
    composer.section("readings", "section_readings", blocks).map(Some)
}

fn reading_row(composer: &Composer<'_>, reading: &Reading) -> Result<Row, ReportProblem> {
    let line = match &reading.line {
        Some(line) => Cell::from(Figure::flops(line.flop, composer.computed("from_base")?)),
        None => Cell::from(composer.label("none")?.as_str()),
    };
    let ratio = match &reading.ratio {
        Some(ratio) => Cell::from(Figure::decimal(ratio, composer.computed("from_comparison")?)),
        None => Cell::from(composer.label("none")?.as_str()),
    };
    let name = composer
        .by_code("readings", &reading.code, &verdict::values(composer)?)
        .unwrap_or_else(|| Text::plain(&in_words(&reading.code)));
    Ok(Row {
        cells: vec![
            name.into(),
            line,
            ratio,
            verdict::word(composer, reading.verdict)?.as_str().into(),
            composer.citation(reading.citation.as_ref())?,
        ],
        kind: RowKind::Plain,
    })
}
