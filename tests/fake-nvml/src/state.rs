//! The scenario that is loaded, its time, and what befalls a call.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::layout::{GPU_IS_LOST, GPU_NOT_FOUND, INVALID_ARGUMENT, NOT_SUPPORTED, Return, UNINITIALIZED};
use crate::scenario::{Device, Failure, Fault, Hang, Instance, Scenario};
use crate::time::Time;

/// `nvmlDevice_t`: never followed, only a number. GPUs count from 1, their instances from 1000 times that.
pub(crate) type Handle = usize;
const INSTANCES_OF: usize = 1000;

pub(crate) struct State {
    pub(crate) scenario: Scenario,
    /// Where the scenario's file stands, and the files that it names.
    pub(crate) folder: PathBuf,
    time: Time,
}

static STATE: OnceLock<Result<State, String>> = OnceLock::new();

/// Loads the scenario at the first call.
pub(crate) fn initialise() -> Result<&'static State, String> {
    let loaded = STATE.get_or_init(State::load).as_ref().map_err(Clone::clone);
    if let Err(problem) = &loaded {
        complain(problem);
    }
    loaded
}

/// A scenario that cannot be read is a slip in a test, which would else look like a machine without a driver.
#[expect(clippy::print_stderr, reason = "a driver's library has no other way to tell")]
fn complain(problem: &str) {
    eprintln!("stand-in for NVML: {problem}");
}

pub(crate) fn state() -> Result<&'static State, Return> {
    STATE.get().and_then(|state| state.as_ref().ok()).ok_or(UNINITIALIZED)
}

#[expect(clippy::disallowed_methods, reason = "a stand-in for a driver has no other way to its scenario")]
impl State {
    fn load() -> Result<Self, String> {
        let path = std::env::var("FLOPSMETER_FAKE_NVML").ok().or_else(beside_the_library);
        let path = path.ok_or("name a scenario in FLOPSMETER_FAKE_NVML")?;
        let text = std::fs::read_to_string(&path).map_err(|problem| format!("{path}: {problem}"))?;
        let scenario: Scenario = serde_json::from_str(&text).map_err(|problem| format!("{path}: {problem}"))?;
        let folder = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
        let time = match (&scenario.time_file, &scenario.origin_file) {
            (Some(file), _) => Time::told(folder.join(file)),
            (None, Some(file)) => Time::shared(folder.join(file)),
            (None, None) => Time::own(),
        }?;
        Ok(Self { scenario, folder, time })
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
    /// Milliseconds of the scenario's time.
    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// The driver's time stamp of a moment: microseconds of the day's clock.
    pub(crate) fn timestamp(&self, milliseconds: u64) -> u64 {
        self.time.started_unix_microseconds().saturating_add(milliseconds * 1000)
    }

    /// The moment of a time stamp.
    pub(crate) fn moment(&self, timestamp: u64) -> u64 {
        timestamp.saturating_sub(self.time.started_unix_microseconds()) / 1000
    }

    /// Hangs, dies or fails where the scenario says so of this call.
    pub(crate) fn befall(&self, call: &str, hangs: &[Hang], faults: &[Fault]) -> Result<(), Return> {
        let arrived = self.now();
        for left in hangs.iter().filter_map(|hang| hang.left(call, arrived)) {
            self.time.sleep_until(arrived + left);
        }
        let now = self.now();
        match faults.iter().find(|fault| fault.befalls(call, now)).map(|fault| fault.does) {
            None => Ok(()),
            Some(Failure::Code(code)) => Err(code),
            Some(Failure::Abort) => std::process::abort(),
            Some(Failure::Segfault) => {
                // SAFETY: none: to read where nothing is is what a broken driver does, and the process dies of it.
                unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
                std::process::abort()
            }
        }
    }
}

/// The scenario, for a call that is about no GPU, after the faults that it has for this call.
pub(crate) fn system(call: &str) -> Result<&'static State, Return> {
    let state = state()?;
    state.befall(call, &state.scenario.hangs, &state.scenario.faults)?;
    Ok(state)
}

/// Handle of a GPU.
pub(crate) fn handle(place: usize) -> Handle {
    place + 1
}

/// Handle of an instance of a GPU.
pub(crate) fn instance_handle(place: usize, instance: usize) -> Handle {
    handle(place) * INSTANCES_OF + instance
}

/// What a handle stands for, after the faults that the scenario has for this call.
pub(crate) struct Target {
    pub(crate) state: &'static State,
    /// Place of the GPU in the scenario.
    pub(crate) place: usize,
    pub(crate) device: &'static Device,
    /// Place of the instance among the GPU's, and the instance.
    pub(crate) instance: Option<(usize, &'static Instance)>,
    pub(crate) now: u64,
}

impl Target {
    /// Its index among the GPUs that are there.
    pub(crate) fn index(&self) -> Result<u32, Return> {
        let index = self.state.scenario.present(self.now).position(|place| place == self.place);
        index.and_then(|index| u32::try_from(index).ok()).ok_or(GPU_NOT_FOUND)
    }
}

/// Finds the GPU of a handle; hangs, dies, is lost or is not supported where the scenario says so.
pub(crate) fn target(handle: Handle, call: &str) -> Result<Target, Return> {
    let state = state()?;
    let (gpu, instance) =
        if handle >= INSTANCES_OF { (handle / INSTANCES_OF, Some(handle % INSTANCES_OF)) } else { (handle, None) };
    let place = gpu.checked_sub(1).ok_or(INVALID_ARGUMENT)?;
    let device = state.scenario.devices.get(place).ok_or(INVALID_ARGUMENT)?;
    let instance = match instance {
        Some(number) => Some((number, device.mig.get(number).ok_or(INVALID_ARGUMENT)?)),
        None => None,
    };
    state.befall(call, &device.hangs, &device.faults)?;
    let now = state.now();
    if !device.is_present(now) {
        return Err(GPU_NOT_FOUND);
    }
    if device.is_lost(now) {
        return Err(GPU_IS_LOST);
    }
    if device.not_supported.iter().any(|name| name == call) {
        return Err(NOT_SUPPORTED);
    }
    Ok(Target { state, place, device, instance, now })
}

/// The code of a result.
pub(crate) fn code(result: Result<(), Return>) -> Return {
    result.err().unwrap_or(crate::layout::SUCCESS)
}
