//! What a device said over one interval: raw counters, in integers, as they are stored once a second.
//!
//! Nothing here is interpreted. [`crate::ceiling`] turns samples into bounds, so that a better reading of the same records
//! stays possible later.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A device that a job may use, described once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// UUID of a GPU or of a MIG slice, `cpu:<host>` for a processor.
    pub id: String,
    /// Product name as the driver or the kernel gives it.
    pub name: String,
    /// What bounds its speed.
    pub facts: DeviceFacts,
}

/// What bounds a device's speed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DeviceFacts {
    /// A GPU that NVML describes.
    Gpu(GpuFacts),
    /// The machine's processors together.
    Cpu(CpuFacts),
    /// A device that the job uses and that we cannot read: it makes the ceiling incomplete.
    Unreadable {
        /// Why it cannot be read.
        reason: String,
    },
}

/// A GPU as NVML describes it; `None` where the driver does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuFacts {
    /// CUDA compute capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<ComputeCapability>,
    /// FP32 lanes of the whole GPU, which NVIDIA calls CUDA cores (`nvmlDeviceGetNumGpuCores`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_count: Option<u32>,
    /// Highest clock of the streaming multiprocessors (`nvmlDeviceGetMaxClockInfo`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sm_clock_mhz: Option<u32>,
    /// PCI device and vendor (`pciDeviceId` of `nvmlPciInfo_t`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_device_id: Option<u32>,
    /// PCI subsystem (`pciSubSystemId`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_subsystem_id: Option<u32>,
    /// PCI address, for example `00000000:1B:00.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
    /// Multi-instance state.
    pub mig: Mig,
    /// Version of the driver that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_version: Option<String>,
}

/// Whether a GPU is cut into instances, and whether this device is one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mig {
    /// Not cut.
    #[default]
    Off,
    /// The whole of a GPU that is cut: no instance of it is known to be the job's alone.
    Whole,
    /// One instance.
    Slice {
        /// UUID of the GPU it is cut from.
        parent: String,
        /// Its streaming multiprocessors (`nvmlDeviceGetAttributes_v2`); the whole GPU's are charged where this is unknown.
        multiprocessors: Option<u32>,
    },
}

/// The processors of one machine; `None` where the kernel does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// Logical processors that are online.
    pub logical_cores: u32,
    /// Highest clock, boost included; only where the kernel's driver is known to include it.
    pub max_clock_mhz: Option<u32>,
    /// Instruction-set flags as `/proc/cpuinfo` spells them, those that name floating-point units.
    pub features: Vec<String>,
    /// `x86_64`, `aarch64` …
    pub architecture: String,
    /// Why the energy of the processor packages cannot be read; `None` if it can, and in records of before it was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_energy_missing: Option<String>,
}

/// CUDA compute capability, written `9.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// Architecture.
    pub major: u32,
    /// Variant of it.
    pub minor: u32,
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A compute capability that is not two numbers around a point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no compute capability; write it as 9.0")]
pub struct ComputeCapabilityProblem(String);

impl FromStr for ComputeCapability {
    type Err = ComputeCapabilityProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| ComputeCapabilityProblem(text.to_owned()))
    }
}

impl Serialize for ComputeCapability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComputeCapability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One device over one interval.
///
/// The intervals of one session come from one clock that only goes forward (`started` is the session's start plus elapsed time,
/// suspension of the machine included), so a clock that is set while the job runs neither hides time nor counts it twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// [`Device::id`].
    pub device: String,
    /// Start of the interval.
    pub started: DateTime<Utc>,
    /// Length of the interval.
    pub duration_nanoseconds: u64,
    /// What the device said.
    pub reading: Reading,
}

impl Sample {
    /// End of the interval; `None` outside the range of dates that can be written.
    pub fn ended(&self) -> Option<DateTime<Utc>> {
        let length = TimeDelta::nanoseconds(i64::try_from(self.duration_nanoseconds).ok()?);
        self.started.checked_add_signed(length)
    }
}

/// What a device said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// A GPU's counters.
    Gpu(GpuReading),
    /// Processor time of the job's processes.
    Cpu {
        /// Upper bound on the processor time (user and system) that the job's processes have spent since the job started:
        /// cumulative, so that a lost sample loses nothing.
        cpu_time_nanoseconds: u64,
        /// Whether that can be said for this interval. If not, processes may have been missed and every processor is charged.
        complete: bool,
        /// Energy of the machine's processor packages since the sampler began, all processes included: cumulative, with what
        /// the kernel's counters lost by starting again added. `None` where it cannot be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package_energy_microjoules: Option<u64>,
    },
    /// Nothing.
    Missing {
        /// Why.
        reason: String,
    },
}

/// A GPU's counters over an interval; `None` where the GPU does not have one or did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuReading {
    /// Stretches of time for which the driver reported a busy share, as it reported them; they need not fill the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<Vec<BusyStretch>>,
    /// Clock of the streaming multiprocessors at the end of the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<u32>,
    /// The highest clock that the driver buffered in the interval (`nvmlDeviceGetSamples`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_sm_clock_mhz: Option<u32>,
    /// Stretches of time between two snapshots of the activity counters; they need not fill the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipes: Option<Vec<PipeStretch>>,
    /// The cycle counters at the end of the interval (since boot).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<CycleCounters>,
    /// Why the activity counters, of which the cycle counters are a part, could not be read: the call of the driver that failed,
    /// and its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpm_problem: Option<String>,
    /// The energy counter at the end of the interval (since the driver was loaded).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_millijoules: Option<u64>,
    /// Board power at the end of the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_milliwatts: Option<u32>,
}

