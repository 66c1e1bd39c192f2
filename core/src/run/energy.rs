//! Energy: of what, from where, over which time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Ceiling, DeviceCeiling, EnergySum, RunSummary};
use crate::unit::Joules;

/// Energy of one device over the time in which it was read. Never of the node: fans, network, storage and what the building adds
/// (PUE) are outside each boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceEnergy {
    /// The figure.
    pub joules: Joules,
    /// Where it comes from.
    pub source: EnergySource,
    /// What it is the energy of.
    pub boundary: EnergyBoundary,
    /// UUID of the board that a MIG slice is cut from: the figure is that of the whole board, once for all of its slices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
    /// Time that the figure covers, in seconds with three decimals; the rest of the time held is not in it.
    pub coverage_seconds: f64,
    /// What the device's counter rose by, where it was read at least twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counter_joules: Option<Joules>,
    /// Power × time over neighbouring readings, where power was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_integral_joules: Option<Joules>,
}

/// Where an energy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnergySource {
    /// The device's own energy counter.
    Counter,
    /// Readings of its power, integrated over time by trapezoids.
    PowerIntegral,
}

/// What an energy is the energy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnergyBoundary {
    /// A GPU's board with its memory, and all processes on it.
    GpuBoard,
    /// The board that a MIG slice is cut from, with all slices of it: shares are not measured and not estimated.
    ParentBoard,
    /// The machine's processor packages, and all processes on them; without memory modules.
    CpuPackages,
}

impl RunSummary {
    /// Energy of the processor packages; `None` if there are none or if one machine's could not be read.
    pub fn package_energy(&self) -> Option<EnergySum> {
        let mut processors = self.ceiling.devices.iter().filter(|device| device.is_processor()).peekable();
        processors.peek()?;
        processors.all(|device| device.energy.is_some()).then(|| EnergySum::of_packages([self]))
    }

    /// Whether a board's energy was told from its power, because its counter was missing or lied.
    pub fn has_integrated_power(&self) -> bool {
        let energies = self.ceiling.devices.iter().filter_map(|device| device.energy.as_ref());
        energies.into_iter().any(|energy| energy.source == EnergySource::PowerIntegral)
    }
}

impl Ceiling {
    /// Each board, and each machine's packages, once for each segment: slices of one board share its figure, and read the same counter at
    /// other moments, so that the longest look at it counts.
    pub fn energies(&self) -> Vec<(&DeviceCeiling, &DeviceEnergy)> {
        let mut energies: Vec<(&DeviceCeiling, &DeviceEnergy)> = Vec::new();
        let mut places = BTreeMap::new();
        for device in &self.devices {
            let Some(energy) = &device.energy else { continue };
            let segment = device.hold.as_ref().map(|hold| hold.segment);
            let place = *places.entry((segment, device.board())).or_insert(energies.len());
            match energies.get_mut(place) {
                Some(known) if energy.coverage_seconds > known.1.coverage_seconds => *known = (device, energy),
                Some(_) => {}
                None => energies.push((device, energy)),
            }
        }
        energies
    }
}

impl DeviceCeiling {
    /// What its energy is of: the board that it is cut from, or itself.
    pub fn board(&self) -> &str {
        self.energy.as_ref().and_then(|energy| energy.board.as_deref()).unwrap_or(&self.device)
    }

    /// Whether this is a machine's processors.
    pub fn is_processor(&self) -> bool {
        self.device.starts_with("cpu:")
    }
}
