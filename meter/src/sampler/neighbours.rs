//! Who else uses the job's GPUs.
//!
//! The bound keeps the whole GPU: how much of it the job had is the driver's estimate at best, and nobody can prove it.

use std::collections::BTreeMap;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::Device;

use super::traces::words;
use crate::device::Kernel;
use crate::device::nvml::GpuProcess;
use crate::device::process_tree::belonging::{Belonging, Numbers};

/// Foreign processes that are named; the others are counted.
const NAMED: usize = 3;

/// What was seen of them.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    shared: BTreeMap<String, Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    name: String,
    most: usize,
    /// Shares of the job's processes and of all, summed over lists, as the driver estimates them.
    ours: u64,
    all: u64,
}

impl Neighbours {
    /// Takes a list of a claimed GPU. Says so when the first neighbour is seen there.
    pub(super) fn see(
        &mut self,
        device: &Device,
        list: &[GpuProcess],
        numbers: &Numbers<'_>,
        kernel: &Kernel,
    ) -> Option<Finding> {
        let (mut ours, mut all) = (0, 0);
        let mut foreign = Vec::new();
        for process in list {
            let share = u64::from(process.sm_percent.unwrap_or(0).min(100));
            all += share;
            match numbers.belonging(process.pid) {
                Belonging::Job(_) => ours += share,
                Belonging::Neighbour => foreign.push(process.pid),
                Belonging::Unknown => {}
            }
        }
        if foreign.is_empty() && !self.shared.contains_key(&device.id) {
            return None;
        }
        let first = !self.shared.contains_key(&device.id);
        let shared = self.shared.entry(device.id.clone()).or_default();
        shared.name.clone_from(&device.name);
        shared.most = shared.most.max(foreign.len());
        shared.ours += ours;
        shared.all += all;
        first.then(|| told(device, &foreign, kernel))
    }

    /// What there is to say at the end: how many there were, and the driver's estimate.
    pub(super) fn last_words(&self) -> Vec<Finding> {
        let told = self.shared.iter().filter_map(|(id, shared)| {
            let percent = (100 * shared.ours).checked_div(shared.all)?;
            let text = format!(
                "the driver ascribes about {percent} % of the work on {} {id} to the job and the rest to {} at most: an estimate, which lowers nothing",
                shared.name,
                processes(shared.most)
            );
            Some(Finding { code: "gpu-share-estimated".to_owned(), text })
        });
        told.collect()
    }
}

fn told(device: &Device, foreign: &[u32], kernel: &Kernel) -> Finding {
    let named: Vec<String> = foreign.iter().take(NAMED).map(|&pid| words(kernel, pid)).collect();
    let more = foreign.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let text = format!(
        "{} {} is shared: {} on it that {} not the job's ({}{more}); the whole GPU is charged to the job, because its share cannot be proven",
        device.name,
        device.id,
        if foreign.len() == 1 { "1 process runs".to_owned() } else { format!("{} processes run", foreign.len()) },
        if foreign.len() == 1 { "is" } else { "are" },
        named.join(", ")
    );
    Finding { code: "gpu-shared".to_owned(), text }
}

fn processes(count: usize) -> String {
    if count == 1 { "1 other process".to_owned() } else { format!("{count} other processes") }
}
