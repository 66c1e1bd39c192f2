//! The hardware ceiling: from samples to upper bounds on the operations a job can have done.
//!
//! A bound is never below the truth. Time of which nothing is known is charged at the device's strict peak, a device that
//! cannot be bounded makes the total missing, and every rounding is upward. Each layer is `time held × strict peak` less what
//! readings *prove* not to have been used, so that samples may be lost, late, reordered or repeated: a lost one proves
//! nothing, a repeated one proves nothing twice.

mod busy;
mod cycles;
mod device;
mod energy;
mod exact;
mod late;
mod layer;
mod pipes;
mod processor;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod scripted_counters;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::gpu_table::GpuPeak;
use crate::run::{Ceiling, DeviceCeiling, DeviceEnergy, Finding, Gap};
use crate::sample::{Device, DeviceFacts, Sample};
use crate::unit::{Flops, Joules};
pub use cycles::{CYCLE_COUNTER_DRIVER, has_cycle_counters};
use device::DeviceMeter;
use layer::Layer;
pub use processor::{CorePeak, EMBEDDED as EMBEDDED_PROCESSORS, core_peak, names_floating_point};
use timeline::nanoseconds;

/// Devices that samples may name without having been announced; more than that are counted under one name.
const MAX_STRAYS: usize = 64;

/// What is said of time in which there was no meter.
const UNMETERED: &str = "the job began before its meter: nothing was read of this time";

