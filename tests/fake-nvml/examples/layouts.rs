//! Prints, as JSON, how the stand-in and the client lay out NVML's structs and number its constants, under the names of
//! `nvml.h`: a test compares both with a C program that was compiled against the real header.
#![expect(clippy::print_stdout, reason = "a test reads what is printed")]

use std::mem::{offset_of, size_of};

use nvidia_ml::layout as fake;
use nvml_wrapper_sys::bindings as client;
use serde_json::{Map, Value, json};

/// Size and offsets of each struct, on both sides.
macro_rules! structs {
    ($($name:literal = $fake:ty, $client:ty { $($c_field:ident = $field:ident),* $(,)? })*) => {
        [$((
            $name,
            json!({ "size": size_of::<$fake>(), "fields": { $(stringify!($c_field): offset_of!($fake, $field)),* } }),
            json!({ "size": size_of::<$client>(), "fields": { $(stringify!($c_field): offset_of!($client, $c_field)),* } }),
        )),*]
    };
}

fn structs() -> (Map<String, Value>, Map<String, Value>) {
    let all = structs! {
        "nvmlPciInfo_t" = fake::PciInfo, client::nvmlPciInfo_t {
            busIdLegacy = bus_id_legacy, domain = domain, bus = bus, device = device, pciDeviceId = pci_device_id,
            pciSubSystemId = pci_subsystem_id, busId = bus_id,
        }
        "nvmlUtilization_t" = fake::Utilization, client::nvmlUtilization_t { gpu = gpu, memory = memory }
        "nvmlSample_t" = fake::Sample, client::nvmlSample_t { timeStamp = timestamp, sampleValue = value }
        "nvmlFieldValue_t" = fake::FieldValue, client::nvmlFieldValue_t {
            fieldId = field_id, scopeId = scope_id, timestamp = timestamp, latencyUsec = latency_usec,
            valueType = value_type, nvmlReturn = nvml_return, value = value,
        }
        "nvmlProcessInfo_t" = fake::ProcessInfo, client::nvmlProcessInfo_t {
            pid = pid, usedGpuMemory = used_gpu_memory, gpuInstanceId = gpu_instance_id,
            computeInstanceId = compute_instance_id,
        }
        "nvmlProcessUtilizationSample_t" = fake::ProcessUtilization, client::nvmlProcessUtilizationSample_t {
            pid = pid, timeStamp = timestamp, smUtil = sm, memUtil = memory, encUtil = encoder, decUtil = decoder,
        }
        "nvmlDeviceAttributes_t" = fake::DeviceAttributes, client::nvmlDeviceAttributes_t {
            multiprocessorCount = multiprocessors, sharedCopyEngineCount = shared, memorySizeMB = memory_mb,
        }
        "nvmlGpmSupport_t" = fake::GpmSupport, client::nvmlGpmSupport_t {
            version = version, isSupportedDevice = is_supported_device,
        }
        "nvmlGpmMetric_t" = fake::GpmMetric, client::nvmlGpmMetric_t {
            metricId = metric_id, nvmlReturn = nvml_return, value = value, metricInfo = metric_info,
        }
        "nvmlGpmMetricsGet_t" = fake::GpmMetricsGet, client::nvmlGpmMetricsGet_t {
            version = version, numMetrics = num_metrics, sample1 = sample1, sample2 = sample2,
        }
        "nvmlMemory_t" = fake::Memory, client::nvmlMemory_t { total = total, free = free, used = used }
        "nvmlMemory_v2_t" = fake::MemoryV2, client::nvmlMemory_v2_t {
            version = version, total = total, reserved = reserved, free = free, used = used,
        }
    };
    let ours = all.iter().map(|(name, ours, _)| ((*name).to_owned(), ours.clone()));
    let theirs = all.iter().map(|(name, _, theirs)| ((*name).to_owned(), theirs.clone()));
    (ours.collect(), theirs.collect())
}

/// Constants on both sides; the client's have the enum's name before them.
macro_rules! constants {
    ($($name:ident = $fake:expr, $client:expr;)*) => { [$((stringify!($name), $fake, $client)),*] };
}

