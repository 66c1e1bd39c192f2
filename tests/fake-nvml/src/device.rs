//! What one GPU is.

use std::ffi::c_char;

use crate::layout::{CLOCK_MEMORY, INVALID_ARGUMENT, NOT_SUPPORTED, PciInfo, Return};
use crate::state::{Handle, Target, code, target};
use crate::write;

/// Clock of every GPU's memory.
pub(crate) const MEMORY_MHZ: u32 = 3201;

/// Instances have no counters of their own.
pub(crate) fn whole(target: Target) -> Result<Target, Return> {
    if target.instance.is_some() { Err(NOT_SUPPORTED) } else { Ok(target) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetIndex(device: Handle, index: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetIndex").and_then(|target| {
        let found = target.index()?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(index, found) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMinorNumber(device: Handle, number: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetMinorNumber").and_then(whole).and_then(|target| {
        let place = u32::try_from(target.place).map_err(|_| INVALID_ARGUMENT)?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(number, target.device.minor_number.unwrap_or(place)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(device: Handle, name: *mut c_char, length: u32) -> Return {
    let found = target(device, "nvmlDeviceGetName");
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::text(name, length, &target.device.name) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(device: Handle, uuid: *mut c_char, length: u32) -> Return {
    code(target(device, "nvmlDeviceGetUUID").and_then(|target| {
        let known = target.instance.map_or(&target.device.uuid, |(_, instance)| &instance.uuid);
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::text(uuid, length, known) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: Handle, info: *mut PciInfo) -> Return {
    code(target(device, "nvmlDeviceGetPciInfo_v3").and_then(|target| {
        let bus = u32::try_from(target.place).map_err(|_| INVALID_ARGUMENT)? + 0x1b;
        let address = format!("{bus:02X}:00.0");
        let answer = PciInfo {
            bus_id_legacy: write::bytes(&format!("0000:{address}")),
            domain: 0,
            bus,
            device: 0,
            pci_device_id: target.device.pci_device_id,
            pci_subsystem_id: target.device.pci_subsystem_id,
            bus_id: write::bytes(&format!("00000000:{address}")),
        };
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(info, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(device: Handle, major: *mut i32, minor: *mut i32) -> Return {
    code(target(device, "nvmlDeviceGetCudaComputeCapability").and_then(|target| {
        let (first, second) = target.device.compute_capability;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(major, first).and_then(|()| write::value(minor, second)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNumGpuCores(device: Handle, cores: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceGetNumGpuCores").and_then(whole);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(cores, target.device.cores) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxClockInfo(device: Handle, kind: u32, clock: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceGetMaxClockInfo");
    let megahertz = |target: &Target| if kind == CLOCK_MEMORY { MEMORY_MHZ } else { target.device.max_sm_clock_mhz };
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(clock, megahertz(&target)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetArchitecture(device: Handle, architecture: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetArchitecture").and_then(|target| {
        let found = match target.device.compute_capability {
            (7, 0) => 5,
            (7, _) => 6,
            (8, 9) => 8,
            (8, _) => 7,
            (9, _) => 9,
            (10 | 12, _) => 10,
            _ => u32::MAX,
        };
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(architecture, found) }
    }))
}
