//! What can be measured on a GPU, tried once.

use nvml_wrapper::enum_wrappers::device::Sampling;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};

/// The first driver line with cycle counters.
const CYCLE_COUNTER_DRIVER: u32 = 595;

/// Whether something can be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurable {
    /// What, in one or two words.
    pub what: String,
    /// Why it cannot be; `None` if it can.
    pub why_not: Option<String>,
}

/// Tries everything on one GPU.
pub(super) fn probe(nvml: &'static Nvml, uuid: &str) -> Result<Vec<Measurable>, String> {
    let device = nvml.device_by_uuid(uuid).map_err(|problem| problem.to_string())?;
    let gpm = gpm(&device);
    let cycles = gpm.clone().and_then(|()| cycle_counters(nvml));
    let tried = [
        ("busy buffer", answered(buffered(&device, Sampling::GpuUtilization))),
        ("clock buffer", answered(buffered(&device, Sampling::ProcessorClock))),
        ("energy", answered(device.total_energy_consumption())),
        ("power", answered(device.power_usage())),
        ("pipe activity (GPM)", gpm),
        ("cycle counters", cycles),
        ("processes", answered(device.running_compute_processes())),
    ];
    Ok(tried.into_iter().map(|(what, tried)| Measurable { what: what.to_owned(), why_not: tried.err() }).collect())
}

fn buffered(device: &Device<'static>, kind: Sampling) -> Result<(), NvmlError> {
    match device.samples(kind, None) {
        // There is a buffer, and nothing in it yet.
        Err(NvmlError::NotFound | NvmlError::NoData | NvmlError::InsufficientSize(_)) => Ok(()),
        answer => answer.map(drop),
    }
}

fn gpm(device: &Device<'static>) -> Result<(), String> {
    match device.gpm_support() {
        Ok(true) => answered(device.gpm_sample()),
        Ok(false) => Err("not supported on this GPU".to_owned()),
        Err(problem) => Err(words(&problem)),
    }
}

fn cycle_counters(nvml: &'static Nvml) -> Result<(), String> {
    let version = nvml.sys_driver_version().map_err(|problem| words(&problem))?;
    let line = version.split('.').next().and_then(|line| line.parse::<u32>().ok());
    match line {
        Some(line) if line >= CYCLE_COUNTER_DRIVER => Ok(()),
        _ => Err(format!("only drivers from {CYCLE_COUNTER_DRIVER} on have them")),
    }
}

fn answered<T>(answer: Result<T, NvmlError>) -> Result<(), String> {
    answer.map(drop).map_err(|problem| words(&problem))
}

fn words(problem: &NvmlError) -> String {
    match problem {
        NvmlError::NotSupported => "not supported on this GPU".to_owned(),
        NvmlError::NoPermission => "not permitted to this user".to_owned(),
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => "this driver does not have it".to_owned(),
        problem => problem.to_string(),
    }
}
