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

#[cfg(test)]
mod tests {
    use flopsmeter_core::sample::{DeviceFacts, GpuFacts};

    use super::*;
    use crate::device::process_tree::{JobProcess, ProcessTree};

    /// The job is process 20; its neighbours 30 and 31 are seen to use a GPU.
    fn see(neighbours: &mut Neighbours, list: &[(u32, Option<u32>)]) -> Option<Finding> {
        let folder = tempfile::tempdir().unwrap();
        for number in [20, 30, 31] {
            let process = folder.path().join(format!("proc/{number}"));
            fs_err::create_dir_all(process.join("fd")).unwrap();
            let stat = format!("{number} (x) S 1 1 1 0 -1 0 0 0 0 0 1 0 1 0 20 0 1 0 {number} 0 0\n");
            fs_err::write(process.join("stat"), stat).unwrap();
            fs_err::write(process.join("comm"), "python\n").unwrap();
            fs_err::os::unix::fs::symlink("/dev/nvidia0", process.join("fd/9")).unwrap();
        }
        let kernel = Kernel::under(folder.path());
        let job = JobProcess::default();
        job.set(20);
        let mut tree = ProcessTree::new(kernel.clone(), job, None);
        tree.read(None);
        let facts = DeviceFacts::Gpu(GpuFacts::default());
        let device = Device { id: "GPU-aa".to_owned(), name: "NVIDIA H200".to_owned(), facts };
        let list: Vec<GpuProcess> = list.iter().map(|&(pid, sm_percent)| GpuProcess { pid, sm_percent }).collect();
        neighbours.see(&device, &list, &Numbers::of(&tree), &kernel)
    }

    #[test]
    fn neighbours_are_counted_and_named_once() {
        let mut neighbours = Neighbours::default();
        assert_eq!(see(&mut neighbours, &[(20, None)]), None);
        let finding = see(&mut neighbours, &[(20, Some(60)), (30, Some(20)), (31, Some(20))]).unwrap();
        assert_eq!(
            (finding.code.as_str(), finding.text.as_str()),
            (
                "gpu-shared",
                "NVIDIA H200 GPU-aa is shared: 2 processes run on it that are not the job's (process 30 (python), process 31 (python)); the whole GPU is charged to the job, because its share cannot be proven"
            )
        );
        assert_eq!(see(&mut neighbours, &[(20, Some(50)), (30, Some(10))]), None);
        let [estimate] = &neighbours.last_words()[..] else { panic!("one estimate") };
        assert_eq!(
            estimate.text,
            "the driver ascribes about 68 % of the work on NVIDIA H200 GPU-aa to the job and the rest to 2 other processes at most: an estimate, which lowers nothing"
        );
    }

    #[test]
    fn a_gpu_of_the_jobs_own_has_nothing_said_of_it() {
        let mut neighbours = Neighbours::default();
        assert_eq!(see(&mut neighbours, &[(20, Some(60))]), None);
        assert!(neighbours.last_words().is_empty());
        assert!(see(&mut neighbours, &[(30, None)]).is_some());
        assert!(neighbours.last_words().is_empty(), "without shares nothing is estimated");
    }
}
