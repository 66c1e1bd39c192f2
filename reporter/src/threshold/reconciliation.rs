//! What was counted and what the hardware can have done, side by side.

use flopsmeter_core::assess::Origin;
use flopsmeter_core::run::{Reconciliation, RunSummary, UTILISATION_CONVENTION};

use super::composer::Composer;
use crate::document::{Align, Block, Cell, Figure, Row, Text};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// The table and how its shares are formed, where a run was counted.
pub(super) fn blocks(composer: &Composer<'_>) -> Result<Vec<Block>, ReportProblem> {
    let counted = |run: &'_ RunSummary| run.reconciliation.is_some();
    if !composer.input.runs.iter().any(counted) {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for run in &composer.input.runs {
        if let Some(sides) = &run.reconciliation {
            rows.push(row(composer, run, sides)?);
        }
    }
    let columns = [
        ("col_run", Align::Left),
        ("quantity_model", Align::Right),
        ("quantity_executed", Align::Right),
        ("quantity_least", Align::Right),
        ("quantity_ceiling", Align::Right),
    ];
    let table = composer.table("table_reconciliation", &columns, rows)?;
    let values = Values::default().words("convention", UTILISATION_CONVENTION);
    Ok(vec![table, composer.paragraph("ceiling", "utilisation", &values)?])
}

fn row(composer: &Composer<'_>, run: &RunSummary, sides: &Reconciliation) -> Result<Row, ReportProblem> {
    let counted = |flops, name, share: &Option<String>, from| {
        let mut cell: Vec<Text> =
            vec![composer.flops(Some(flops), composer.computed("from_passes")?, "next_operations")?.into()];
        if let Some(share) = share {
            let values = Values::default().figure("share", Figure::percent(share, from));
            cell.push(composer.say("ceiling", name, &values)?);
        }
        Ok::<_, ReportProblem>(Cell(cell))
    };
    let by_convention = || Origin::Computed { from: UTILISATION_CONVENTION.to_owned() };
    let of_ceiling = composer.computed("from_utilisation")?;
    Ok(Row::plain(vec![
        Cell(vec![Text::code(&run.run)]),
        counted(sides.model, "model-utilisation", &sides.model_utilisation, by_convention())?,
        counted(sides.executed, "hardware-utilisation", &sides.hardware_utilisation, by_convention())?,
        counted(sides.executed_visible, "share-of-ceiling", &sides.share_of_ceiling, of_ceiling)?,
        composer.flops(sides.ceiling, composer.computed("from_ceilings")?, "next_ceiling")?.into(),
    ]))
}
