//! What one GPU did: clocks, busy shares, energy and power.

use crate::device::{MEMORY_MHZ, whole};
use crate::layout::{
    CLOCK_ID_CURRENT, CLOCK_ID_CUSTOMER_BOOST_MAX, CLOCK_MEMORY, FIELD_POWER_AVERAGE, FIELD_POWER_CURRENT_LIMIT,
    FIELD_POWER_INSTANT, FIELD_TOTAL_ENERGY, FieldValue, GPU_UTILIZATION_SAMPLES, INVALID_ARGUMENT, NOT_FOUND,
    NOT_SUPPORTED, PROCESSOR_CLOCK_SAMPLES, Return, SUCCESS, Sample, TOTAL_POWER_SAMPLES, Utilization,
    VALUE_UNSIGNED_INT, VALUE_UNSIGNED_LONG_LONG,
};
use crate::scenario::{integral, value_at};
use crate::state::{Handle, Target, code, target};
use crate::write;

/// The scenario's numbers are wider than C's.
pub(crate) fn narrow(value: u64) -> Result<u32, Return> {
    u32::try_from(value).map_err(|_| INVALID_ARGUMENT)
}

/// On a GPU that is cut, busy shares are not told.
pub(crate) fn uncut(target: Target) -> Result<Target, Return> {
    if target.device.mig.is_empty() { Ok(target) } else { Err(NOT_SUPPORTED) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClockInfo(device: Handle, kind: u32, clock: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetClockInfo").and_then(whole).and_then(|target| {
        let steps = &target.device.sm_clock_mhz;
        let megahertz = if kind == CLOCK_MEMORY { MEMORY_MHZ } else { narrow(value_at(steps, target.now))? };
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(clock, megahertz) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetClock(device: Handle, kind: u32, which: u32, clock: *mut u32) -> Return {
    code(target(device, "nvmlDeviceGetClock").and_then(whole).and_then(|target| {
        let megahertz = match (kind, which) {
            (CLOCK_MEMORY, CLOCK_ID_CURRENT | CLOCK_ID_CUSTOMER_BOOST_MAX) => MEMORY_MHZ,
            (_, CLOCK_ID_CURRENT) => narrow(value_at(&target.device.sm_clock_mhz, target.now))?,
            (_, CLOCK_ID_CUSTOMER_BOOST_MAX) => target.device.max_sm_clock_mhz,
            _ => return Err(NOT_SUPPORTED),
        };
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
            TOTAL_POWER_SAMPLES => &target.device.power_milliwatts,
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
unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(device: Handle, milliwatts: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceGetEnforcedPowerLimit").and_then(whole);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(milliwatts, target.device.power_limit_milliwatts) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPowerManagementLimit(device: Handle, milliwatts: *mut u32) -> Return {
    let found = target(device, "nvmlDeviceGetPowerManagementLimit").and_then(whole);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(milliwatts, target.device.power_limit_milliwatts) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(device: Handle, reasons: *mut u64) -> Return {
    let found = target(device, "nvmlDeviceGetCurrentClocksThrottleReasons").and_then(whole);
    let now = |target: &Target| value_at(&target.device.throttle_reasons, target.now);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(reasons, now(&target)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCurrentClocksEventReasons(device: Handle, reasons: *mut u64) -> Return {
    let found = target(device, "nvmlDeviceGetCurrentClocksEventReasons").and_then(whole);
    let now = |target: &Target| value_at(&target.device.throttle_reasons, target.now);
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { write::value(reasons, now(&target)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(device: Handle, count: i32, values: *mut FieldValue) -> Return {
    code(target(device, "nvmlDeviceGetFieldValues").and_then(whole).and_then(|target| {
        if values.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        for index in 0..usize::try_from(count).map_err(|_| INVALID_ARGUMENT)? {
            // SAFETY: the caller gives `count` values, as `nvml.h` asks.
            fill(&target, unsafe { &mut *values.add(index) });
        }
        Ok(())
    }))
}

/// Each field succeeds or fails alone.
fn fill(target: &Target, field: &mut FieldValue) {
    let device = target.device;
    let second_ago = target.now.saturating_sub(1000);
    let answer = match field.field_id {
        FIELD_TOTAL_ENERGY => Some((VALUE_UNSIGNED_LONG_LONG, device.energy_millijoules(target.now))),
        FIELD_POWER_INSTANT => Some((VALUE_UNSIGNED_INT, value_at(&device.power_milliwatts, target.now))),
        FIELD_POWER_AVERAGE => {
            let length = (target.now - second_ago).max(1);
            Some((VALUE_UNSIGNED_INT, integral(&device.power_milliwatts, second_ago, target.now) / length))
        }
        FIELD_POWER_CURRENT_LIMIT => Some((VALUE_UNSIGNED_INT, u64::from(device.power_limit_milliwatts))),
        _ => None,
    };
    field.nvml_return = if answer.is_some() { SUCCESS } else { NOT_SUPPORTED };
    let Some((value_type, value)) = answer else { return };
    field.timestamp = i64::try_from(target.state.timestamp(target.now)).unwrap_or(i64::MAX);
    field.latency_usec = 0;
    field.value_type = value_type;
    field.value = value;
}
