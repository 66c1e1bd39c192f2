//! GPM: snapshots of counters, and metrics between two of them.

use std::ptr::null_mut;

use crate::layout::{
    ARGUMENT_VERSION_MISMATCH, GPM_VERSION, GpmMetric, GpmMetricsGet, GpmSupport, INVALID_ARGUMENT, METRICS, NO_DATA,
    NOT_SUPPORTED, Return, SUCCESS, Told,
};
use crate::scenario::{Device, Instance, Pipe};
use crate::state::{self, Handle, Target, code, target};
use crate::write;

/// What a sample's buffer holds: the time that its counters are of.
#[derive(Clone, Copy, Default)]
pub(crate) struct Snapshot {
    taken: Option<Taken>,
}

#[derive(Clone, Copy)]
struct Taken {
    device: &'static Device,
    place: usize,
    instance: Option<(usize, &'static Instance)>,
    at: u64,
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmQueryDeviceSupport(device: Handle, support: *mut GpmSupport) -> Return {
    code(target(device, "nvmlGpmQueryDeviceSupport").and_then(|target| {
        // SAFETY: null or valid, as `nvml.h` asks of the caller.
        let answer = unsafe { support.as_mut() }.ok_or(INVALID_ARGUMENT)?;
        if answer.version != GPM_VERSION {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        answer.is_supported_device = u32::from(target.device.has_gpm());
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmSampleAlloc(sample: *mut *mut Snapshot) -> Return {
    code(state::system("nvmlGpmSampleAlloc").and_then(|_| {
        if sample.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { write::value(sample, Box::into_raw(Box::default())) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmSampleFree(sample: *mut Snapshot) -> Return {
    if sample.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: from `nvmlGpmSampleAlloc` and freed once, as `nvml.h` asks of the caller.
    drop(unsafe { Box::from_raw(sample) });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmSampleGet(device: Handle, sample: *mut Snapshot) -> Return {
    let found = target(device, "nvmlGpmSampleGet");
    // SAFETY: as `nvml.h` asks of the caller.
    code(found.and_then(|target| unsafe { take(&target, target.instance, sample) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmMigSampleGet(device: Handle, gpu_instance_id: u32, sample: *mut Snapshot) -> Return {
    code(target(device, "nvmlGpmMigSampleGet").and_then(|target| {
        let number = gpu_instance_id.checked_sub(1).and_then(|number| usize::try_from(number).ok());
        let number = number.ok_or(INVALID_ARGUMENT)?;
        let instance = target.device.mig.get(number).ok_or(INVALID_ARGUMENT)?;
        // SAFETY: as `nvml.h` asks of the caller.
        unsafe { take(&target, Some((number, instance)), sample) }
    }))
}

/// # Safety
/// `sample` is null or from `nvmlGpmSampleAlloc`.
unsafe fn take(
    target: &Target,
    instance: Option<(usize, &'static Instance)>,
    sample: *mut Snapshot,
) -> Result<(), Return> {
    if !target.device.has_gpm() {
        return Err(NOT_SUPPORTED);
    }
    let at = target.now - target.now % target.device.gpm_refresh_ms.max(1);
    let taken = Taken { device: target.device, place: target.place, instance, at };
    // SAFETY: null or valid by the caller's word.
    unsafe { write::value(sample, Snapshot { taken: Some(taken) }) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlGpmMetricsGet(request: *mut GpmMetricsGet) -> Return {
    // SAFETY: as `nvml.h` asks of the caller.
    code(state::system("nvmlGpmMetricsGet").and_then(|state| unsafe { answer(state, request) }))
}

/// Fills the first `numMetrics` entries and touches nothing after them: the array's length differs between versions of the
/// header.
///
/// # Safety
/// `request` is null or valid, with `numMetrics` entries and snapshots from `nvmlGpmSampleAlloc`.
unsafe fn answer(state: &state::State, request: *mut GpmMetricsGet) -> Result<(), Return> {
    // SAFETY: null or valid by the caller's word; the head alone is read.
    let head = unsafe { request.as_ref() }.ok_or(INVALID_ARGUMENT)?;
    if head.version != GPM_VERSION {
        return Err(ARGUMENT_VERSION_MISMATCH);
    }
    // SAFETY: null or valid by the caller's word.
    let (first, second) =
        unsafe { (head.sample1.cast::<Snapshot>().as_ref(), head.sample2.cast::<Snapshot>().as_ref()) };
    let taken = |sample: Option<&Snapshot>| sample.and_then(|sample| sample.taken).ok_or(INVALID_ARGUMENT);
    let (first, second) = (taken(first)?, taken(second)?);
    let of = |taken: &Taken| (taken.place, taken.instance.map(|(number, _)| number));
    if of(&first) != of(&second) {
        return Err(INVALID_ARGUMENT);
    }
    let count = usize::try_from(head.num_metrics).map_err(|_| INVALID_ARGUMENT)?;
    // SAFETY: the entries lie behind the head; the address is made from the whole request's, not from the head's alone.
    let entries = unsafe { request.add(1) }.cast::<GpmMetric>();
    // SAFETY: there are `numMetrics` entries by the caller's word.
    let rejects = |index| unsafe { state.scenario.gpm_rejects.contains(&(*entries.add(index)).metric_id) };
    if (0..count).any(rejects) {
        return Err(INVALID_ARGUMENT);
    }
    for index in 0..count {
        // SAFETY: there are `numMetrics` entries by the caller's word.
        let entry = unsafe { &mut *entries.add(index) };
        let found = metric(entry.metric_id, state.scenario.counts_cycles(), &first, &second);
        entry.nvml_return = found.err().unwrap_or(SUCCESS);
        entry.value = found.unwrap_or(0.0);
        entry.metric_info = [null_mut(); 3];
    }
    Ok(())
}

/// A ratio between the snapshots in per cent, or a cycle counter as the second has it.
fn metric(id: u32, counts_cycles: bool, first: &Taken, second: &Taken) -> Result<f64, Return> {
    let metric = METRICS.iter().find(|metric| metric.id == id).ok_or(NOT_SUPPORTED)?;
    if metric.told == Told::CyclesSinceBoot {
        return if counts_cycles { Ok(float(second.counter(metric.pipe))) } else { Err(NOT_SUPPORTED) };
    }
    let cycles = |pipe| second.device.cycles(second.instance.map(|(_, instance)| instance), pipe, first.at, second.at);
    let elapsed = cycles(Pipe::Clock);
    if first.at >= second.at || elapsed == 0 {
        return Err(NO_DATA);
    }
    Ok(100.0 * wide(cycles(metric.pipe)) / wide(elapsed))
}

impl Taken {
    fn counter(&self, pipe: Pipe) -> u64 {
        let instance = self.instance.map(|(_, instance)| instance);
        let scale = u128::from(self.device.cycle_counter_scale);
        let sum = |from, until| scale * self.device.cycles(instance, pipe, from, until);
        self.device.cycle_counter.shown(self.at, sum)
    }
}

#[expect(clippy::cast_precision_loss, reason = "GPM tells every metric as a double, counters too")]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
fn wide(value: u128) -> f64 {
    value as f64
}
