//! GPM: what the arithmetic units of a Hopper or later GPU did between two snapshots of its counters.
//!
//! A snapshot holds counters that only grow. Which two make a window, and what it proves: [`super::chain`].

use std::mem::{offset_of, size_of};

use flopsmeter_core::sample::{CycleCounters, PipeStretch};
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, GpmSample, Nvml};
use nvml_wrapper_sys::bindings::{NVML_GPM_METRICS_GET_VERSION, nvmlGpmMetric_t, nvmlGpmMetricsGet_t};

use super::chain::{Chain, Due};
use crate::clock::monotonic;

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

/// Those that are asked for. The first [`SHARES`] are shares of time in per cent, the others counters since boot, from driver 595
/// on and not in the header that we are built with.
pub(super) const METRICS: [Metric; 6] = [
    Metric { name: "ANY_TENSOR_UTIL", id: 5 },
    Metric { name: "FP64_UTIL", id: 11 },
    Metric { name: "FP32_UTIL", id: 12 },
    Metric { name: "FP16_UTIL", id: 13 },
    Metric { name: "SM_CYCLES_ELAPSED", id: 248 },
    Metric { name: "SM_CYCLES_ACTIVE", id: 249 },
];

/// How many of them every driver with GPM has.
const SHARES: usize = 4;

/// One GPU's snapshots.
#[derive(Debug)]
pub(super) struct Activity {
    nvml: &'static Nvml,
    chain: Chain<GpmSample<'static>>,
    supported: Option<bool>,
    /// What the driver said when it was asked for that, where it was not a plain no.
    refused: Option<String>,
    /// How many of [`METRICS`] it is asked for: the shares alone once a request for all was refused and one for these was not.
    asked: usize,
    complaint: Complaint,
}

/// What two snapshots tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Window {
    pub(super) pipes: Option<Vec<PipeStretch>>,
    pub(super) cycles: Option<CycleCounters>,
    /// The call that failed, and its error.
    pub(super) problem: Option<String>,
}

impl Activity {
    pub(super) fn new(nvml: &'static Nvml) -> Self {
        Self {
            nvml,
            chain: Chain::default(),
            supported: None,
            refused: None,
            asked: METRICS.len(),
            complaint: Complaint::default(),
        }
    }

    /// The GPU could not be read: its counters may have begun again.
    pub(super) fn interrupt(&mut self) {
        self.chain.interrupt();
    }

    fn is_supported(&mut self, device: &Device<'static>) -> bool {
        if self.supported.is_none() {
            let Ok(uuid) = device.uuid() else { return false };
            let answer = has_counters(device, &uuid);
            self.refused = answer.as_ref().err().map(|problem| failed("nvmlGpmQueryDeviceSupport", problem));
            self.supported = match answer {
                Ok(supported) => Some(supported),
                Err(NvmlError::GpuLost | NvmlError::Unknown) => None,
                Err(_) => Some(false),
            };
        }
        self.supported == Some(true)
    }

    /// Takes a snapshot and tells what happened since the one before. What fails proves nothing.
    pub(super) fn read(&mut self, device: &Device<'static>) -> Window {
        let window = self.window(device);
        Window { problem: self.complaint.tell(window.problem), ..window }
    }

    fn window(&mut self, device: &Device<'static>) -> Window {
        if !self.is_supported(device) {
            return Window { problem: self.refused.clone(), ..Window::default() };
        }
        let nothing = Window { pipes: Some(Vec::new()), ..Window::default() };
        // From the end of the one call to the start of the other: never longer than what lies between the snapshots.
        let open = match self.chain.due(monotonic()) {
            Due::Wait => return nothing,
            Due::Begin => {
                return match device.gpm_sample() {
                    Ok(first) => {
                        self.chain.begin(first, monotonic());
                        nothing
                    }
                    Err(problem) => Window { problem: Some(failed(SNAPSHOT, &problem)), ..nothing },
                };
            }
            Due::Close(open) => open,
        };
        let snapshot = match device.gpm_sample() {
            Ok(snapshot) => snapshot,
            Err(problem) => return Window { problem: Some(failed(SNAPSHOT, &problem)), ..Window::default() },
        };
        let after = monotonic();
        let (values, problem) = self.metrics(&open.before, &snapshot);
        let problem = problem.map(|problem| failed("nvmlGpmMetricsGet", &problem));
        let share = |index: usize| values.get(index).copied().flatten();
        let stretch = open.stretch([share(0), share(1), share(2), share(3)]);
        self.chain.go_on(snapshot, after, stretch.is_some());
        Window { pipes: Some(stretch.into_iter().collect()), cycles: cycles(&values), problem }
    }