/// A stretch of time and the share of it in which at least one kernel ran, written `[166667,97]`.
///
/// No stretch of one device may overlap another one of it: each proves idle time once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u32)", into = "(u64, u32)")]
pub struct BusyStretch {
    /// Length.
    pub microseconds: u64,
    /// The driver's whole percentage.
    pub percent: u32,
}

impl From<(u64, u32)> for BusyStretch {
    fn from((microseconds, percent): (u64, u32)) -> Self {
        Self { microseconds, percent }
    }
}

impl From<BusyStretch> for (u64, u32) {
    fn from(stretch: BusyStretch) -> Self {
        (stretch.microseconds, stretch.percent)
    }
}

/// A stretch of time and the shares of it in which each kind of arithmetic unit was active, in basis points (hundredths of a
/// per cent), rounded up; written `[1000123,4371,0,12,0]`. A share may be more than the whole: what the counters had not yet
/// shown at the end of the stretch before is charged with this one.
///
/// From two snapshots of GPM, NVML's performance counters of Hopper and later GPUs. No stretch of one device may overlap
/// another one of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u32, u32, u32, u32)", into = "(u64, u32, u32, u32, u32)")]
pub struct PipeStretch {
    /// Length, never longer than it was.
    pub microseconds: u64,
    /// Any tensor unit, in whatever number format (`NVML_GPM_METRIC_ANY_TENSOR_UTIL`).
    pub tensor: u32,
    /// Vector units in FP64, tensor units excluded (`NVML_GPM_METRIC_FP64_UTIL`).
    pub fp64: u32,
    /// The same in FP32.
    pub fp32: u32,
    /// The same in FP16.
    pub fp16: u32,
}

impl From<(u64, u32, u32, u32, u32)> for PipeStretch {
    fn from((microseconds, tensor, fp64, fp32, fp16): (u64, u32, u32, u32, u32)) -> Self {
        Self { microseconds, tensor, fp64, fp32, fp16 }
    }
}

impl From<PipeStretch> for (u64, u32, u32, u32, u32) {
    fn from(stretch: PipeStretch) -> Self {
        (stretch.microseconds, stretch.tensor, stretch.fp64, stretch.fp32, stretch.fp16)
    }
}

/// Cycles of the streaming multiprocessors since boot (GPM counters of the 595 driver line and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleCounters {
    /// All cycles.
    pub elapsed: u64,
    /// Those in which at least one warp was resident.
    pub active: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(reading: Reading) -> Sample {
        Sample {
            device: "GPU-1".to_owned(),
            started: DateTime::from_timestamp(1_790_000_000, 123_456_789).unwrap(),
            duration_nanoseconds: 1_000_000_001,
            reading,
        }
    }

    #[test]
    fn a_stored_sample_is_small_and_keeps_every_nanosecond() {
        let busy = Some(vec![BusyStretch { microseconds: 166_667, percent: 97 }]);
        let reading = GpuReading { busy, sm_clock_mhz: Some(1980), ..GpuReading::default() };
        let written = serde_json::to_string(&sample(Reading::Gpu(reading.clone()))).unwrap();
        assert_eq!(
            written,
            r#"{"device":"GPU-1","started":"2026-09-21T14:13:20.123456789Z","duration_nanoseconds":1000000001,"reading":{"gpu":{"busy":[[166667,97]],"sm_clock_mhz":1980}}}"#
        );
        assert_eq!(serde_json::from_str::<Sample>(&written).unwrap(), sample(Reading::Gpu(reading)));
    }

    #[test]
    fn a_processor_of_before_its_packages_were_read_can_be_read() {
        let old = r#"{"cpu":{"cpu_time_nanoseconds":5,"complete":true}}"#;
        let read: Reading = serde_json::from_str(old).unwrap();
        let expected = Reading::Cpu { cpu_time_nanoseconds: 5, complete: true, package_energy_microjoules: None };
        assert_eq!((&read, serde_json::to_string(&read).unwrap().as_str()), (&expected, old));
        let old = r#"{"kind":"cpu","logical_cores":2,"max_clock_mhz":null,"features":[],"architecture":"x86_64"}"#;
        let read: DeviceFacts = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
    }

    #[test]
    fn a_device_survives_a_round_trip() {
        let facts = GpuFacts {
            compute_capability: Some(ComputeCapability { major: 9, minor: 0 }),
            mig: Mig::Slice { parent: "GPU-2".to_owned(), multiprocessors: Some(16) },
            ..GpuFacts::default()
        };
        let device = Device { id: "MIG-1".to_owned(), name: "NVIDIA H200".to_owned(), facts: DeviceFacts::Gpu(facts) };
        let written = serde_json::to_string(&device).unwrap();
        assert!(written.contains(r#""compute_capability":"9.0""#), "{written}");
        assert_eq!(serde_json::from_str::<Device>(&written).unwrap(), device);
    }

    #[test]
    fn an_interval_past_the_calendar_has_no_end() {
        let mut sample = sample(Reading::Missing { reason: "lost".to_owned() });
        sample.duration_nanoseconds = u64::MAX;
        assert_eq!(sample.ended(), None);
    }
}
