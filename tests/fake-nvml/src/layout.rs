//! The C structs and codes of `nvml.h`, written down a second time: a test compares their layout with the client's bindings.

mod metric;

use std::ffi::{c_char, c_void};

pub use metric::{METRICS, Metric, Told};

/// `nvmlReturn_t`
pub type Return = u32;
/// The call did what it says.
pub const SUCCESS: Return = 0;
/// `nvmlInit` was not called.
pub const UNINITIALIZED: Return = 1;
/// A null pointer, or an index out of range.
pub const INVALID_ARGUMENT: Return = 2;
/// Not on this GPU.
pub const NOT_SUPPORTED: Return = 3;
/// Nothing there.
pub const NOT_FOUND: Return = 6;
/// The caller's buffer is too small.
pub const INSUFFICIENT_SIZE: Return = 7;
/// The GPU has fallen off the bus.
pub const GPU_IS_LOST: Return = 15;
/// Nothing to tell.
pub const NO_DATA: Return = 21;
/// The struct's version is unknown.
pub const ARGUMENT_VERSION_MISMATCH: Return = 25;
/// No such GPU any more.
pub const GPU_NOT_FOUND: Return = 28;

/// `NVML_TOTAL_POWER_SAMPLES`
pub const TOTAL_POWER_SAMPLES: u32 = 0;
/// `NVML_GPU_UTILIZATION_SAMPLES`
pub const GPU_UTILIZATION_SAMPLES: u32 = 1;
/// `NVML_PROCESSOR_CLK_SAMPLES`
pub const PROCESSOR_CLOCK_SAMPLES: u32 = 5;
/// `NVML_VALUE_TYPE_UNSIGNED_INT`
pub const VALUE_UNSIGNED_INT: u32 = 1;
/// `NVML_VALUE_TYPE_UNSIGNED_LONG_LONG`
pub const VALUE_UNSIGNED_LONG_LONG: u32 = 3;
/// `NVML_CLOCK_MEM`
pub const CLOCK_MEMORY: u32 = 2;
/// `NVML_CLOCK_ID_CURRENT`
pub const CLOCK_ID_CURRENT: u32 = 0;
/// `NVML_CLOCK_ID_CUSTOMER_BOOST_MAX`
pub const CLOCK_ID_CUSTOMER_BOOST_MAX: u32 = 3;
/// `NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION`
pub const FIELD_TOTAL_ENERGY: u32 = 83;
/// `NVML_FI_DEV_POWER_AVERAGE`
pub const FIELD_POWER_AVERAGE: u32 = 185;
/// `NVML_FI_DEV_POWER_INSTANT`
pub const FIELD_POWER_INSTANT: u32 = 186;
/// `NVML_FI_DEV_POWER_CURRENT_LIMIT`
pub const FIELD_POWER_CURRENT_LIMIT: u32 = 190;

/// `NVML_GPM_METRICS_GET_VERSION` and `NVML_GPM_SUPPORT_VERSION`
pub const GPM_VERSION: u32 = 1;

/// `nvmlPciInfo_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PciInfo {
    /// `busIdLegacy`
    pub bus_id_legacy: [u8; 16],
    /// `domain`
    pub domain: u32,
    /// `bus`
    pub bus: u32,
    /// `device`
    pub device: u32,
    /// `pciDeviceId`
    pub pci_device_id: u32,
    /// `pciSubSystemId`
    pub pci_subsystem_id: u32,
    /// `busId`
    pub bus_id: [u8; 32],
}

/// `nvmlUtilization_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Utilization {
    /// `gpu`
    pub gpu: u32,
    /// `memory`
    pub memory: u32,
}

/// `nvmlSample_t`; the value is a union of eight bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sample {
    /// `timeStamp`, microseconds
    pub timestamp: u64,
    /// `sampleValue`, as `ullVal`
    pub value: u64,
}

/// `nvmlFieldValue_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FieldValue {
    /// `fieldId`
    pub field_id: u32,
    /// `scopeId`
    pub scope_id: u32,
    /// `timestamp`
    pub timestamp: i64,
    /// `latencyUsec`
    pub latency_usec: i64,
    /// `valueType`
    pub value_type: u32,
    /// `nvmlReturn`
    pub nvml_return: Return,
    /// `value`
    pub value: u64,
}

/// `nvmlProcessInfo_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessInfo {
    /// `pid`
    pub pid: u32,
    /// `usedGpuMemory`
    pub used_gpu_memory: u64,
    /// `gpuInstanceId`
    pub gpu_instance_id: u32,
    /// `computeInstanceId`
    pub compute_instance_id: u32,
}

/// `nvmlProcessUtilizationSample_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ProcessUtilization {
    /// `pid`
    pub pid: u32,
    /// `timeStamp`
    pub timestamp: u64,
    /// `smUtil`
    pub sm: u32,
    /// `memUtil`
    pub memory: u32,
    /// `encUtil`
    pub encoder: u32,
    /// `decUtil`
    pub decoder: u32,
}

/// `nvmlDeviceAttributes_t`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct DeviceAttributes {
    /// `multiprocessorCount`
    pub multiprocessors: u32,
    /// `sharedCopyEngineCount` to `computeInstanceSliceCount`
    pub shared: [u32; 7],
    /// `memorySizeMB`
    pub memory_mb: u64,
}

/// `nvmlGpmSupport_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GpmSupport {
    /// `version`
    pub version: u32,
    /// `isSupportedDevice`
    pub is_supported_device: u32,
}

/// `nvmlGpmMetric_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GpmMetric {
    /// `metricId`
    pub metric_id: u32,
    /// `nvmlReturn`
    pub nvml_return: Return,
    /// `value`
    pub value: f64,
    /// `metricInfo`: short name, long name, unit
    pub metric_info: [*mut c_char; 3],
}

/// The head of `nvmlGpmMetricsGet_t`: its array `metrics` has another length in each version of the header.
#[repr(C)]
pub struct GpmMetricsGet {
    /// `version`
    pub version: u32,
    /// `numMetrics`
    pub num_metrics: u32,
    /// `sample1`
    pub sample1: *mut c_void,
    /// `sample2`
    pub sample2: *mut c_void,
}

/// `nvmlMemory_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Memory {
    /// `total`
    pub total: u64,
    /// `free`
    pub free: u64,
    /// `used`
    pub used: u64,
}

/// `nvmlMemory_v2_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MemoryV2 {
    /// `version`
    pub version: u32,
    /// `total`
    pub total: u64,
    /// `reserved`
    pub reserved: u64,
    /// `free`
    pub free: u64,
    /// `used`
    pub used: u64,
}

impl MemoryV2 {
    /// `nvmlMemory_v2`: the struct's size, and 2 in the highest byte.
    pub const VERSION: u32 = 0x0200_0028;
}
