//! Energy of the board that a MIG instance is cut from: the driver has no counter for instances.

use std::collections::BTreeMap;

use flopsmeter_core::sample::GpuReading;
use nvml_wrapper::{Device, Nvml};

/// How UUIDs of instances begin.
const INSTANCE: &str = "MIG-";

/// Handles of the boards, by the UUID of the instance: looking one up again and again is slow.
pub(super) struct Boards {
    nvml: &'static Nvml,
    handles: BTreeMap<String, Device<'static>>,
}

impl Boards {
    pub(super) fn new(nvml: &'static Nvml) -> Self {
        Self { nvml, handles: BTreeMap::new() }
    }

    /// Adds the board's energy and power to the reading of an instance, where the driver tells them. A fault loses these alone:
    /// the instance was read.
    pub(super) fn complete(&mut self, uuid: &str, reading: &mut GpuReading) {
        let is_told = reading.energy_millijoules.is_some() || reading.power_milliwatts.is_some();
        if is_told || !uuid.starts_with(INSTANCE) {
            return;
        }
        let Some(board) = self.handle(uuid) else { return };
        reading.energy_millijoules = board.total_energy_consumption().ok();
        reading.power_milliwatts = board.power_usage().ok();
        if reading.energy_millijoules.is_some() || reading.power_milliwatts.is_some() {
            self.handles.insert(uuid.to_owned(), board);
        }
    }

    fn handle(&mut self, uuid: &str) -> Option<Device<'static>> {
        let known = self.handles.remove(uuid);
        known.or_else(|| self.nvml.device_by_uuid(uuid).ok()?.mig_parent_device().ok())
    }
}
