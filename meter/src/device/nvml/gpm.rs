//! GPM: what the arithmetic units of a Hopper or later GPU did between two snapshots of its counters.
//!
//! A snapshot holds counters that only grow, so that the end of one window is the start of the next and a run is covered
//! without holes, whatever the time between readings.

use std::mem::{offset_of, size_of};
use std::time::{Duration, Instant};

use flopsmeter_core::sample::{CycleCounters, PipeStretch};
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, GpmSample, Nvml};
use nvml_wrapper_sys::bindings::{NVML_GPM_METRICS_GET_VERSION, nvmlGpmMetric_t, nvmlGpmMetricsGet_t};

use crate::clock::monotonic;

/// Windows have to be longer than 100 ms (`nvml.h`); with shorter ones most values are empty.
const SHORTEST_WINDOW: Duration = Duration::from_millis(150);

/// Windows grow with the time that is watched, up to this: the longer, the less [`STALE`] weighs.
const LONGEST_WINDOW: Duration = Duration::from_secs(5);

/// How old the counters of a snapshot may be. That windows have to be longer than 100 ms says that they are not renewed more
/// often; each window is charged for as much more time, and as much at the end is not taken as covered.
const STALE: Duration = Duration::from_millis(100);

/// Drivers of different versions take the request for longer than the header has it that we are built with (210, 333 and 477
/// metrics, under one version number): room for more than any of them is harmless.
pub const ROOM: usize = 1024;

/// One of GPM's metrics.
#[derive(Debug)]
pub(super) struct Metric {
    /// What follows `NVML_GPM_METRIC_` in `nvml.h`.
    pub(super) name: &'static str,
    pub(super) id: u32,
}

/// Those that are asked for. The first four are shares of time in per cent, the others counters since boot, from driver 595 on
/// and not in the header that we are built with.
pub(super) const METRICS: [Metric; 6] = [
    Metric { name: "ANY_TENSOR_UTIL", id: 5 },
    Metric { name: "FP64_UTIL", id: 11 },
    Metric { name: "FP32_UTIL", id: 12 },
    Metric { name: "FP16_UTIL", id: 13 },
    Metric { name: "SM_CYCLES_ELAPSED", id: 248 },
    Metric { name: "SM_CYCLES_ACTIVE", id: 249 },
];

/// Basis points.
const WHOLE: u128 = 10_000;

/// One GPU's snapshots.
#[derive(Debug)]
pub(super) struct Activity {
    nvml: &'static Nvml,
    /// The last snapshot, and when it had been taken.
    last: Option<(GpmSample<'static>, Instant)>,
    /// When the first snapshot of the present chain had been taken, and whether the last window of it was told.
    chain: Option<(Instant, bool)>,
    supported: Option<bool>,
}

/// What two snapshots tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Window {
    pub(super) pipes: Option<Vec<PipeStretch>>,
    pub(super) cycles: Option<CycleCounters>,
}

impl Activity {
    pub(super) const fn new(nvml: &'static Nvml) -> Self {
        Self { nvml, last: None, chain: None, supported: None }
    }

    fn is_supported(&mut self, device: &Device<'static>) -> bool {
        self.supported = self.supported.or_else(|| has_counters(device));
        self.supported == Some(true)
    }

    /// Takes a snapshot and tells what happened since the one before. What fails proves nothing.
    pub(super) fn read(&mut self, device: &Device<'static>) -> Window {
        if !self.is_supported(device) {
            return Window::default();
        }
        let Some((before, taken)) = self.last.take() else {
            self.last = device.gpm_sample().ok().map(|sample| (sample, monotonic()));
            self.chain = self.last.as_ref().map(|(_, taken)| (*taken, false));
            return Window { pipes: Some(Vec::new()), cycles: None };
        };
        // From the end of the one call to the start of the other: never longer than what lies between the snapshots.
        let now = monotonic();
        let (length, (began, told)) = (now.saturating_duration_since(taken), self.chain.unwrap_or((taken, false)));
        let watched = now.saturating_duration_since(began);
        if length < (watched / 20).clamp(SHORTEST_WINDOW, LONGEST_WINDOW) {
            self.last = Some((before, taken));
            return Window { pipes: Some(Vec::new()), cycles: None };
        }
        let Ok(snapshot) = device.gpm_sample() else { return Window::default() };
        let after = monotonic();
        let values = metrics(self.nvml, &before, &snapshot).unwrap_or_default();
        self.last = Some((snapshot, after));
        let stretch = stretch(length, told, &values);
        self.chain = Some((began, stretch.is_some()));
        Window { pipes: Some(stretch.into_iter().collect()), cycles: cycles(&values) }
    }
}

