//! Time and energy on named GPUs.

use flopsmeter_core::plan::{Fleet, Utilisation};
use flopsmeter_core::unit::Flops;
use serde::Serialize;

use crate::args::PlanArguments;
use crate::exit::UsageProblem;

/// What some GPUs take; `null` where the table does not know what it needs, or beyond 128 bits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Expectation {
    pub(super) gpu: String,
    pub(super) count: u64,
    /// Of one GPU, as its data sheet has it for dense bf16 (or fp16).
    pub(super) nominal_flop_per_second: Flops,
    pub(super) utilisation_percent: String,
    /// What is divided: operations with recomputation.
    pub(super) executed: Flops,
    #[serde(serialize_with = "seconds")]
    #[serde(rename = "seconds")]
    pub(super) milliseconds: Option<u128>,
    /// Rated power of one board.
    #[serde(serialize_with = "watts")]
    #[serde(rename = "board_power_watts")]
    pub(super) board_power_milliwatts: Option<u64>,
    /// Of all boards at their rated power for the whole time, without hosts, network and cooling.
    #[serde(serialize_with = "whole")]
    pub(super) board_energy_joules: Option<u128>,
    /// Where the row of the GPU table comes from.
    pub(super) source: String,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn seconds<S: serde::Serializer>(value: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    thousandths(*value, serializer)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn watts<S: serde::Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    thousandths(value.map(u128::from), serializer)
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn whole<S: serde::Serializer>(value: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// As a decimal string, which no reader rounds.
fn thousandths<S: serde::Serializer>(value: Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(&format_args!("{}.{:03}", value / 1000, value % 1000)),
        None => serializer.serialize_none(),
    }
}

/// The GPUs that are named; a name that is not in the table is a slip of the hand.
pub(super) fn fleets(arguments: &PlanArguments) -> Result<Vec<Fleet>, UsageProblem> {
    let read = |text: &String| text.parse().map_err(|problem| UsageProblem(format!("--gpu {text}: {problem}")));
    arguments.gpu.iter().map(read).collect()
}

/// The default that was used, and where it comes from.
pub(super) fn default(arguments: &PlanArguments) -> Option<String> {
    let used = !arguments.gpu.is_empty() && arguments.utilisation.is_none();
    used.then(|| format!("--utilisation {} ({})", Utilisation::USUAL_PERCENT, Utilisation::USUAL_SOURCE))
}

fn utilisation(arguments: &PlanArguments) -> Option<Utilisation> {
    arguments.utilisation.or_else(|| Utilisation::USUAL_PERCENT.parse().ok())
}

pub(super) fn rows(fleets: &[Fleet], arguments: &PlanArguments, executed: Flops) -> Vec<Expectation> {
    let Some(utilisation) = utilisation(arguments) else { return Vec::new() };
    let expect = |fleet: &Fleet| Expectation {
        gpu: fleet.row.label.clone(),
        count: fleet.count,
        nominal_flop_per_second: fleet.row.nominal_flop_per_second,
        utilisation_percent: utilisation.percent(),
        executed,
        milliseconds: fleet.milliseconds(executed, utilisation),
        board_power_milliwatts: fleet.row.board_power_milliwatts,
        board_energy_joules: fleet.board_energy_joules(executed, utilisation),
        source: fleet.row.source.clone(),
    };
    fleets.iter().map(expect).collect()
}
