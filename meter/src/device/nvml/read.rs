//! Reading one GPU.

use std::time::{Duration, Instant};

use flopsmeter_core::sample::{BusyStretch, GpuReading};
use nvml_wrapper::enum_wrappers::device::{Clock, Sampling};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::busy::{Buffered, BusyBuffer, POLLED_APART, polled};
use super::gpm::Activity;
use crate::clock::monotonic;

/// A polled share may describe a period that began this long ago; one that reaches before the job proves nothing for it.
const OLDEST_POLLED: Duration = Duration::from_secs(2);

/// One GPU (or instance) that is read in turns.
pub(super) struct WatchedGpu {
    nvml: &'static Nvml,
    uuid: String,
    device: Option<Device<'static>>,
    buffer: BusyBuffer,
    buffered: bool,
    clocks: ClockBuffer,
    activity: Activity,
    watched_since: Instant,
    polled_at: Option<Instant>,
}

impl WatchedGpu {
    pub(super) fn new(nvml: &'static Nvml, uuid: String) -> Self {
        Self {
            nvml,
            uuid,
            device: None,
            buffer: BusyBuffer::default(),
            buffered: true,
            clocks: ClockBuffer::default(),
            activity: Activity::new(nvml),
            watched_since: monotonic(),
            polled_at: None,
        }
    }

    /// Reads what the GPU has. A counter it does not support is left out; any other fault loses the reading, and the handle is
    /// fetched again at the next turn (a GPU may come back).
    pub(super) fn read(&mut self) -> Result<GpuReading, String> {
        let reading = self.try_read();
        if reading.is_err() {
            self.device = None;
            // What it did meanwhile, and whether its counters began again, nobody has seen.
            self.buffer.interrupt();
            self.activity.interrupt();
        }
        reading.map_err(|problem| problem.to_string())
    }

    fn try_read(&mut self) -> Result<GpuReading, NvmlError> {
        let device = match self.device.take() {
            Some(device) => device,
            None => self.nvml.device_by_uuid(self.uuid.as_str())?,
        };
        let busy = self.busy(&device)?;
        let window = self.activity.read(&device);
        let reading = GpuReading {
            busy,
            sm_clock_mhz: supported(device.clock_info(Clock::SM))?,
            highest_sm_clock_mhz: self.clocks.highest(&device),
            pipes: window.pipes,
            cycles: window.cycles,
            gpm_problem: window.problem,
            energy_millijoules: supported(device.total_energy_consumption())?,
            power_milliwatts: supported(device.power_usage())?,
        };
        self.device = Some(device);
        Ok(reading)
    }

    /// The UUID that it was asked for by.
    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    fn busy(&mut self, device: &Device<'static>) -> Result<Option<Vec<BusyStretch>>, NvmlError> {
        if self.buffered {
            match device.samples(Sampling::GpuUtilization, self.buffer.newest()) {
                Ok(samples) => {
                    let shares = samples.iter().filter_map(|sample| Some((sample.timestamp, whole(&sample.value)?)));
                    let shares: Vec<Buffered> = shares.collect();
                    return Ok(Some(self.buffer.take(shares)));
                }
                // Nothing new since the last turn.
                Err(NvmlError::NotFound | NvmlError::NoData) => return Ok(Some(Vec::new())),
                // More than the driver had just counted: the next turn has it.
                Err(NvmlError::InsufficientSize(_)) => return Ok(None),
                Err(problem) => self.buffered = supported::<()>(Err(problem))?.is_some(),
            }
        }
        Ok(supported(device.utilization_rates())?.map(|rates| self.polled(rates.gpu)))
    }

    fn polled(&mut self, percent: u32) -> Vec<BusyStretch> {
        let now = monotonic();
        let apart = Duration::from_micros(POLLED_APART);
        let too_soon = self.polled_at.is_some_and(|before| now.saturating_duration_since(before) < apart);
        if too_soon || now.saturating_duration_since(self.watched_since) < OLDEST_POLLED {
            return Vec::new();
        }
        self.polled_at = Some(now);
        polled(percent).into_iter().collect()
    }
}

/// The driver's buffered samples of the multiprocessors' clock.
#[derive(Debug, Default)]
struct ClockBuffer {
    newest: Option<u64>,
    refused: bool,
}

impl ClockBuffer {
    /// The highest clock that was buffered since the last turn.
    fn highest(&mut self, device: &Device<'static>) -> Option<u32> {
        if self.refused {
            return None;
        }
        let samples = match device.samples(Sampling::ProcessorClock, self.newest) {
            Ok(samples) => samples,
            Err(NvmlError::NotFound | NvmlError::NoData | NvmlError::InsufficientSize(_)) => return None,
            Err(problem) => {
                self.refused = matches!(supported::<()>(Err(problem)), Ok(None));
                return None;
            }
        };
        self.newest = samples.iter().map(|sample| sample.timestamp).max().or(self.newest);
        samples.iter().filter_map(|sample| whole(&sample.value)).max()
    }
}

/// `None` for what this GPU, driver or user cannot have; other faults are faults.
pub(super) fn supported<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(
            NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::NoData
            | NvmlError::NotFound
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::InvalidArg,
        ) => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn whole(value: &SampleValue) -> Option<u32> {
    match value {
        SampleValue::U32(value) => Some(*value),
        SampleValue::U64(value) => u32::try_from(*value).ok(),
        SampleValue::I64(value) => u32::try_from(*value).ok(),
        SampleValue::F64(_) => None,
    }
}