    /// The values of [`METRICS`], each `None` if the driver has none, and why some are. One that knows the last of them not may refuse
    /// them all: then it is asked for the others, and from then on for these alone where its answer was a plain no.
    fn metrics(
        &mut self,
        before: &GpmSample<'static>,
        after: &GpmSample<'static>,
    ) -> (Vec<Option<f64>>, Option<NvmlError>) {
        let first = match metrics(self.nvml, before, after, METRICS.get(..self.asked).unwrap_or(&METRICS)) {
            Ok(values) => return (values, None),
            Err(problem) => problem,
        };
        if self.asked == SHARES {
            return (Vec::new(), Some(first));
        }
        match metrics(self.nvml, before, after, METRICS.get(..SHARES).unwrap_or(&METRICS)) {
            Ok(shares) if matches!(first, NvmlError::InvalidArg | NvmlError::NotSupported | NvmlError::NotFound) => {
                self.asked = SHARES;
                (shares, None)
            }
            Ok(shares) => (shares, Some(first)),
            Err(problem) => (Vec::new(), Some(problem)),
        }
    }
}

/// Readings between two that tell of one and the same problem: it need not stand in each.
const SILENT_READINGS: u32 = 60;

/// What was told of what fails.
#[derive(Debug, Default)]
struct Complaint {
    told: Option<String>,
    silent: u32,
}

impl Complaint {
    /// What of it a reading tells: what is new, and now and then what lasts.
    fn tell(&mut self, problem: Option<String>) -> Option<String> {
        let problem = problem?;
        self.silent += 1;
        if self.told.as_ref() == Some(&problem) && self.silent < SILENT_READINGS {
            return None;
        }
        self.silent = 0;
        self.told = Some(problem.clone());
        Some(problem)
    }
}

/// One of two calls, which are made together.
const SNAPSHOT: &str = "nvmlGpmSampleAlloc or nvmlGpmSampleGet";

fn failed(call: &str, problem: &NvmlError) -> String {
    format!("{call} failed ({problem})")
}

/// Whether the driver has these counters for a whole GPU. Those of a MIG slice are its GPU instance's, of which the slice may
/// be a part only: their shares would be too small for it.
fn has_counters(device: &Device<'static>, uuid: &str) -> Result<bool, NvmlError> {
    if uuid.starts_with("MIG-") {
        return Ok(false);
    }
    match device.gpm_support() {
        Err(NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_)) => Ok(false),
        answer => answer,
    }
}

fn cycles(values: &[Option<f64>]) -> Option<CycleCounters> {
    let counter = |index: usize| {
        let value = values.get(index).copied().flatten()?;
        if value > 0.0 { format!("{value:.0}").parse().ok() } else { None }
    };
    Some(CycleCounters { elapsed: counter(4)?, active: counter(5)? })
}

/// The values of these metrics, each `None` if the driver has none.
fn metrics(
    nvml: &Nvml,
    before: &GpmSample<'static>,
    after: &GpmSample<'static>,
    wanted: &[Metric],
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
        (*request).numMetrics = u32::try_from(wanted.len()).unwrap_or(0);
        (*request).sample1 = before.handle();
        (*request).sample2 = after.handle();
        let metrics = (&raw mut (*request).metrics).cast::<nvmlGpmMetric_t>();
        for (index, metric) in wanted.iter().enumerate() {
            (*metrics.add(index)).metricId = metric.id;
        }
        nvml_try(call(request))?;
        let told = |index: usize| {
            let metric = &*metrics.add(index);
            (metric.nvmlReturn == 0).then_some(metric.value).filter(|value| value.is_finite())
        };
        Ok((0..wanted.len()).map(told).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_need_both_counters() {
        let mut values = [None; 6];
        assert_eq!(cycles(&values), None);
        (values[4], values[5]) = (Some(7e12), Some(3.0));
        assert_eq!(cycles(&values), Some(CycleCounters { elapsed: 7_000_000_000_000, active: 3 }));
        values[5] = Some(-1.0);
        assert_eq!(cycles(&values), None);
    }
}
