//! The fake library's structs against the client's bindings: were both wrong in the same way, the real header would tell.

use std::mem::{align_of, offset_of, size_of};

use nvidia_ml::layout;
use nvml_wrapper_sys::bindings as client;

macro_rules! same {
    ($ours:ty, $theirs:ty, $($field:ident = $their_field:ident),* $(,)?) => {
        assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($theirs));
        assert_eq!(align_of::<$ours>(), align_of::<$theirs>(), stringify!($theirs));
        $(assert_eq!(
            offset_of!($ours, $field),
            offset_of!($theirs, $their_field),
            concat!(stringify!($theirs), ".", stringify!($their_field))
        );)*
    };
}

#[test]
fn structs_are_laid_out_as_the_client_has_them() {
    same!(
        layout::PciInfo,
        client::nvmlPciInfo_t,
        bus_id_legacy = busIdLegacy,
        domain = domain,
        bus = bus,
        device = device,
        pci_device_id = pciDeviceId,
        pci_subsystem_id = pciSubSystemId,
        bus_id = busId
    );
    same!(layout::Utilization, client::nvmlUtilization_t, gpu = gpu, memory = memory);
    same!(layout::Sample, client::nvmlSample_t, timestamp = timeStamp, value = sampleValue);
    same!(
        layout::FieldValue,
        client::nvmlFieldValue_t,
        field_id = fieldId,
        scope_id = scopeId,
        timestamp = timestamp,
        latency_usec = latencyUsec,
        value_type = valueType,
        nvml_return = nvmlReturn,
        value = value
    );
    same!(
        layout::ProcessInfo,
        client::nvmlProcessInfo_t,
        pid = pid,
        used_gpu_memory = usedGpuMemory,
        gpu_instance_id = gpuInstanceId,
        compute_instance_id = computeInstanceId
    );
    same!(
        layout::ProcessUtilization,
        client::nvmlProcessUtilizationSample_t,
        pid = pid,
        timestamp = timeStamp,
        sm = smUtil,
        memory = memUtil,
        encoder = encUtil,
        decoder = decUtil
    );
    same!(
        layout::DeviceAttributes,
        client::nvmlDeviceAttributes_t,
        multiprocessors = multiprocessorCount,
        shared = sharedCopyEngineCount,
        memory_mb = memorySizeMB
    );
}

#[test]
fn codes_are_the_clients() {
    assert_eq!(layout::NOT_SUPPORTED, client::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED);
    assert_eq!(layout::NOT_FOUND, client::nvmlReturn_enum_NVML_ERROR_NOT_FOUND);
    assert_eq!(layout::INSUFFICIENT_SIZE, client::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE);
    assert_eq!(layout::INVALID_ARGUMENT, client::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT);
    assert_eq!(layout::UNINITIALIZED, client::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED);
    assert_eq!(layout::GPU_IS_LOST, client::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST);
    assert_eq!(layout::GPU_UTILIZATION_SAMPLES, client::nvmlSamplingType_enum_NVML_GPU_UTILIZATION_SAMPLES);
    assert_eq!(layout::PROCESSOR_CLOCK_SAMPLES, client::nvmlSamplingType_enum_NVML_PROCESSOR_CLK_SAMPLES);
    assert_eq!(layout::VALUE_UNSIGNED_INT, client::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT);
    assert_eq!(layout::CLOCK_MEMORY, client::nvmlClockType_enum_NVML_CLOCK_MEM);
}