fn constants() -> (Map<String, Value>, Map<String, Value>) {
    let all = constants! {
        NVML_SUCCESS = fake::SUCCESS, client::nvmlReturn_enum_NVML_SUCCESS;
        NVML_ERROR_UNINITIALIZED = fake::UNINITIALIZED, client::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
        NVML_ERROR_INVALID_ARGUMENT = fake::INVALID_ARGUMENT, client::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
        NVML_ERROR_NOT_SUPPORTED = fake::NOT_SUPPORTED, client::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
        NVML_ERROR_NOT_FOUND = fake::NOT_FOUND, client::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
        NVML_ERROR_INSUFFICIENT_SIZE = fake::INSUFFICIENT_SIZE, client::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
        NVML_ERROR_GPU_IS_LOST = fake::GPU_IS_LOST, client::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
        NVML_ERROR_NO_DATA = fake::NO_DATA, client::nvmlReturn_enum_NVML_ERROR_NO_DATA;
        NVML_ERROR_ARGUMENT_VERSION_MISMATCH =
            fake::ARGUMENT_VERSION_MISMATCH, client::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
        NVML_ERROR_GPU_NOT_FOUND = fake::GPU_NOT_FOUND, client::nvmlReturn_enum_NVML_ERROR_GPU_NOT_FOUND;
        NVML_TOTAL_POWER_SAMPLES = fake::TOTAL_POWER_SAMPLES, client::nvmlSamplingType_enum_NVML_TOTAL_POWER_SAMPLES;
        NVML_GPU_UTILIZATION_SAMPLES =
            fake::GPU_UTILIZATION_SAMPLES, client::nvmlSamplingType_enum_NVML_GPU_UTILIZATION_SAMPLES;
        NVML_PROCESSOR_CLK_SAMPLES =
            fake::PROCESSOR_CLOCK_SAMPLES, client::nvmlSamplingType_enum_NVML_PROCESSOR_CLK_SAMPLES;
        NVML_VALUE_TYPE_UNSIGNED_INT =
            fake::VALUE_UNSIGNED_INT, client::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
        NVML_VALUE_TYPE_UNSIGNED_LONG_LONG =
            fake::VALUE_UNSIGNED_LONG_LONG, client::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
        NVML_CLOCK_MEM = fake::CLOCK_MEMORY, client::nvmlClockType_enum_NVML_CLOCK_MEM;
        NVML_CLOCK_ID_CURRENT = fake::CLOCK_ID_CURRENT, client::nvmlClockId_enum_NVML_CLOCK_ID_CURRENT;
        NVML_CLOCK_ID_CUSTOMER_BOOST_MAX =
            fake::CLOCK_ID_CUSTOMER_BOOST_MAX, client::nvmlClockId_enum_NVML_CLOCK_ID_CUSTOMER_BOOST_MAX;
        NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION =
            fake::FIELD_TOTAL_ENERGY, client::field_id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION;
        NVML_FI_DEV_POWER_AVERAGE = fake::FIELD_POWER_AVERAGE, client::field_id::NVML_FI_DEV_POWER_AVERAGE;
        NVML_FI_DEV_POWER_INSTANT = fake::FIELD_POWER_INSTANT, client::field_id::NVML_FI_DEV_POWER_INSTANT;
        NVML_FI_DEV_POWER_CURRENT_LIMIT =
            fake::FIELD_POWER_CURRENT_LIMIT, client::field_id::NVML_FI_DEV_POWER_CURRENT_LIMIT;
        NVML_GPM_METRICS_GET_VERSION = fake::GPM_VERSION, client::NVML_GPM_METRICS_GET_VERSION;
        NVML_GPM_SUPPORT_VERSION = fake::GPM_VERSION, client::NVML_GPM_SUPPORT_VERSION;
        NVML_GPM_METRIC_SM_UTIL = metric("SM_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_UTIL;
        NVML_GPM_METRIC_INTEGER_UTIL = metric("INTEGER_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_INTEGER_UTIL;
        NVML_GPM_METRIC_ANY_TENSOR_UTIL =
            metric("ANY_TENSOR_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_ANY_TENSOR_UTIL;
        NVML_GPM_METRIC_DFMA_TENSOR_UTIL =
            metric("DFMA_TENSOR_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_DFMA_TENSOR_UTIL;
        NVML_GPM_METRIC_HMMA_TENSOR_UTIL =
            metric("HMMA_TENSOR_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_HMMA_TENSOR_UTIL;
        NVML_GPM_METRIC_IMMA_TENSOR_UTIL =
            metric("IMMA_TENSOR_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_IMMA_TENSOR_UTIL;
        NVML_GPM_METRIC_FP64_UTIL = metric("FP64_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_FP64_UTIL;
        NVML_GPM_METRIC_FP32_UTIL = metric("FP32_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_FP32_UTIL;
        NVML_GPM_METRIC_FP16_UTIL = metric("FP16_UTIL"), client::nvmlGpmMetricId_t_NVML_GPM_METRIC_FP16_UTIL;
    };
    let mut ours: Map<String, Value> = all.iter().map(|(name, ours, _)| ((*name).to_owned(), (*ours).into())).collect();
    // The client's list ends before the newer ones.
    ours.extend(fake::METRICS.iter().map(|metric| (format!("NVML_GPM_METRIC_{}", metric.name), metric.id.into())));
    ours.insert("nvmlMemory_v2".to_owned(), fake::MemoryV2::VERSION.into());
    let theirs = all.iter().map(|(name, _, theirs)| ((*name).to_owned(), (*theirs).into())).collect();
    (ours, theirs)
}

fn metric(name: &str) -> u32 {
    fake::METRICS.iter().find(|metric| metric.name == name).map_or(0, |metric| metric.id)
}

fn main() {
    let (our_structs, their_structs) = structs();
    let (our_constants, their_constants) = constants();
    println!(
        "{}",
        json!({
            "stand-in": { "structs": our_structs, "constants": our_constants },
            "client": { "structs": their_structs, "constants": their_constants },
        })
    );
}
