//! Energy: of what, over which time, from where.

use flopsmeter_core::assess::Origin;
use flopsmeter_core::run::{DeviceCeiling, DeviceEnergy, EnergyBoundary, EnergySource, RunSummary};
use flopsmeter_core::unit::Joules;

use super::composer::Composer;
use crate::document::{Align, Block, Cell, Figure, Row, Text};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// The sums for the list of figures.
pub(super) fn figures(composer: &Composer<'_>) -> Result<Vec<(&'static str, Figure)>, ReportProblem> {
    let runs = &composer.input.runs;
    let integrated = runs.iter().any(RunSummary::has_integrated_power);
    let source = if integrated { EnergySource::PowerIntegral } else { EnergySource::Counter };
    let told = |joules: Option<Joules>, origin: Origin, next_step: &str| match joules {
        Some(joules) => Ok(Figure::energy(joules, origin)),
        None => composer.missing(next_step),
    };
    let mut figures = Vec::new();
    let devices = || runs.iter().flat_map(|run| &run.ceiling.devices);
    if composer.totals.energy.is_some() || devices().any(|device| !device.is_processor()) {
        let origin = origin(composer, source, EnergyBoundary::GpuBoard)?;
        figures.push(("fact_energy", told(composer.totals.energy, origin, "next_energy")?));
    }
    if devices().any(DeviceCeiling::is_processor) {
        let origin = origin(composer, EnergySource::Counter, EnergyBoundary::CpuPackages)?;
        figures.push(("fact_package_energy", told(composer.totals.package_energy, origin, "next_package_energy")?));
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
    Ok(vec![
        composer.paragraph("ceiling", "energy", &Values::default())?,
        composer.table("table_energy", &columns, rows)?,
    ])
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