/// Whether the driver has these counters for a whole GPU. Those of a MIG slice are its GPU instance's, of which the slice may
/// be a part only: their shares would be too small for it.
fn has_counters(device: &Device<'static>) -> Option<bool> {
    if device.uuid().ok()?.starts_with("MIG-") {
        return Some(false);
    }
    match device.gpm_support() {
        Ok(supported) => Some(supported),
        Err(NvmlError::GpuLost | NvmlError::Unknown) => None,
        Err(_) => Some(false),
    }
}

/// `told`: whether the window was told at the end of which this one begins.
fn stretch(length: Duration, told: bool, values: &[Option<f64>]) -> Option<PipeStretch> {
    let (covered, active) = (length.as_micros(), (length + STALE).as_micros());
    let share = |index: usize| {
        let share = u128::from(basis_points(values.get(index).copied().flatten()?)?);
        u32::try_from((share * active).div_ceil(covered.max(1)).min(WHOLE)).ok()
    };
    let (tensor, fp64, fp32, fp16) = (share(0)?, share(1)?, share(2)?, share(3)?);
    let covered = if told { covered } else { covered.saturating_sub(STALE.as_micros()) };
    Some(PipeStretch { microseconds: u64::try_from(covered).ok()?, tensor, fp64, fp32, fp16 })
}

/// Per cent in hundredths of a point, rounded up and one added; `None` for what is no share.
fn basis_points(percent: f64) -> Option<u32> {
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    let hundredths = (percent * 100.0).ceil();
    // Written and read: there is no cast here that could wrap.
    format!("{hundredths:.0}").parse::<u32>().ok().map(|value| value + 1)
}

fn cycles(values: &[Option<f64>]) -> Option<CycleCounters> {
    let counter = |index: usize| {
        let value = values.get(index).copied().flatten()?;
        if value > 0.0 { format!("{value:.0}").parse().ok() } else { None }
    };
    Some(CycleCounters { elapsed: counter(4)?, active: counter(5)? })
}

/// The values of [`METRICS`], each `None` if the driver has none.
fn metrics(
    nvml: &Nvml,
    before: &GpmSample<'static>,
    after: &GpmSample<'static>,
) -> Result<Vec<Option<f64>>, NvmlError> {
    let call = nvml_sym(nvml.lib().nvmlGpmMetricsGet.as_ref())?;
    let bytes = offset_of!(nvmlGpmMetricsGet_t, metrics) + ROOM * size_of::<nvmlGpmMetric_t>();
    // Zeroed, and aligned as the structure's pointers are.
    let mut room = vec![0_u64; bytes.div_ceil(size_of::<u64>())];
    let request = room.as_mut_ptr().cast::<nvmlGpmMetricsGet_t>();
    // SAFETY: `request` points to zeroed room that is larger than the structure, whose fields may all be zero; metrics beyond the
    // declared array lie in the same room. The handles belong to snapshots that are borrowed during the call. The driver fills in
    // the first `numMetrics` entries, and within the room at most all of its own.
    unsafe {
        (*request).version = NVML_GPM_METRICS_GET_VERSION;
        (*request).numMetrics = u32::try_from(METRICS.len()).unwrap_or(0);
        (*request).sample1 = before.handle();
        (*request).sample2 = after.handle();
        let metrics = (&raw mut (*request).metrics).cast::<nvmlGpmMetric_t>();
        for (index, metric) in METRICS.iter().enumerate() {
            (*metrics.add(index)).metricId = metric.id;
        }
        nvml_try(call(request))?;
        let told = |index: usize| {
            let metric = &*metrics.add(index);
            (metric.nvmlReturn == 0).then_some(metric.value).filter(|value| value.is_finite())
        };
        Ok((0..METRICS.len()).map(told).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up_and_nonsense_is_none() {
        assert_eq!(basis_points(0.0), Some(1));
        assert_eq!(basis_points(43.712), Some(4373));
        assert_eq!(basis_points(100.0), Some(10_001));
        for nonsense in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(basis_points(nonsense), None);
        }
    }

    #[test]
    fn a_stretch_needs_all_four_kinds_of_units() {
        let all = [Some(50.0), Some(0.0), Some(1.0), Some(0.0), None, None];
        let second = Duration::from_secs(1);
        assert_eq!(stretch(second, true, &all), Some((1_000_000, 5502, 2, 112, 2).into()));
        for missing in 0..4 {
            let mut some = all;
            some[missing] = None;
            assert_eq!(stretch(second, true, &some), None);
        }
        assert_eq!(cycles(&all), None);
    }

    #[test]
    fn the_first_window_of_a_chain_leaves_room_for_stale_counters() {
        let busy = [Some(100.0), Some(0.0), Some(0.0), Some(0.0)];
        let first = stretch(Duration::from_secs(5), false, &busy).unwrap();
        assert_eq!((first.microseconds, first.tensor, first.fp32), (4_900_000, 10_000, 2));
    }
}
