//! Who uses a GPU, as the driver lists it.

use std::collections::BTreeMap;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::GpuProcess;
use super::read::supported;

/// Lists processes in turns.
#[derive(Debug, Default)]
pub(super) struct ProcessLists {
    /// Time of the newest utilisation sample of each GPU.
    newest: BTreeMap<String, u64>,
}

impl ProcessLists {
    /// The processes on a GPU or an instance: those that compute, those that compute through MPS and those that draw, for
    /// Vulkan computes as well.
    pub(super) fn list(&mut self, nvml: &'static Nvml, uuid: String) -> Result<Vec<GpuProcess>, String> {
        self.try_list(nvml, uuid).map_err(|problem| problem.to_string())
    }

    fn try_list(&mut self, nvml: &'static Nvml, uuid: String) -> Result<Vec<GpuProcess>, NvmlError> {
        let device = nvml.device_by_uuid(uuid.as_str())?;
        let mut pids: Vec<u32> = Vec::new();
        let lists = [
            device.running_compute_processes()?,
            supported(device.mps_running_compute_processes())?.unwrap_or_default(),
            supported(device.running_graphics_processes())?.unwrap_or_default(),
        ];
        pids.extend(lists.iter().flatten().map(|process| process.pid));
        pids.sort_unstable();
        pids.dedup();
        // Most GPUs are their user's alone, and then nobody asks for shares.
        let shares = if pids.len() > 1 { self.shares(&device, uuid) } else { BTreeMap::new() };
        Ok(pids.into_iter().map(|pid| GpuProcess { pid, sm_percent: shares.get(&pid).copied() }).collect())
    }

    /// Each process's share since the last turn, the highest of its samples.
    fn shares(&mut self, device: &Device<'static>, uuid: String) -> BTreeMap<u32, u32> {
        let newest = self.newest.entry(uuid).or_default();
        let mut shares = BTreeMap::new();
        // An estimate that lowers nothing: where there is none, none is told.
        for sample in device.process_utilization_stats(*newest).unwrap_or_default() {
            *newest = sample.timestamp.max(*newest);
            let share: &mut u32 = shares.entry(sample.pid).or_default();
            *share = sample.sm_util.max(*share);
        }
        shares
    }
}
