//! The scenario that is loaded, and its time.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::layout::{GPU_IS_LOST, INVALID_ARGUMENT, NOT_SUPPORTED, Return, UNINITIALIZED};
use crate::scenario::{Device, Instance, Scenario};

/// `nvmlDevice_t`: never followed, only a number. GPUs count from 1, their instances from 1000 times that.
pub(crate) type Handle = usize;
const INSTANCES_OF: usize = 1000;

pub(crate) struct State {
    pub(crate) scenario: Scenario,
    started: Instant,
    started_unix_microseconds: u64,
}

static STATE: OnceLock<Result<State, String>> = OnceLock::new();

/// Loads the scenario at the first call.
pub(crate) fn initialise() -> Result<&'static State, String> {
    STATE.get_or_init(State::load).as_ref().map_err(Clone::clone)
}

pub(crate) fn state() -> Result<&'static State, Return> {
    STATE.get().and_then(|state| state.as_ref().ok()).ok_or(UNINITIALIZED)
}

#[expect(clippy::disallowed_methods, reason = "a stand-in for a driver has no other way to its scenario and its clock")]
impl State {
    fn load() -> Result<Self, String> {
        let path = std::env::var("FLOPSMETER_FAKE_NVML").ok().or_else(beside_the_library);
        let path = path.ok_or("name a scenario in FLOPSMETER_FAKE_NVML")?;
        let text = std::fs::read_to_string(&path).map_err(|problem| format!("{path}: {problem}"))?;
        let scenario = serde_json::from_str(&text).map_err(|problem| format!("{path}: {problem}"))?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|problem| problem.to_string())?;
        let started_unix_microseconds =
            u64::try_from(since_epoch.as_micros()).map_err(|problem| problem.to_string())?;
        Ok(Self { scenario, started: Instant::now(), started_unix_microseconds })
    }
}

/// `<library>.json`, so that two copies of the library in one process can play two scenarios.
#[expect(clippy::disallowed_methods, reason = "as above")]
fn beside_the_library() -> Option<String> {
    let inside = initialise as *const () as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let holds = |line: &&str| {
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        let parse = |text| usize::from_str_radix(text, 16).ok();
        range.and_then(|(from, until)| Some(parse(from)?..parse(until)?)).is_some_and(|range| range.contains(&inside))
    };
    let path = maps.lines().find(holds)?.split_whitespace().nth(5)?;
    Some(format!("{path}.json"))
}

impl State {
    /// Milliseconds since the first `nvmlInit`.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The driver's time stamp of a moment: microseconds of the day's clock.
    pub(crate) fn timestamp(&self, milliseconds: u64) -> u64 {
        self.started_unix_microseconds + milliseconds * 1000
    }

    /// The moment of a time stamp.
    pub(crate) fn moment(&self, timestamp: u64) -> u64 {
        timestamp.saturating_sub(self.started_unix_microseconds) / 1000
    }
}

/// Handle of a GPU.
pub(crate) fn handle(index: usize) -> Handle {
    index + 1
}

/// Handle of an instance of a GPU.
pub(crate) fn instance_handle(index: usize, instance: usize) -> Handle {
    handle(index) * INSTANCES_OF + instance
}

/// What a handle stands for, after the faults that the scenario has for this call.
pub(crate) struct Target {
    pub(crate) state: &'static State,
    pub(crate) index: usize,
    pub(crate) device: &'static Device,
    pub(crate) instance: Option<&'static Instance>,
    pub(crate) now: u64,
}

/// Finds the GPU of a handle; hangs, is lost or is not supported where the scenario says so.
pub(crate) fn target(handle: Handle, call: &str) -> Result<Target, Return> {
    let state = state()?;
    let (gpu, instance) =
        if handle >= INSTANCES_OF { (handle / INSTANCES_OF, Some(handle % INSTANCES_OF)) } else { (handle, None) };
    let index = gpu.checked_sub(1).ok_or(INVALID_ARGUMENT)?;
    let device = state.scenario.devices.get(index).ok_or(INVALID_ARGUMENT)?;
    let instance = match instance {
        Some(number) => Some(device.mig.get(number).ok_or(INVALID_ARGUMENT)?),
        None => None,
    };
    let arrived = state.now();
    for hang in device.hangs.iter().filter(|hang| hang.call == call && (hang.from_ms..hang.until_ms).contains(&arrived))
    {
        thread::sleep(Duration::from_millis(hang.until_ms - arrived));
    }
    let now = state.now();
    if device.is_lost(now) {
        return Err(GPU_IS_LOST);
    }
    if device.not_supported.iter().any(|name| name == call) {
        return Err(NOT_SUPPORTED);
    }
    Ok(Target { state, index, device, instance, now })
}

/// The code of a result.
pub(crate) fn code(result: Result<(), Return>) -> Return {
    result.err().unwrap_or(crate::layout::SUCCESS)
}
