//! Calls about GPUs that are cut into instances.

use crate::layout::{DeviceAttributes, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, Return};
use crate::state::{Handle, Target, code, handle, instance_handle, target};
use crate::write;

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigMode(device: Handle, current: *mut u32, pending: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetMigMode").and_then(|target| {
        let mode = u32::from(!target.device.mig.is_empty());
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(current, mode).and_then(|()| write::value(pending, mode)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, count: *mut u32) -> Return {
    // Hardware that can be cut has room for seven.
    let found = target(device, "nvmlDeviceGetMaxMigDeviceCount");
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(count, if target.device.mig.is_empty() { 0 } else { 7 }) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: u32, instance: *mut Handle) -> Return {
    code(target(device, "nvmlDeviceGetMigDeviceHandleByIndex").and_then(|target| {
        let number = usize::try_from(index).map_err(|_| INVALID_ARGUMENT)?;
        target.device.mig.get(number).ok_or(NOT_FOUND)?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(instance, instance_handle(target.place, number)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance: Handle, device: *mut Handle) -> Return {
    code(target(instance, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle").and_then(|target| {
        target.instance.ok_or(INVALID_ARGUMENT)?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(device, handle(target.place)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceIsMigDeviceHandle(device: Handle, is_instance: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceIsMigDeviceHandle");
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(is_instance, u32::from(target.instance.is_some())) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetAttributes_v2(device: Handle, attributes: *mut DeviceAttributes) -> Return {
    code(target(device, "nvmlDeviceGetAttributes_v2").and_then(|target| {
        let (_, instance) = target.instance.ok_or(NOT_SUPPORTED)?;
        let answer = DeviceAttributes { multiprocessors: instance.multiprocessors, ..DeviceAttributes::default() };
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(attributes, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGpuInstanceId(instance: Handle, id: *mut u32) -> Return {
    let found = target(instance, "nvmlDeviceGetGpuInstanceId").and_then(|target| instance_id(&target));
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|found| unsafe { write::value(id, found) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeInstanceId(instance: Handle, id: *mut u32) -> Return {
    let found = target(instance, "nvmlDeviceGetComputeInstanceId").and_then(|target| instance_id(&target));
    // SAFETY: as `nvml.h` asks of the caller. One compute instance fills each GPU instance.
    code(found.and_then(|_| unsafe { write::value(id, 0) }))
}

/// GPU instances are numbered from 1, as if 0 were the whole GPU.
fn instance_id(target: &Target) -> Result<u32, Return> {
    let (number, _) = target.instance.ok_or(NOT_SUPPORTED)?;
    u32::try_from(number + 1).map_err(|_| INVALID_ARGUMENT)
}
