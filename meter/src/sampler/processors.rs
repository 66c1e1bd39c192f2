//! The processor's side of a round, and what else the job's processes show.

use std::time::Duration;

use flopsmeter_core::sample::{Device, Reading, Sample};

use super::SamplerOptions;
use crate::clock::SessionClock;
use crate::device::Kernel;
use crate::device::accelerator::Accelerators;
use crate::device::cpu;
use crate::device::process_tree::ProcessTree;

/// Open files are looked at in each of the first rounds, when jobs open their devices, and then in every so-many-th.
const FIRST_ROUNDS: u64 = 5;
const EVERY_ROUNDS: u64 = 10;

pub(super) struct Processors {
    clock: SessionClock,
    kernel: Kernel,
    device: Device,
    tree: ProcessTree,
    accelerators: Accelerators,
    told_until: Duration,
    read_until: Duration,
    spent: Duration,
    /// Whether each round since the last sample was complete.
    complete: bool,
    rounds: u64,
}

impl Processors {
    pub(super) fn new(options: &SamplerOptions) -> Self {
        Self {
            clock: options.clock,
            device: cpu::describe(&options.kernel),
            tree: ProcessTree::new(options.kernel.clone(), options.job.clone(), options.waiter),
            accelerators: Accelerators::of(&options.kernel),
            kernel: options.kernel.clone(),
            told_until: Duration::ZERO,
            read_until: Duration::ZERO,
            spent: Duration::ZERO,
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
        };
        let duration_nanoseconds = cpu::nanoseconds(length);
        vec![Sample { device: self.device.id.clone(), started, duration_nanoseconds, reading }]
    }

    /// Accelerators that the job has opened since they were last looked for.
    pub(super) fn newly_opened_accelerators(&mut self) -> Vec<Device> {
        let due = self.rounds <= FIRST_ROUNDS || self.rounds.is_multiple_of(EVERY_ROUNDS);
        if !due || !self.accelerators.exist() {
            return Vec::new();
        }
        self.accelerators.newly_opened(&self.kernel, self.tree.living())
    }
}
