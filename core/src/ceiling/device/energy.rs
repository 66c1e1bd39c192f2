//! What is told of a device's energy.

use super::{DeviceMeter, Speed};
use crate::ceiling::energy::{Figure, Judgement};
use crate::ceiling::exact::seconds;
use crate::run::{DeviceEnergy, EnergyBoundary, Finding};
use crate::sample::{DeviceFacts, Mig};

impl DeviceMeter {
    /// The board that the device is, or is cut from: what one energy counter is of.
    pub(in crate::ceiling) fn board(&self) -> &str {
        self.parent().unwrap_or(&self.device.id)
    }

    fn parent(&self) -> Option<&str> {
        match &self.device.facts {
            DeviceFacts::Gpu(facts) => match &facts.mig {
                Mig::Slice { parent, .. } => Some(parent),
                Mig::Off | Mig::Whole => None,
            },
            _ => None,
        }
    }

    fn judgement(&self) -> Judgement {
        self.timeline.energy().judge()
    }

    pub(in crate::ceiling) fn energy(&self) -> Option<DeviceEnergy> {
        match &self.speed {
            Speed::Gpu(_) => {
                let judgement = self.judgement();
                let told = self.told(judgement.figure?, EnergyBoundary::GpuBoard);
                Some(DeviceEnergy {
                    counter_joules: judgement.counter,
                    power_integral_joules: judgement.integral,
                    ..told
                })
            }
            Speed::Cpu { .. } => {
                let told = self.told(self.packages.figure()?, EnergyBoundary::CpuPackages);
                Some(DeviceEnergy { counter_joules: Some(told.joules), ..told })
            }
            Speed::Unknown(_) => None,
        }
    }

    fn told(&self, figure: Figure, boundary: EnergyBoundary) -> DeviceEnergy {
        let parent = self.parent();
        DeviceEnergy {
            joules: figure.joules,
            source: figure.source,
            boundary: if parent.is_some() { EnergyBoundary::ParentBoard } else { boundary },
            board: parent.map(str::to_owned),
            coverage_seconds: seconds(figure.nanoseconds),
            counter_joules: None,
            power_integral_joules: None,
        }
    }

    /// What a reader has to know of the energy, one sentence each.
    pub(super) fn energy_notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = match &self.speed {
            Speed::Gpu(_) => self.judgement().note.into_iter().collect(),
            Speed::Cpu { .. } => self.package_note().into_iter().collect(),
            Speed::Unknown(_) => Vec::new(),
        };
        let Some(energy) = self.energy() else { return notes };
        match (energy.boundary, energy.board) {
            (EnergyBoundary::ParentBoard, Some(board)) => {
                notes.push(format!(
                    "the energy is that of the whole board {board} with all of its slices, not shared out"
                ));
            }
            (EnergyBoundary::GpuBoard, _) if self.device.name.contains("GH200") => {
                notes.push("the energy counter of a GH200 covers the module: processor, GPU and memory".to_owned());
            }
            _ => {}
        }
        notes
    }

    fn package_note(&self) -> Option<String> {
        if self.packages.figure().is_some() {
            return Some(
                "the energy is that of the processor packages with all processes on them, not of the job alone"
                    .to_owned(),
            );
        }
        let DeviceFacts::Cpu(facts) = &self.device.facts else { return None };
        let reason = facts.package_energy_missing.as_deref()?;
        Some(format!("the energy of the processor packages is missing: {reason}"))
    }

    fn package_finding(&self) -> Option<Finding> {
        let unmeasured = Some(self.packages.unmeasured_nanoseconds()).filter(|&nanoseconds| nanoseconds > 0)?;
        let text = format!(
            "{} ({}): the energy of the processor packages was not measured for {} s, in which their counters may have gone round more than once: that time is in no figure",
            self.device.name,
            self.board(),
            seconds(unmeasured)
        );
        Some(Finding { code: "package-energy-gap".to_owned(), text })
    }

    /// A counter that lied, or was read too seldom.
    pub(in crate::ceiling) fn energy_finding(&self) -> Option<Finding> {
        if !self.is_gpu() {
            return self.package_finding();
        }
        let Judgement { note, finding, .. } = self.judgement();
        let text = format!("{} ({}): {}", self.device.name, self.board(), note?);
        Some(Finding { code: finding?.to_owned(), text })
    }
}
