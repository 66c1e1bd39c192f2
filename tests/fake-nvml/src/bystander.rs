//! Calls that the meter does not make, but other programs cannot do without.

use crate::device::whole;
use crate::layout::{Memory, MemoryV2, NOT_SUPPORTED, Return};
use crate::state::{Handle, code, target};
use crate::write;

const TEMPERATURE_CELSIUS: u32 = 45;

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo(device: Handle, memory: *mut Memory) -> Return {
    code(target(device, "nvmlDeviceGetMemoryInfo").and_then(|target| {
        let total = target.device.memory_bytes;
        let used = total / 2;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(memory, Memory { total, free: total - used, used }) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, memory: *mut MemoryV2) -> Return {
    code(target(device, "nvmlDeviceGetMemoryInfo_v2").and_then(|target| {
        let total = target.device.memory_bytes;
        let used = total / 2;
        let version = MemoryV2::VERSION;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(memory, MemoryV2 { version, total, reserved: 0, free: total - used, used }) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTemperature(device: Handle, _sensor: u32, celsius: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceGetTemperature").and_then(whole);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|_| unsafe { write::value(celsius, TEMPERATURE_CELSIUS) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeMode(device: Handle, mode: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceGetComputeMode").and_then(whole);
    // SAFETY: as `nvml.h` asks of the caller. Zero is the default mode.
    code(found.and_then(|_| unsafe { write::value(mode, 0) }))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFanSpeed(device: Handle, _percent: *mut u32) -> Return {
    // Boards of servers have no fans.
    code(target(device, "nvmlDeviceGetFanSpeed").and(Err(NOT_SUPPORTED)))
}
