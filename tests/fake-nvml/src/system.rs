//! Calls about the library and the driver.

use std::ffi::{CStr, c_char};

use crate::layout::{INVALID_ARGUMENT, NOT_FOUND, Return, SUCCESS, UNINITIALIZED};
use crate::state::{self, Handle, code, handle, instance_handle};
use crate::write;

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Return {
    let Ok(state) = state::initialise() else { return UNINITIALIZED };
    state::system("nvmlInit_v2").err().unwrap_or(state.scenario.init)
}

/// As programs older than the second version call it.
#[unsafe(no_mangle)]
extern "C" fn nvmlInit() -> Return {
    nvmlInit_v2()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: u32) -> Return {
    nvmlInit_v2()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Return {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(_code: Return) -> *const c_char {
    c"scripted".as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: u32) -> Return {
    // SAFETY: as `nvml.h` asks of the caller.
    code(
        state::system("nvmlSystemGetDriverVersion")
            .and_then(|state| unsafe { write::text(version, length, &state.scenario.driver_version) }),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: u32) -> Return {
    // SAFETY: as `nvml.h` asks of the caller.
    code(state::system("nvmlSystemGetNVMLVersion").and_then(|_| unsafe { write::text(version, length, "13.580.159") }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut i32) -> Return {
    // SAFETY: as `nvml.h` asks of the caller.
    code(state::system("nvmlSystemGetCudaDriverVersion_v2").and_then(|_| unsafe { write::value(version, 13_000) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut u32) -> Return {
    let found = state::system("nvmlDeviceGetCount_v2")
        .and_then(|state| u32::try_from(state.scenario.present(state.now()).count()).map_err(|_| INVALID_ARGUMENT));
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|found| unsafe { write::value(count, found) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: *mut Handle) -> Return {
    let find = || {
        let state = state::system("nvmlDeviceGetHandleByIndex_v2")?;
        let index = usize::try_from(index).map_err(|_| INVALID_ARGUMENT)?;
        let place = state.scenario.present(state.now()).nth(index).ok_or(INVALID_ARGUMENT)?;
        let device = &state.scenario.devices[place];
        state.befall("nvmlDeviceGetHandleByIndex_v2", &device.hangs, &device.faults)?;
        Ok(handle(place))
    };
    // SAFETY: as `nvml.h` asks of the caller.
    code(find().and_then(|found| unsafe { write::value(device, found) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut Handle) -> Return {
    if uuid.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: not null, and a C string as `nvml.h` asks of the caller.
    let uuid = unsafe { CStr::from_ptr(uuid) }.to_string_lossy();
    // SAFETY: as `nvml.h` asks of the caller.
    code(by_uuid(&uuid).and_then(|found| unsafe { write::value(device, found) }))
}

fn by_uuid(uuid: &str) -> Result<Handle, Return> {
    let state = state::system("nvmlDeviceGetHandleByUUID")?;
    for place in state.scenario.present(state.now()) {
        let device = &state.scenario.devices[place];
        if device.uuid == uuid {
            return state::target(handle(place), "nvmlDeviceGetHandleByUUID").map(|_| handle(place));
        }
        if let Some(instance) = device.mig.iter().position(|instance| instance.uuid == uuid) {
            return Ok(instance_handle(place, instance));
        }
    }
    Err(NOT_FOUND)
}
