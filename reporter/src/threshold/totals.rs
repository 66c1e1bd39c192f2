//! Sums over the runs of a modification.

use flopsmeter_core::run::{EnergySum, RunSummary};
use flopsmeter_core::unit::{Flops, Tokens};

/// Sums; `None` where one run lacks the quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// What was counted, whether or not everything was.
    pub(super) counted: Flops,
    pub(super) forward: Flops,
    pub(super) backward: Flops,
    pub(super) recompute: Flops,
    pub(super) executed: Option<Flops>,
    pub(super) ceiling: Option<Flops>,
    /// Whether each run's counting and ceiling cover everything.
    pub(super) counting_complete: bool,
    pub(super) ceiling_complete: bool,
    pub(super) tokens_fed: Tokens,
    pub(super) tokens_real: Option<Tokens>,
    /// Of the GPUs' boards.
    pub(super) energy: Option<EnergySum>,
    /// Of the processor packages.
    pub(super) package_energy: Option<EnergySum>,
    pub(super) gaps: usize,
    /// What the gaps added to the ceilings, as far as it is on record.
    pub(super) charged: Flops,
}

impl Totals {
    pub(super) fn of(runs: &[RunSummary]) -> Self {
        if runs.is_empty() {
            return Self::default();
        }
        let flops = || runs.iter().filter_map(|run| run.flops);
        Self {
            counted: flops().map(|flops| flops.training).sum(),
            forward: flops().map(|flops| flops.forward).sum(),
            backward: flops().map(|flops| flops.backward).sum(),
            recompute: flops().map(|flops| flops.recompute).sum(),
            executed: runs.iter().map(|run| run.flops.map(|flops| flops.executed)).sum(),
            ceiling: runs.iter().map(|run| run.ceiling.flop).sum(),
            counting_complete: runs.iter().all(|run| run.complete && run.flops.is_some()),
            ceiling_complete: runs.iter().all(|run| run.ceiling.complete && run.ceiling.flop.is_some()),
            tokens_fed: runs.iter().map(|run| run.tokens.fed).sum(),
            tokens_real: runs.iter().map(|run| run.tokens.real).sum(),
            energy: boards_energy(runs),
            package_energy: packages_energy(runs),
            gaps: runs.iter().map(|run| run.gaps.len()).sum(),
            charged: runs.iter().flat_map(|run| &run.gaps).filter_map(|gap| gap.charged).sum(),
        }
    }
}

/// Over the runs that had a board: one on processors alone lacks nothing.
fn boards_energy(runs: &[RunSummary]) -> Option<EnergySum> {
    let has_boards = |run: &&RunSummary| run.ceiling.devices.iter().any(|device| !device.is_processor());
    let mut with_boards = runs.iter().filter(has_boards).peekable();
    with_boards.peek()?;
    let is_known = |run: &RunSummary| run.energy_joules.is_some() || run.energy_bounds.is_some();
    with_boards.all(is_known).then(|| EnergySum::of_boards(runs))
}

fn packages_energy(runs: &[RunSummary]) -> Option<EnergySum> {
    runs.iter().all(|run| run.package_energy().is_some()).then(|| EnergySum::of_packages(runs))
}
