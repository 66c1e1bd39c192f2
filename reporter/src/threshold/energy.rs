//! Energy: of what, over which time, from where.

use flopsmeter_core::assess::Origin;
use flopsmeter_core::run::{
    DeviceCeiling, DeviceEnergy, EnergyBoundary, EnergySource, EnergySum, RunSummary, SharedEnergy,
};

use super::composer::Composer;
use crate::document::{Align, Block, Cell, Figure, Row, Text};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// Runs named beside one board; the rest is counted.
const MOST_RUNS: usize = 8;

/// The sums for the list of figures.
pub(super) fn figures(composer: &Composer<'_>) -> Result<Vec<(&'static str, Figure)>, ReportProblem> {
    let runs = &composer.input.runs;
    let integrated = runs.iter().any(RunSummary::has_integrated_power);
    let source = if integrated { EnergySource::PowerIntegral } else { EnergySource::Counter };
    let told = |sum: Option<&EnergySum>, origin: Origin, next_step: &str| match sum {
        None => composer.missing(next_step),
        Some(sum) => match sum.exact() {
            Some(joules) => Ok(Figure::energy(joules, origin)),
            None => Ok(Figure::energy_between(sum.bounds, composer.computed("from_shared")?)),
        },
    };
    let mut figures = Vec::new();
    let devices = || runs.iter().flat_map(|run| &run.ceiling.devices);
    if composer.totals.energy.is_some() || devices().any(|device| !device.is_processor()) {
        let origin = origin(composer, source, EnergyBoundary::GpuBoard)?;
        figures.push(("fact_energy", told(composer.totals.energy.as_ref(), origin, "next_energy")?));
    }
    if devices().any(DeviceCeiling::is_processor) {
        let origin = origin(composer, EnergySource::Counter, EnergyBoundary::CpuPackages)?;
        figures.push((
            "fact_package_energy",
            told(composer.totals.package_energy.as_ref(), origin, "next_package_energy")?,
        ));
    }
    Ok(figures)
}

/// Each board and each machine's packages, with what is not in the figures; nothing where no energy was read.
pub(super) fn blocks(composer: &Composer<'_>) -> Result<Vec<Block>, ReportProblem> {
    let energies = composer.input.runs.iter().flat_map(|run| run.ceiling.energies());
    let rows = energies.map(|(device, energy)| row(composer, device, energy)).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let columns = [
        ("col_device", Align::Left),
        ("col_boundary", Align::Left),
        ("col_energy", Align::Right),
        ("col_covered", Align::Right),
    ];
    let mut blocks = vec![
        composer.paragraph("ceiling", "energy", &Values::default())?,
        composer.table("table_energy", &columns, rows)?,
    ];
    blocks.extend(shared(composer)?);
    Ok(blocks)
}

/// Boards and packages that were held more than once at a time; nothing where none was.
fn shared(composer: &Composer<'_>) -> Result<Vec<Block>, ReportProblem> {
    let sums = [&composer.totals.energy, &composer.totals.package_energy];
    let shared = sums.into_iter().flatten().flat_map(|sum| &sum.shared);
    let rows = shared.map(|shared| shared_row(composer, shared)).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let columns = [
        ("col_device", Align::Left),
        ("col_runs", Align::Left),
        ("col_at_least", Align::Right),
        ("col_at_most", Align::Right),
    ];
    Ok(vec![
        composer.paragraph("ceiling", "energy_shared", &Values::default())?,
        composer.table("table_energy_shared", &columns, rows)?,
    ])
}

fn shared_row(composer: &Composer<'_>, shared: &SharedEnergy) -> Result<Row, ReportProblem> {
    let mut runs: Vec<Text> = shared.runs.iter().take(MOST_RUNS).map(|run| Text::code(run)).collect();
    let cut = shared.runs.len().saturating_sub(MOST_RUNS);
    if cut > 0 {
        let counted = u64::try_from(cut).unwrap_or(u64::MAX);
        let figure = Figure::count(counted, composer.computed("from_records")?);
        runs.push(composer.say("ceiling", "runs_cut", &Values::default().figure("count", figure))?);
    }
    let energy = |joules| Ok::<_, ReportProblem>(Figure::energy(joules, composer.computed("from_shared")?).into());
    Ok(Row::plain(vec![
        Text::code(&shared.board).into(),
        Cell(runs),
        energy(shared.bounds.least_joules)?,
        energy(shared.bounds.most_joules)?,
    ]))
}

fn row(composer: &Composer<'_>, device: &DeviceCeiling, energy: &DeviceEnergy) -> Result<Row, ReportProblem> {
    let id = energy.board.as_ref().unwrap_or(&device.device);
    let boundary = match energy.boundary {
        EnergyBoundary::GpuBoard => "boundary_gpu_board",
        EnergyBoundary::ParentBoard => "boundary_parent_board",
        EnergyBoundary::CpuPackages => "boundary_cpu_packages",
    };
    let covered = Figure::duration(energy.coverage_seconds, composer.measured("by_meter")?);
    let held = Figure::duration(device.held_seconds, composer.measured("by_meter")?);
    let of_held = composer.say("ceiling", "of-held", &Values::default().figure("held", held))?;
    Ok(Row::plain(vec![
        Cell(vec![Text::plain(&device.name), Text::code(id)]),
        composer.label(boundary)?.as_str().into(),
        Figure::energy(energy.joules, origin(composer, energy.source, energy.boundary)?).into(),
        Cell(vec![covered.into(), of_held]),
    ]))
}

fn origin(composer: &Composer<'_>, source: EnergySource, boundary: EnergyBoundary) -> Result<Origin, ReportProblem> {
    match (source, boundary) {
        (EnergySource::PowerIntegral, _) => composer.computed("from_power"),
        (EnergySource::Counter, EnergyBoundary::CpuPackages) => composer.measured("by_package_energy"),
        (EnergySource::Counter, _) => composer.measured("by_energy"),
    }
}
