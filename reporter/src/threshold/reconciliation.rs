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
        ("col_used", Align::Right),
    ];
    let table = composer.table("table_reconciliation", &columns, rows)?;
    let values = Values::default().words("convention", UTILISATION_CONVENTION);
    Ok(vec![table, composer.paragraph("ceiling", "utilisation", &values)?])
}

fn row(composer: &Composer<'_>, run: &RunSummary, sides: &Reconciliation) -> Result<Row, ReportProblem> {
    let counted = || composer.computed("from_passes");
    Ok(Row::plain(vec![
        Cell(vec![Text::code(&run.run)]),
        composer.flops(Some(sides.model), counted()?, "next_operations")?.into(),
        composer.flops(Some(sides.executed), counted()?, "next_operations")?.into(),
        composer.flops(Some(sides.executed_visible), counted()?, "next_operations")?.into(),
        composer.flops(sides.ceiling, composer.computed("from_ceilings")?, "next_ceiling")?.into(),
        used(composer, sides)?,
    ]))
}

/// Shares of the ceiling and of the data sheet's peak, those that can be formed.
fn used(composer: &Composer<'_>, sides: &Reconciliation) -> Result<Cell, ReportProblem> {
    let shares = [
        ("share-of-ceiling", &sides.share_of_ceiling, composer.computed("from_utilisation")?),
        ("model-utilisation", &sides.model_utilisation, Origin::Computed { from: UTILISATION_CONVENTION.to_owned() }),
        (
            "hardware-utilisation",
            &sides.hardware_utilisation,
            Origin::Computed { from: UTILISATION_CONVENTION.to_owned() },
        ),
    ];
    let mut cell = Vec::new();
    for (name, share, origin) in shares {
        if let Some(share) = share {
            let values = Values::default().figure("share", Figure::percent(share, origin));
            cell.push(composer.say("ceiling", name, &values)?);
        }
    }
    Ok(Cell(cell))
}
