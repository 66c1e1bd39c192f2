//! The processor's side of a round.

use std::time::Duration;

use flopsmeter_core::sample::{Device, DeviceFacts, Reading, Sample};

use super::SamplerOptions;
use crate::clock::SessionClock;
use crate::device::cpu;
use crate::device::package_energy::PackageEnergy;
use crate::device::process_tree::ProcessTree;

pub(super) struct Processors {
    clock: SessionClock,
    device: Device,
    tree: ProcessTree,
    packages: Option<PackageEnergy>,
    told_until: Duration,
    read_until: Duration,
    spent: Duration,
    package_energy_microjoules: Option<u64>,
    /// Whether each round since the last sample was complete.
    complete: bool,
    rounds: u64,
}

impl Processors {
    pub(super) fn new(options: &SamplerOptions) -> Self {
        let (packages, package_energy_missing) = match PackageEnergy::begin(&options.kernel) {
            Ok(packages) => (Some(packages), None),
            Err(reason) => (None, Some(reason)),
        };
        let mut device = cpu::describe(&options.kernel);
        if let DeviceFacts::Cpu(facts) = &mut device.facts {
            facts.package_energy_missing = package_energy_missing;
        }
        Self {
            clock: options.clock,
            device,
            packages,
            tree: ProcessTree::new(options.kernel.clone(), options.job.clone(), options.waiter),
            told_until: Duration::ZERO,
            read_until: Duration::ZERO,
            spent: Duration::ZERO,
            package_energy_microjoules: None,
            complete: true,
            rounds: 0,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Reads the job's processes. The interval ends before they are read: what they do meanwhile belongs to the next one.
    pub(super) fn read(&mut self, usage: Option<Duration>) {
        self.read_until = self.clock.elapsed();
        let time = self.tree.read(usage);
        self.spent = time.spent;
        self.complete &= time.complete;
        self.package_energy_microjoules = self.packages.as_mut().and_then(PackageEnergy::read);
        self.rounds += 1;
    }

    /// What was read since the last time, as one sample.
    pub(super) fn take(&mut self) -> Vec<Sample> {
        let started = self.clock.at(self.told_until);
        let length = self.read_until.saturating_sub(self.told_until);
        self.told_until = self.read_until;
        let reading = Reading::Cpu {
            cpu_time_nanoseconds: cpu::nanoseconds(self.spent),
            complete: std::mem::replace(&mut self.complete, true),
            package_energy_microjoules: self.package_energy_microjoules,
        };
        let duration_nanoseconds = cpu::nanoseconds(length);
        vec![Sample { device: self.device.id.clone(), started, duration_nanoseconds, reading }]
    }

    /// The job's processes.
    pub(super) fn tree(&self) -> &ProcessTree {
        &self.tree
    }

    /// How often they were read.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }
}

#[cfg(test)]
mod tests {
    use flopsmeter_core::ceiling::CeilingMeter;
    use flopsmeter_core::run::EnergyBoundary;
    use flopsmeter_core::unit::Joules;

    use super::*;
    use crate::device::Kernel;
    use crate::device::process_tree::JobProcess;

    fn on_machine(folder: &std::path::Path) -> Processors {
        let kernel = Kernel::under(folder);
        Processors::new(&SamplerOptions { kernel, ..SamplerOptions::new(SessionClock::start(), JobProcess::default()) })
    }

    #[test]
    fn the_packages_energy_reaches_the_ceiling() {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("sys/class/powercap/intel-rapl:0");
        fs_err::create_dir_all(&package).unwrap();
        let write = |file: &str, text: &str| fs_err::write(package.join(file), text).unwrap();
        write("name", "package-0\n");
        write("max_energy_range_uj", "262143328850\n");
        write("energy_uj", "262143000000\n");
        let mut processors = on_machine(folder.path());
        let mut meter = CeilingMeter::new(vec![processors.device().clone()]);
        // From the end of its range on by 90 J.
        for energy in ["262143000000", "262143328850", "89671150"] {
            write("energy_uj", energy);
            processors.read(None);
            processors.take().iter().for_each(|sample| meter.add(sample));
        }
        let device = meter.ceiling().devices.remove(0);
        let energy = device.energy.unwrap();
        assert_eq!((energy.joules, energy.boundary), (Joules::from_millijoules(90_000), EnergyBoundary::CpuPackages));
        assert!(
            device.assumptions.iter().any(|said| said.contains("not of the job alone")),
            "{:?}",
            device.assumptions
        );
    }

    #[test]
    fn packages_that_cannot_be_read_are_said_once_and_lose_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut processors = on_machine(folder.path());
        let mut meter = CeilingMeter::new(vec![processors.device().clone()]);
        for _ in 0..3 {
            processors.read(None);
            processors.take().iter().for_each(|sample| meter.add(sample));
        }
        let device = meter.ceiling().devices.remove(0);
        assert!(device.energy.is_none() && device.flop.is_some(), "{device:?}");
        let said =
            device.assumptions.iter().filter(|said| said.contains("energy of the processor packages is missing"));
        assert_eq!(said.count(), 1, "{:?}", device.assumptions);
        assert!(meter.findings().is_empty());
    }
}
