//! What can be measured on a GPU or an instance of one, tried once.

use std::thread::sleep;
use std::time::Duration;

use flopsmeter_core::ceiling::{CYCLE_COUNTER_DRIVER, has_cycle_counters};
use flopsmeter_core::sample::{CycleCounters, PipeStretch};
use nvml_wrapper::enum_wrappers::device::Sampling;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};

use super::gpm::Activity;
use crate::clock::monotonic;

/// How long GPM may take to tell what happened between two snapshots: several windows.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Whether something can be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurable {
    /// What, in a few words.
    pub what: String,
    /// Why it cannot be; `None` if it can.
    pub why_not: Option<String>,
}

/// Tries everything on each of these GPUs and instances. The counters of all are watched at once: that takes a while.
pub(super) fn probe(nvml: &'static Nvml, uuids: &[String]) -> Vec<Result<Vec<Measurable>, String>> {
    let begin = |uuid: &String| Trial::begin(nvml, uuid).map_err(|problem| problem.to_string());
    let mut trials: Vec<Result<Trial, String>> = uuids.iter().map(begin).collect();
    let until = monotonic() + PATIENCE;
    while trials.iter_mut().flatten().filter_map(Trial::waits).count() > 0 && monotonic() < until {
        sleep(PAUSE);
    }
    trials.into_iter().map(|trial| Ok(trial?.end(nvml))).collect()
}

/// One GPU or instance that is tried.
struct Trial {
    device: Device<'static>,
    is_instance: bool,
    counters: Result<Counters, String>,
}

/// Those of GPM, as the reader reads them.
struct Counters {
    activity: Activity,
    pipes: Option<PipeStretch>,
    cycles: Option<CycleCounters>,
}

impl Trial {
    fn begin(nvml: &'static Nvml, uuid: &str) -> Result<Self, NvmlError> {
        let device = nvml.device_by_uuid(uuid)?;
        let is_instance = uuid.starts_with("MIG-");
        let supported = if is_instance {
            Err("the driver counts for the whole GPU instance, of which this may be a part only".to_owned())
        } else {
            gpm(&device)
        };
        let counters = supported.map(|()| Counters { activity: Activity::new(nvml), pipes: None, cycles: None });
        Ok(Self { device, is_instance, counters })
    }

    /// `None` once there is nothing more to wait for.
    fn waits(&mut self) -> Option<()> {
        let counters = self.counters.as_mut().ok().filter(|counters| counters.pipes.is_none())?;
        let window = counters.activity.read(&self.device);
        counters.pipes = window.pipes.and_then(|pipes| pipes.into_iter().next());
        counters.cycles = window.cycles;
        counters.pipes.is_none().then_some(())
    }

    fn end(self, nvml: &'static Nvml) -> Vec<Measurable> {
        let device = &self.device;
        let mut tried = vec![
            ("busy buffer", self.answered(buffered(device, Sampling::GpuUtilization))),
            ("clock buffer", self.answered(buffered(device, Sampling::ProcessorClock))),
        ];
        match self.is_instance.then(|| device.mig_parent_device()) {
            None => tried.extend([
                ("energy", self.answered(device.total_energy_consumption())),
                ("power", self.answered(device.power_usage())),
            ]),
            // As it is read: an instance has no counter of its own.
            Some(board) => {
                let of_board = |problem: &NvmlError| words(problem, "this GPU");
                let board = board.as_ref().map_err(of_board);
                let energy = board.clone().and_then(|it| it.total_energy_consumption().map_err(|it| of_board(&it)));
                let power = board.and_then(|it| it.power_usage().map_err(|it| of_board(&it)));
                tried.extend([
                    ("energy of the whole GPU", energy.map(drop)),
                    ("power of the whole GPU", power.map(drop)),
                ]);
            }
        }
        tried.extend([
            ("pipe activity (GPM)", self.pipes()),
            ("cycle counters", self.cycles(nvml)),
            ("processes", self.answered(device.running_compute_processes())),
        ]);
        tried.into_iter().map(|(what, tried)| Measurable { what: what.to_owned(), why_not: tried.err() }).collect()
    }

    fn pipes(&self) -> Result<(), String> {
        let counters = self.counters.as_ref().map_err(Clone::clone)?;
        let seconds = PATIENCE.as_secs();
        counters.pipes.map(drop).ok_or_else(|| format!("the driver told nothing within {seconds} s"))
    }

    fn cycles(&self, nvml: &'static Nvml) -> Result<(), String> {
        let counters = self.counters.as_ref().map_err(Clone::clone)?;
        if counters.cycles.is_some() {
            return Ok(());
        }
        let version = nvml.sys_driver_version().map_err(|problem| words(&problem, "this GPU"))?;
        if has_cycle_counters(&version) {
            return Err("the driver told none, or has counted nothing yet".to_owned());
        }
        Err(format!("only drivers from {CYCLE_COUNTER_DRIVER} on have them"))
    }

    fn answered<T>(&self, answer: Result<T, NvmlError>) -> Result<(), String> {
        let on = if self.is_instance { "an instance" } else { "this GPU" };
        answer.map(drop).map_err(|problem| words(&problem, on))
    }
}

fn buffered(device: &Device<'static>, kind: Sampling) -> Result<(), NvmlError> {
    match device.samples(kind, None) {
        // There is a buffer, and nothing in it yet.
        Err(NvmlError::NotFound | NvmlError::NoData | NvmlError::InsufficientSize(_)) => Ok(()),
        answer => answer.map(drop),
    }
}

fn gpm(device: &Device<'static>) -> Result<(), String> {
    let answer = match device.gpm_support() {
        Ok(true) => device.gpm_sample().map(drop),
        Ok(false) => Err(NvmlError::NotSupported),
        Err(problem) => Err(problem),
    };
    answer.map_err(|problem| words(&problem, "this GPU"))
}

fn words(problem: &NvmlError, on: &str) -> String {
    match problem {
        NvmlError::NotSupported => format!("not supported on {on}"),
        NvmlError::NoPermission => "not permitted to this user".to_owned(),
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => "this driver does not have it".to_owned(),
        problem => problem.to_string(),
    }
}
