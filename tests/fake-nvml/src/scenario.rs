//! What a scenario file says.
//!
//! Times are milliseconds of the scenario's own time (see [`Scenario::origin_file`]); a list of `[from, value]` holds each
//! value from its time on.

mod activity;
mod counter;
mod fault;
mod process;
mod steps;

use std::path::PathBuf;

use serde::Deserialize;

pub use activity::{Activity, Pipe};
pub use counter::Counter;
pub use fault::{Failure, Fault, Hang};
pub use process::Process;
pub use steps::{Steps, integral, product_integral, value_at};

/// How many samples a GPU's buffer holds.
const BUFFERED_SAMPLES: u64 = 120;
/// The energy counter moves in steps of this length.
const ENERGY_STEP_MS: u64 = 100;
/// First driver line with cycle counters.
const CYCLE_COUNTER_DRIVER: u32 = 595;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Driver's version; from 595 on it has cycle counters.
    pub driver_version: String,
    /// Code that `nvmlInit` returns.
    pub init: u32,
    /// The GPUs.
    pub devices: Vec<Device>,
    /// What goes wrong in calls that are about no GPU.
    pub faults: Vec<Fault>,
    /// Such calls that do not return before a time.
    pub hangs: Vec<Hang>,
    /// Metrics of GPM, by number, for which a request fails as a whole with `INVALID_ARGUMENT`; one that is merely not there is told
    /// so itself.
    pub gpm_rejects: Vec<u32>,
    /// File (beside this one) that tells when the scenario begins, in microseconds of the day's clock. The first `nvmlInit`
    /// of any process writes it if it is not there, so that all processes share one time; without it each has its own.
    pub origin_file: Option<PathBuf>,
    /// File (beside this one) that tells what time it is: a number of milliseconds, read at each call. Time stands still
    /// until someone writes another.
    pub time_file: Option<PathBuf>,
}

/// One GPU.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// Product name.
    pub name: String,
    /// `GPU-…`
    pub uuid: String,
    /// Major and minor.
    pub compute_capability: (i32, i32),
    /// FP32 lanes.
    pub cores: u32,
    /// Device and vendor.
    pub pci_device_id: u32,
    /// Board.
    pub pci_subsystem_id: u32,
    /// Number of its device node; its index if it is left out.
    pub minor_number: Option<u32>,
    /// Highest clock of the multiprocessors.
    pub max_sm_clock_mhz: u32,
    /// Clock of the multiprocessors.
    pub sm_clock_mhz: Steps,
    /// Bits of `nvmlClocksThrottleReasons…`.
    pub throttle_reasons: Steps,
    /// Whole per cent.
    pub utilization: Steps,
    /// Time between buffered samples.
    pub sample_period_ms: u64,
    /// What the pipes do.
    pub activity: Activity,
    /// Whether GPM works; if it is left out, from Hopper on where `activity` is told. Without it the pipes of a GPU that is busy
    /// would seem idle.
    pub gpm: Option<bool>,
    /// How often GPM's counters are renewed: a snapshot is as old as the last renewal.
    pub gpm_refresh_ms: u64,
    /// The cycle counters, which count `cycle_counter_scale` for each cycle of one multiprocessor.
    pub cycle_counter: Counter,
    /// See [`Device::cycle_counter`].
    pub cycle_counter_scale: u64,
    /// Board power.
    pub power_milliwatts: Steps,
    /// `nvmlDeviceGetEnforcedPowerLimit`
    pub power_limit_milliwatts: u32,
    /// The energy counter, in millijoules.
    pub energy_counter: Counter,
    /// The energy counter starts again from zero at this time.
    pub energy_restarts_ms: Option<u64>,
    /// From, and until: it is there. Outside, it is not counted, has no index, and calls return `GPU_NOT_FOUND`.
    pub present: Option<(u64, u64)>,
    /// From, and until: calls return `GPU_IS_LOST`.
    pub lost: Option<(u64, u64)>,
    /// Calls that return `NOT_SUPPORTED`, by symbol.
    pub not_supported: Vec<String>,
    /// Calls that fail in other ways.
    pub faults: Vec<Fault>,
    /// Calls that do not return before a time.
    pub hangs: Vec<Hang>,
    /// Its instances, if it is cut.
    pub mig: Vec<Instance>,
    /// Processes with a context on it.
    pub processes: Vec<Process>,
    /// Its memory.
    pub memory_bytes: u64,
}

