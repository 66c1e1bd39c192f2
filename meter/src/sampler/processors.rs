//! The processor's side of a round.

use std::time::Duration;

use flopsmeter_core::sample::{Device, Reading, Sample};

use super::SamplerOptions;
use crate::clock::SessionClock;
use crate::device::cpu;
use crate::device::process_tree::ProcessTree;

pub(super) struct Processors {
    clock: SessionClock,
    device: Device,
    tree: ProcessTree,
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

    /// The job's processes.
    pub(super) fn tree(&self) -> &ProcessTree {
        &self.tree
    }

    /// How often they were read.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }
}
