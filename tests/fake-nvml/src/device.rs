//! Calls about one GPU.

use std::ffi::c_char;

use crate::layout::{
    CLOCK_MEMORY, FieldValue, GPU_UTILIZATION_SAMPLES, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED,
    PROCESSOR_CLOCK_SAMPLES, PciInfo, ProcessInfo, ProcessUtilization, Return, Sample, Utilization, VALUE_UNSIGNED_INT,
};
use crate::scenario::value_at;
use crate::state::{Handle, Target, code, target};
use crate::write;

/// The scenario's numbers are wider than C's.
fn narrow(value: u64) -> Result<u32, Return> {
    u32::try_from(value).map_err(|_| INVALID_ARGUMENT)
}

/// Instances have no counters of their own.
fn whole(target: Target) -> Result<Target, Return> {
    if target.instance.is_some() { Err(NOT_SUPPORTED) } else { Ok(target) }
}

/// On a GPU that is cut, busy shares are not told.
fn uncut(target: Target) -> Result<Target, Return> {
    if target.device.mig.is_empty() { Ok(target) } else { Err(NOT_SUPPORTED) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetIndex(device: Handle, index: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetIndex").and_then(|target| {
        let found = u32::try_from(target.index).map_err(|_| INVALID_ARGUMENT)?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(index, found) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMinorNumber(device: Handle, number: *mut u32) -> Return {
    // SAFETY: as `nvml.h` asks of the caller.
    unsafe { nvmlDeviceGetIndex(device, number) }
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
        let known = target.instance.map_or(&target.device.uuid, |instance| &instance.uuid);
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::text(uuid, length, known) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: Handle, info: *mut PciInfo) -> Return {
    code(target(device, "nvmlDeviceGetPciInfo_v3").and_then(|target| {
        let bus = u32::try_from(target.index).map_err(|_| INVALID_ARGUMENT)? + 0x1b;
        let address = format!("{bus:02X}:00.0");
        let answer = PciInfo {
            bus_id_legacy: write::bytes(&format!("0000:{address}")),
            domain: 0,
            bus,
            device: 0,
            pci_device_id: 0x2335_10de,
            pci_subsystem_id: 0x18be_10de,
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
    let megahertz = |target: &Target| if kind == CLOCK_MEMORY { 3201 } else { target.device.max_sm_clock_mhz };
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(clock, megahertz(&target)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClockInfo(device: Handle, kind: u32, clock: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetClockInfo").and_then(whole).and_then(|target| {
        let steps = &target.device.sm_clock_mhz;
        let megahertz = if kind == CLOCK_MEMORY { 3201 } else { narrow(value_at(steps, target.now))? };
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(clock, megahertz) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUtilizationRates(device: Handle, rates: *mut Utilization) -> Return {
    code(target(device, "nvmlDeviceGetUtilizationRates").and_then(whole).and_then(uncut).and_then(|target| {
        let gpu = narrow(value_at(&target.device.utilization, target.now))?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(rates, Utilization { gpu, memory: gpu / 2 }) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetSamples(
    device: Handle,
    kind: u32,
    last_seen: u64,
    value_type: *mut u32,
    count: *mut u32,
    samples: *mut Sample,
) -> Return {
    code(target(device, "nvmlDeviceGetSamples").and_then(whole).and_then(uncut).and_then(|target| {
        let steps = match kind {
            GPU_UTILIZATION_SAMPLES => &target.device.utilization,
            PROCESSOR_CLOCK_SAMPLES => &target.device.sm_clock_mhz,
            _ => return Err(NOT_SUPPORTED),
        };
        let found = target.device.buffered(steps, target.now, target.state.moment(last_seen));
        if found.is_empty() {
            return Err(NOT_FOUND);
        }
        let stamped = |(at, value): (u64, u64)| Sample { timestamp: target.state.timestamp(at), value };
        let mut found: Vec<Sample> = found.into_iter().map(stamped).collect();
        if !samples.is_null() && !count.is_null() {
            // More may have come since the caller asked for the count: the oldest are given.
            // SAFETY: not null, and valid as `nvml.h` asks of the caller.
            found.truncate(usize::try_from(unsafe { count.read() }).map_err(|_| INVALID_ARGUMENT)?);
        }
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(value_type, VALUE_UNSIGNED_INT).and_then(|()| write::list(samples, count, &found)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: Handle,
    samples: *mut ProcessUtilization,
    count: *mut u32,
    last_seen: u64,
) -> Return {
    code(target(device, "nvmlDeviceGetProcessUtilization").and_then(whole).and_then(uncut).and_then(|target| {
        let timestamp = target.state.timestamp(target.now);
        if timestamp <= last_seen || target.device.processes.is_empty() {
            return Err(NOT_FOUND);
        }
        let sm = narrow(value_at(&target.device.utilization, target.now))?;
        let share = |&pid: &u32| ProcessUtilization { pid, timestamp, sm, memory: 0, encoder: 0, decoder: 0 };
        let found: Vec<ProcessUtilization> = target.device.processes.iter().map(share).collect();
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::list(samples, count, &found) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(device: Handle, millijoules: *mut u64) -> Return {
    let found = target(device, "nvmlDeviceGetTotalEnergyConsumption").and_then(whole);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(millijoules, target.device.energy_millijoules(target.now)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPowerUsage(device: Handle, milliwatts: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetPowerUsage").and_then(whole).and_then(|target| {
        let power = narrow(value_at(&target.device.power_milliwatts, target.now))?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(milliwatts, power) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Handle,
    count: *mut u32,
    processes: *mut ProcessInfo,
) -> Return {
    code(target(device, "nvmlDeviceGetComputeRunningProcesses_v3").and_then(|target| {
        let none = u32::MAX;
        let info = |&pid: &u32| ProcessInfo {
            pid,
            used_gpu_memory: 1 << 30,
            gpu_instance_id: none,
            compute_instance_id: none,
        };
        let found: Vec<ProcessInfo> = target.device.processes.iter().map(info).collect();
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::list(processes, count, &found) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(device: Handle, count: i32, values: *mut FieldValue) -> Return {
    code(target(device, "nvmlDeviceGetFieldValues").and_then(|_| {
        if values.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        for index in 0..usize::try_from(count).map_err(|_| INVALID_ARGUMENT)? {
            // SAFETY: the caller gives `count` values, as `nvml.h` asks.
            let value = unsafe { &mut *values.add(index) };
            value.nvml_return = NOT_SUPPORTED;
        }
        Ok(())
    }))
}
