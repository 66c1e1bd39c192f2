//! Each way to add up modifications and to choose the original, where the law does not say which holds.

use flopsmeter_core::assess::{CumulationReading, Origin};

use super::composer::Composer;
use super::law::in_words;
use super::verdict;
use crate::document::{Align, Cell, Figure, Row, RowKind, Section, Text};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// The ways with their verdicts, where there is more than one.
pub(super) fn section(composer: &Composer<'_>) -> Result<Option<Section>, ReportProblem> {
    let readings = &composer.input.assessment.cumulation;
    if readings.is_empty() {
        return Ok(None);
    }
    let columns = [
        ("col_reading", Align::Left),
        ("col_spent", Align::Right),
        ("col_original", Align::Left),
        ("col_original_flop", Align::Right),
        ("col_ratio", Align::Right),
        ("col_verdict", Align::Left),
        ("col_counts", Align::Left),
        ("col_source", Align::Left),
    ];
    let rows = readings.iter().map(|reading| row(composer, reading)).collect::<Result<Vec<_>, _>>()?;
    let blocks = vec![
        composer.paragraph("cumulation", "intro", &Values::default())?,
        composer.table("table_cumulation", &columns, rows)?,
    ];
    composer.section("cumulation", "section_cumulation", blocks).map(Some)
}

fn row(composer: &Composer<'_>, reading: &CumulationReading) -> Result<Row, ReportProblem> {
    let origin = match &reading.line {
        Some(line) => line.origin.clone(),
        None => Origin::Missing { next_step: composer.label("next_base_compute")?.to_string() },
    };
    let original_flop = match &reading.line {
        Some(_) => composer.flops(reading.base_flop, origin, "next_base_compute")?,
        None => composer.missing("next_base_compute")?,
    };
    let ratio = match &reading.ratio {
        Some(ratio) => Cell::from(Figure::decimal(ratio, composer.computed("from_comparison")?)),
        None => Cell::from(composer.label("none")?.as_str()),
    };
    let name = composer
        .by_code("cumulation", &reading.code, &Values::default())
        .unwrap_or_else(|| Text::plain(&in_words(&reading.code)));
    let counts = match (reading.followed, reading.decides) {
        (true, _) => "counts_followed",
        (false, true) => "counts_decides",
        (false, false) => "counts_shown",
    };
    let base = match &reading.base {
        Some(base) => base.clone(),
        None => composer.label("unknown_base")?.to_string(),
    };
    Ok(Row {
        cells: vec![
            name.into(),
            composer.flops(reading.spent, composer.computed("from_lineage")?, "next_operations")?.into(),
            base.as_str().into(),
            original_flop.into(),
            ratio,
            verdict::word(composer, reading.verdict)?.as_str().into(),
            composer.label(counts)?.as_str().into(),
            composer.citation(Some(&reading.citation))?,
        ],
        kind: RowKind::Plain,
    })
}