/// Adds up the samples of one session (one segment on one node), in any order.
///
/// ```
/// use chrono::DateTime;
/// use flopsmeter_core::ceiling::CeilingMeter;
/// use flopsmeter_core::sample::{Device, DeviceFacts, GpuFacts};
/// use flopsmeter_core::unit::Flops;
///
/// let facts = DeviceFacts::Gpu(GpuFacts { max_sm_clock_mhz: Some(1980), ..GpuFacts::default() });
/// let mut meter = CeilingMeter::new(vec![Device { id: "GPU-1".into(), name: "NVIDIA H200".into(), facts }]);
/// meter.hold(DateTime::from_timestamp(0, 0).unwrap(), DateTime::from_timestamp(10, 0).unwrap());
/// // Ten seconds in which nothing could be read are charged in full.
/// assert_eq!(meter.ceiling().flop, Some(Flops(10 * 132 * 8192 * 1_980_000_000)));
/// ```
#[derive(Clone, Debug)]
pub struct CeilingMeter {
    devices: BTreeMap<String, DeviceMeter>,
    order: Vec<String>,
    held: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Time of it in which there was no meter.
    unmetered: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl CeilingMeter {
    /// A meter for these devices, by the embedded tables.
    pub fn new(devices: Vec<Device>) -> Self {
        let mut meter = Self { devices: BTreeMap::new(), order: Vec::new(), held: None, unmetered: None };
        meter.announce(devices);
        meter
    }

    /// Adds devices. One that is known already keeps its first description.
    pub fn announce(&mut self, devices: Vec<Device>) {
        for device in devices {
            if self.devices.contains_key(&device.id) {
                continue;
            }
            let id = device.id.clone();
            let mut meter = DeviceMeter::new(device);
            if let Some((started, ended)) = self.held {
                meter.timeline.hold(nanoseconds(started), nanoseconds(ended));
            }
            if let Some((began, until)) = self.unmetered {
                meter.timeline.miss(nanoseconds(began), nanoseconds(until), UNMETERED);
            }
            self.order.push(id.clone());
            self.devices.insert(id, meter);
        }
    }

    /// The job held all devices in this time, whether or not samples say so: call it with the job's start as soon as that is
    /// known, and with its end when it has ended.
    pub fn hold(&mut self, started: DateTime<Utc>, ended: DateTime<Utc>) {
        let (from, until) = self.held.unwrap_or((started, ended));
        self.held = Some((from.min(started), until.max(ended)));
        for device in self.devices.values_mut() {
            device.timeline.hold(nanoseconds(started), nanoseconds(ended));
        }
    }

    /// The job held all devices from its beginning until its meter began, and nobody read them: a gap, charged in full. A beginning
    /// that is no earlier says nothing.
    pub fn hold_unmetered(&mut self, began: DateTime<Utc>, metered: DateTime<Utc>) {
        if began >= metered {
            return;
        }
        self.hold(began, metered);
        self.unmetered = Some((began, metered));
        for device in self.devices.values_mut() {
            device.timeline.miss(nanoseconds(began), nanoseconds(metered), UNMETERED);
        }
    }

    /// Adds a sample. One of a device that was not announced makes the ceiling incomplete.
    pub fn add(&mut self, sample: &Sample) {
        if !self.devices.contains_key(&sample.device) {
            let strays = self.devices.len().saturating_sub(self.order.len());
            let id = if strays < MAX_STRAYS { sample.device.as_str() } else { "other devices" };
            let reason = "samples name this device, but nothing describes it".to_owned();
            let facts = DeviceFacts::Unreadable { reason };
            let stray = Device { id: id.to_owned(), name: "unknown".to_owned(), facts };
            let meter = DeviceMeter::new(stray);
            self.devices.entry(id.to_owned()).or_insert(meter).add(sample);
            return;
        }
        if let Some(device) = self.devices.get_mut(&sample.device) {
            device.add(sample);
        }
    }

    /// The devices as they were announced, then those that only samples name.
    fn in_order(&self) -> impl Iterator<Item = &DeviceMeter> {
        let announced = self.order.iter().filter_map(|id| self.devices.get(id));
        let strays = self.devices.iter().filter(|(id, _)| !self.order.contains(id)).map(|(_, device)| device);
        announced.chain(strays)
    }

    /// The bound so far: each device at its tightest valid layer, and their sum where every device has one.
    pub fn ceiling(&self) -> Ceiling {
        let devices: Vec<DeviceCeiling> = self.in_order().map(DeviceMeter::ceiling).collect();
        let flop = devices.iter().map(|device| device.flop).sum::<Option<Flops>>().filter(|_| !devices.is_empty());
        let mut layers: Vec<&String> = devices.iter().filter_map(|device| device.layer.as_ref()).collect();
        layers.dedup();
        let layer = match (flop, layers.as_slice()) {
            (None, _) | (_, []) => None,
            (_, [only]) => Some((*only).clone()),
            _ => Some("mixed".to_owned()),
        };
        Ceiling { flop, layer, complete: flop.is_some(), devices }
    }

    /// Time in which a device could not be read, or was read late, in the order of devices and then of time.
    pub fn gaps(&self) -> Vec<Gap> {
        self.in_order().flat_map(DeviceMeter::gaps).collect()
    }

    /// Energy of the GPUs' boards over the time that was read, each board once however many slices of it are the job's; `None`
    /// without a GPU, or if nothing could be read of one of the boards: what cannot be read at all may be one.
    pub fn energy(&self) -> Option<Joules> {
        if self.in_order().any(DeviceMeter::is_unreadable) {
            return None;
        }
        let mut boards: BTreeMap<&str, Option<DeviceEnergy>> = BTreeMap::new();
        for gpu in self.in_order().filter(|device| device.is_gpu()) {
            let known = boards.entry(gpu.board()).or_default();
            let covers = |energy: &Option<DeviceEnergy>| energy.as_ref().map_or(0.0, |energy| energy.coverage_seconds);
            let energy = gpu.energy();
            // Slices read the same counter at other moments: the longest look at it counts.
            if known.is_none() || covers(&energy) > covers(known) {
                *known = energy;
            }
        }
        boards.first_key_value()?;
        boards.into_values().map(|energy| energy.map(|energy| energy.joules)).sum()
    }

    /// What a reader has to know besides: energy counters that lied, each board once, and clocks above what should be the highest.
    pub fn findings(&self) -> Vec<Finding> {
        let mut boards = BTreeSet::new();
        let energy = self.in_order().filter_map(|device| Some((device.board(), device.energy_finding()?)));
        let energy = energy.filter(|(board, _)| boards.insert(*board)).map(|(_, finding)| finding);
        energy.chain(self.in_order().filter_map(DeviceMeter::clock_finding)).collect()
    }
}
