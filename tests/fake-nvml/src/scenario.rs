//! What a scenario file says.

use serde::Deserialize;

/// How many samples a GPU's buffer holds.
const BUFFERED_SAMPLES: u64 = 120;
/// What the energy counter shows at the start: the driver was loaded before.
const DRIVER_LOADED_MILLIJOULES: u64 = 1_000_000_000_000;
/// The energy counter moves in steps of this length.
const ENERGY_STEP_MS: u64 = 100;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Driver's version.
    pub driver_version: String,
    /// Code that `nvmlInit` returns.
    pub init: u32,
    /// The GPUs.
    pub devices: Vec<Device>,
}

/// One GPU. Times are milliseconds since the first `nvmlInit`; a list of `[from, value]` holds each value from its time on.
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
    /// Highest clock of the multiprocessors.
    pub max_sm_clock_mhz: u32,
    /// Clock of the multiprocessors.
    pub sm_clock_mhz: Vec<(u64, u64)>,
    /// Whole per cent.
    pub utilization: Vec<(u64, u64)>,
    /// Time between buffered samples.
    pub sample_period_ms: u64,
    /// Board power.
    pub power_milliwatts: Vec<(u64, u64)>,
    /// The energy counter starts again from zero at this time.
    pub energy_restarts_ms: Option<u64>,
    /// From, and until: calls return `GPU_IS_LOST`.
    pub lost: Option<(u64, u64)>,
    /// Calls that return `NOT_SUPPORTED`, by symbol.
    pub not_supported: Vec<String>,
    /// Calls that do not return before a time.
    pub hangs: Vec<Hang>,
    /// Its instances, if it is cut.
    pub mig: Vec<Instance>,
    /// Process ids with a context on it.
    pub processes: Vec<u32>,
}

/// A call that hangs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hang {
    /// Symbol.
    pub call: String,
    /// From this time on a call hangs …
    pub from_ms: u64,
    /// … until this time.
    pub until_ms: u64,
}

/// An instance of a GPU that is cut.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// `MIG-…`
    pub uuid: String,
    /// Its multiprocessors.
    pub multiprocessors: u32,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            name: "NVIDIA H200".to_owned(),
            uuid: "GPU-00000000-0000-0000-0000-000000000000".to_owned(),
            compute_capability: (9, 0),
            cores: 16_896,
            max_sm_clock_mhz: 1980,
            sm_clock_mhz: vec![(0, 1980)],
            utilization: vec![(0, 0)],
            sample_period_ms: 100,
            power_milliwatts: vec![(0, 75_000)],
            energy_restarts_ms: None,
            lost: None,
            not_supported: Vec::new(),
            hangs: Vec::new(),
            mig: Vec::new(),
            processes: Vec::new(),
        }
    }
}

/// The value that holds at `at`.
pub fn value_at(steps: &[(u64, u64)], at: u64) -> u64 {
    steps.iter().take_while(|(from, _)| *from <= at).last().map_or(0, |(_, value)| *value)
}

/// The sum of value × milliseconds over a stretch.
pub fn integral(steps: &[(u64, u64)], from: u64, until: u64) -> u64 {
    let ends = steps.iter().skip(1).map(|(start, _)| *start).chain([u64::MAX]);
    let part = |((start, value), end): (&(u64, u64), u64)| value * end.min(until).saturating_sub((*start).max(from));
    steps.iter().zip(ends).map(part).sum()
}

impl Device {
    /// Millijoules since the driver was loaded, in the counter's steps.
    pub fn energy_millijoules(&self, now: u64) -> u64 {
        let now = now - now % ENERGY_STEP_MS;
        let since = self.energy_restarts_ms.filter(|&restart| restart <= now).unwrap_or(0);
        let before = if since == 0 { DRIVER_LOADED_MILLIJOULES } else { 0 };
        // Milliwatts times milliseconds are microjoules.
        before + integral(&self.power_milliwatts, since, now) / 1000
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
}
