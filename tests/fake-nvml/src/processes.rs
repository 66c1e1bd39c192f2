//! Who uses one GPU.

use crate::counters::{narrow, uncut};
use crate::device::whole;
use crate::layout::{INVALID_ARGUMENT, NOT_FOUND, ProcessInfo, ProcessUtilization, Return};
use crate::state::{Handle, Target, code, target};
use crate::write;

/// What a process that is no instance's has in place of instances.
const NONE: u32 = u32::MAX;

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: Handle,
    samples: *mut ProcessUtilization,
    count: *mut u32,
    last_seen: u64,
) -> Return {
    code(target(device, "nvmlDeviceGetProcessUtilization").and_then(whole).and_then(uncut).and_then(|target| {
        let timestamp = target.state.timestamp(target.now);
        let mut found = Vec::new();
        for process in &target.device.processes {
            let Some(pid) = process.present(&target.state.folder, target.now) else { continue };
            let sm = narrow(process.share(&target.device.utilization, target.now))?;
            found.push(ProcessUtilization { pid, timestamp, sm, memory: 0, encoder: 0, decoder: 0 });
        }
        if timestamp <= last_seen || found.is_empty() {
            return Err(NOT_FOUND);
        }
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::list(samples, count, &found) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: Handle,
    count: *mut u32,
    processes: *mut ProcessInfo,
) -> Return {
    code(target(device, "nvmlDeviceGetComputeRunningProcesses_v3").and_then(|target| {
        let found = running(&target)?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::list(processes, count, &found) }
    }))
}

/// On an instance, its own processes; on a GPU, all of them.
fn running(target: &Target) -> Result<Vec<ProcessInfo>, Return> {
    let asked = target.instance.map(|(number, _)| number);
    let mut found = Vec::new();
    for process in &target.device.processes {
        let Some(pid) = process.present(&target.state.folder, target.now) else { continue };
        if asked.is_some() && asked != process.instance {
            continue;
        }
        let gpu_instance_id = match process.instance {
            Some(number) => u32::try_from(number + 1).map_err(|_| INVALID_ARGUMENT)?,
            None => NONE,
        };
        let compute_instance_id = if process.instance.is_some() { 0 } else { NONE };
        found.push(ProcessInfo { pid, used_gpu_memory: 1 << 30, gpu_instance_id, compute_instance_id });
    }
    Ok(found)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: Handle,
    count: *mut u32,
    processes: *mut ProcessInfo,
) -> Return {
    let found = target(device, "nvmlDeviceGetGraphicsRunningProcesses_v3");
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|_| unsafe { write::list(processes, count, &[]) }))
}