/// An instance of a GPU that is cut.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `MIG-…`
    pub uuid: String,
    /// Its multiprocessors.
    pub multiprocessors: u32,
    /// What its pipes do.
    #[serde(default)]
    pub activity: Activity,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            name: "NVIDIA H200".to_owned(),
            uuid: "GPU-00000000-0000-0000-0000-000000000000".to_owned(),
            compute_capability: (9, 0),
            cores: 16_896,
            pci_device_id: 0x2335_10de,
            pci_subsystem_id: 0x18be_10de,
            minor_number: None,
            max_sm_clock_mhz: 1980,
            sm_clock_mhz: vec![(0, 1980)],
            throttle_reasons: vec![(0, 0)],
            utilization: vec![(0, 0)],
            sample_period_ms: 100,
            activity: Activity::default(),
            gpm: None,
            gpm_refresh_ms: 100,
            cycle_counter: Counter::default(),
            cycle_counter_scale: 1,
            power_milliwatts: vec![(0, 75_000)],
            power_limit_milliwatts: 700_000,
            energy_counter: Counter::default(),
            energy_restarts_ms: None,
            present: None,
            lost: None,
            not_supported: Vec::new(),
            faults: Vec::new(),
            hangs: Vec::new(),
            mig: Vec::new(),
            processes: Vec::new(),
            memory_bytes: 141 << 30,
        }
    }
}

impl Scenario {
    /// Whether the driver has cycle counters.
    pub fn counts_cycles(&self) -> bool {
        let major = self.driver_version.split('.').next().and_then(|major| major.parse().ok());
        major.is_some_and(|major: u32| major >= CYCLE_COUNTER_DRIVER)
    }

    /// The GPUs that are there, with their places in the file.
    pub fn present(&self, now: u64) -> impl Iterator<Item = usize> {
        let there = move |(index, device): (usize, &Device)| device.is_present(now).then_some(index);
        self.devices.iter().enumerate().filter_map(there)
    }
}

impl Device {
    /// Millijoules since the driver was loaded, in the counter's steps.
    pub fn energy_millijoules(&self, now: u64) -> u64 {
        let mut counter = self.energy_counter.clone();
        counter.restarts_ms = counter.restarts_ms.or(self.energy_restarts_ms);
        // Milliwatts times milliseconds are microjoules.
        let sum = |from, until| u128::from(integral(&self.power_milliwatts, from, until) / 1000);
        counter.shown(now - now % ENERGY_STEP_MS, sum)
    }

    /// Time and value of the buffered samples after `last_seen`. A sample tells the average of the period that ends with it,
    /// rounded down.
    pub fn buffered(&self, steps: &[(u64, u64)], now: u64, last_seen: u64) -> Vec<(u64, u64)> {
        let period = self.sample_period_ms.max(1);
        let newest = now / period;
        let oldest = newest.saturating_sub(BUFFERED_SAMPLES).max(last_seen / period) + 1;
        let average = |at: u64| integral(steps, at - period, at) / period;
        (oldest..=newest).map(|index| (index * period, average(index * period))).collect()
    }

    /// Whether calls find the GPU gone.
    pub fn is_lost(&self, now: u64) -> bool {
        self.lost.is_some_and(|(from, until)| (from..until).contains(&now))
    }

    /// Whether the GPU is there at all.
    pub fn is_present(&self, now: u64) -> bool {
        self.present.is_none_or(|(from, until)| (from..until).contains(&now))
    }

    /// Whether GPM works.
    pub fn has_gpm(&self) -> bool {
        self.gpm.unwrap_or(self.compute_capability.0 >= 9 && self.activity != Activity::default())
    }

    /// Cycles of one multiprocessor in which a pipe of the GPU or of one of its instances was active in a stretch.
    pub fn cycles(&self, instance: Option<&Instance>, pipe: Pipe, from: u64, until: u64) -> u128 {
        let activity = instance.map_or(&self.activity, |instance| &instance.activity);
        if pipe == Pipe::Sm && activity.sm.is_empty() && instance.is_none() {
            // Whole per cent are tens of per mille.
            return 10 * product_integral(&self.utilization, &self.sm_clock_mhz, from, until);
        }
        activity.active_cycles(pipe, &self.sm_clock_mhz, from, until)
    }
}
