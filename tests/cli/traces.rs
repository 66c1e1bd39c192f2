//! Random GPUs, through the real driver interface and the whole command: the ceiling is never below what was scripted.
//!
//! Work begins when it likes: seconds before the job and its meter, or after them. Before the job it is somebody else's, and what
//! the GPUs rested then is not to be taken for the job's. A scenario's time and the job's differ by that much.
//!
//! Runs take as long as their scenarios, so that several play at once, with eight GPUs each. A failure prints its scenario.

mod product;

use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::daemon::{Daemon, finding, microseconds};
use crate::gpu::{H200_PEAK, library, with_library};
use crate::job;
use crate::place::{Outcome, Place, Running, finish};
use product::{PRODUCTS, Product};

const RUNS: usize = 6;
const GPUS: usize = 8;
/// Nothing is done after this time of a job.
const WORK_ENDS_MS: u64 = 5000;
/// How long before a job work may have begun, and how long after it at the latest.
const LONGEST_LEAD_MS: u64 = 4000;
const LONGEST_DELAY_MS: u64 = 1500;

/// Calls that no GPU, driver or user need support.
const OPTIONAL: [&str; 16] = [
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMinorNumber",
    "nvmlDeviceGetNumGpuCores",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetUtilizationRates",
    "nvmlGpmSampleGet",
];
/// Calls made again and again while a job runs: one that hangs does not keep the GPUs from being listed.
const REPEATED: [&str; 4] = [
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetTotalEnergyConsumption",
];
/// OPERATING_SYSTEM, GPU_IS_LOST, NOT_READY and one that no header has.
const CODES: [u32; 4] = [17, 15, 27, 777];

/// What a GPU did in a stretch.
#[derive(Clone, Debug)]
struct Stretch {
    milliseconds: u64,
    /// Kernels ran, whole per cent.
    busy: u64,
    /// Per mille of the cycles.
    tensor: u64,
    /// Per mille of the cycles.
    vector: u64,
    /// Per mille of the highest one.
    clock: u64,
}

prop_compose! {
    /// Tensor and vector pipes are active while kernels run, one after the other. Often the tensor pipes are active for as
    /// long as kernels run, at the highest clock: then the truth is as near to what the driver says as it can be.
    fn stretch()(
        milliseconds in prop_oneof![1_u64..900, 1000..=WORK_ENDS_MS],
        busy in prop_oneof![Just(0), Just(100), 1_u64..100, 80_u64..100],
        tensor_share in prop_oneof![2 => Just(100), 1 => 0_u64..100],
        vector_share in 0_u64..=100,
        clock in prop_oneof![2 => Just(1000), 1 => 170_u64..1000],
    ) -> Stretch {
        let tensor = busy * tensor_share / 10;
        let vector = (busy * 10 - tensor) * vector_share / 100;
        Stretch { milliseconds, busy, tensor, vector, clock }
    }
}

/// When the work begins, in milliseconds: so long before the job, or so long after it.
#[derive(Clone, Copy, Debug)]
struct Onset {
    lead: u64,
    delay: u64,
}

impl Onset {
    /// A time of the job as one of the scenario, which stands still until it begins.
    fn scenario_ms(self, job_ms: u64) -> u64 {
        (job_ms + self.lead).saturating_sub(self.delay)
    }

    /// The same for each time that a fault names. What is there from the start on stays so.
    fn shift(self, fault: &mut Value) {
        let shifted = |time: &mut Value| {
            if let Some(at) = time.as_u64().filter(|&at| at > 0) {
                *time = json!(self.scenario_ms(at));
            }
        };
        for (key, value) in fault.as_object_mut().unwrap() {
            match (key.as_str(), value) {
                ("lost" | "present", Value::Array(times)) => times.iter_mut().for_each(shifted),
                ("falls", Value::Array(falls)) => falls.iter_mut().for_each(|fall| shifted(&mut fall[0])),
                ("from_ms" | "until_ms" | "restarts_ms", time) => shifted(time),
                ("faults" | "hangs", Value::Array(list)) => list.iter_mut().for_each(|one| self.shift(one)),
                ("cycle_counter" | "energy_counter", counter) => self.shift(counter),
                _ => {}
            }
        }
    }
}

fn onset() -> impl Strategy<Value = Onset> {
    prop_oneof![
        2 => (0..=LONGEST_LEAD_MS).prop_map(|lead| Onset { lead, delay: 0 }),
        1 => (0..=LONGEST_DELAY_MS).prop_map(|delay| Onset { lead: 0, delay }),
    ]
}

/// What the driver says of it, or fails to say: nothing, one thing, or two at once. Times are the job's.
fn faults() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => fault(),
        2 => (fault(), fault()).prop_map(|(one, other)| both(one, &other)),
        1 => reset_in_a_hole(),
    ]
}

fn both(mut one: Value, other: &Value) -> Value {
    for (key, value) in other.as_object().unwrap() {
        match (one.get_mut(key), value) {
            (Some(Value::Array(mine)), Value::Array(theirs)) if key != "lost" && key != "present" => {
                mine.extend(theirs.clone());
            }
            (Some(Value::Object(mine)), Value::Object(theirs)) => mine.extend(theirs.clone()),
            _ => one[key] = value.clone(),
        }
    }
    one
}

/// The counters start again while nobody can read them, and hold more than before when they are read again.
fn reset_in_a_hole() -> impl Strategy<Value = Value> {
    (500..WORK_ENDS_MS / 2, 300_u64..2000, 0_u64..100, any::<u32>()).prop_map(|(from, length, at, starts_at)| {
        let counter = json!({ "starts_at": starts_at, "restarts_ms": from + length * at / 100 });
        json!({ "lost": [from, from + length], "cycle_counter": counter, "energy_counter": counter })
    })
}

fn fault() -> impl Strategy<Value = Value> {
    let time = 0..WORK_ENDS_MS;
    let stretch = (time.clone(), 1_u64..2000).prop_map(|(from, length)| (from, from + length));
    let repeated = || prop::sample::select(REPEATED.to_vec());
    prop_oneof![
        3 => Just(json!({})),
        1 => stretch.clone().prop_map(|lost| json!({ "lost": lost })),
        1 => (1000..WORK_ENDS_MS).prop_map(|until| json!({ "present": [0, until] })),
        1 => (1..WORK_ENDS_MS).prop_map(|from| json!({ "present": [from, 600_000] })),
        2 => subsequence(OPTIONAL.to_vec(), 1..=OPTIONAL.len()).prop_map(|calls| json!({ "not_supported": calls })),
        1 => (stretch.clone(), repeated(), prop::sample::select(CODES.to_vec())).prop_map(|((from, until), call, code)| {
            json!({ "faults": [{ "call": call, "from_ms": from, "until_ms": until, "does": { "code": code } }] })
        }),
        1 => (1000..WORK_ENDS_MS, 1_u64..1500, repeated()).prop_map(|(from, length, call)| {
            json!({ "hangs": [{ "call": call, "from_ms": from, "until_ms": from + length }] })
        }),
        1 => (stretch, repeated(), prop::sample::select(vec!["abort", "segfault"])).prop_map(|((from, until), call, does)| {
            json!({ "faults": [{ "call": call, "from_ms": from, "until_ms": until, "does": does }] })
        }),
        1 => (100_u64..1000).prop_map(|period| json!({ "sample_period_ms": period })),
        2 => counter().prop_map(|counter| json!({ "cycle_counter": counter, "energy_counter": counter })),
    ]
}

/// Counters that wrap, start again or fall.
fn counter() -> impl Strategy<Value = Value> {
    let starts_at = any::<u32>().prop_map(u64::from);
    let misfortune = prop_oneof![
        (1_u64..1 << 33).prop_map(|at| json!({ "wraps_at": at })),
        (0..WORK_ENDS_MS).prop_map(|at| json!({ "restarts_ms": at })),
        (0..WORK_ENDS_MS, any::<u32>()).prop_map(|(at, by)| json!({ "falls": [[at, by]] })),
    ];
    (starts_at, misfortune).prop_map(|(starts_at, misfortune)| joined(json!({ "starts_at": starts_at }), &misfortune))
}

fn joined(mut left: Value, right: &Value) -> Value {
    left.as_object_mut().unwrap().extend(right.as_object().unwrap().clone());
    left
}

#[derive(Clone, Debug)]
struct Gpu {
    product: &'static Product,
    scripted: Value,
    /// What it does from each time of the scenario on, and for how long.
    work: Vec<(u64, u64, Stretch)>,
}

/// After the job's start, on a busy machine: a GPU that went before nobody can know of.
const LISTED_BY_MS: u64 = 3000;

impl Gpu {
    /// Operations after this time of the scenario.
    fn truth(&self, from: u64) -> u128 {
        let after = |(at, length, stretch): &(u64, u64, Stretch)| {
            let until = at + length;
            work(self.product, stretch, until.saturating_sub((*at).max(from)))
        };
        self.work.iter().map(after).sum()
    }

    /// Whether it is not there any more by this time of the scenario, though its work is played on.
    fn is_gone_by(&self, time: u64) -> bool {
        self.scripted["present"][1].as_u64().is_some_and(|until| until <= time)
    }

    /// Whether its cycle counters count what they should, but for starting again where nobody reads them.
    fn counts_right(&self) -> bool {
        let counter = &self.scripted["cycle_counter"];
        let unseen = self.scripted["lost"].is_array() || counter["restarts_ms"].is_null();
        counter["wraps_at"].is_null() && counter["falls"].is_null() && unseen
    }
}

fn gpu(onset: Onset) -> impl Strategy<Value = Gpu> {
    let product = prop_oneof![2 => Just(&PRODUCTS[0]), 3 => prop::sample::select(PRODUCTS.iter().collect::<Vec<_>>())];
    (product, vec(stretch(), 1..12), faults()).prop_map(move |(product, stretches, mut fault)| {
        onset.shift(&mut fault);
        let mut at = 0;
        let mut done = Vec::new();
        let mut script = json!({ "utilization": [], "sm_clock_mhz": [], "hmma": [], "fp32": [] });
        for stretch in &stretches {
            let length = stretch.milliseconds.min(WORK_ENDS_MS + onset.lead - at);
            if length == 0 {
                break;
            }
            let steps = [("utilization", stretch.busy), ("sm_clock_mhz", stretch.clock_mhz(product))];
            for (name, value) in steps.into_iter().chain([("hmma", stretch.tensor), ("fp32", stretch.vector)]) {
                script[name].as_array_mut().unwrap().push(json!([at, value]));
            }
            done.push((at, length, stretch.clone()));
            at += length;
        }
        Gpu { product, scripted: scripted(product, &script, at, &fault), work: done }
    })
}

/// Idle from the end of the list on.
fn scripted(product: &Product, script: &Value, end: u64, fault: &Value) -> Value {
    let closed = |name: &str, value: u64| {
        let mut steps = script[name].as_array().unwrap().clone();
        steps.push(json!([end, value]));
        steps
    };
    let gpu = json!({
        "name": product.name, "pci_device_id": product.pci_device_id, "compute_capability": product.compute_capability,
        "cores": product.multiprocessors * product.vector_flop_per_clock / 2,
        "max_sm_clock_mhz": product.max_clock_mhz, "sm_clock_mhz": closed("sm_clock_mhz", 345), "power_milliwatts": [[0, 400_000]],
        "utilization": closed("utilization", 0), "activity": { "hmma": closed("hmma", 0), "fp32": closed("fp32", 0) },
    });
    joined(gpu, fault)
}

/// Operations of a stretch. Per mille of megahertz times milliseconds are cycles.
fn work(product: &Product, stretch: &Stretch, milliseconds: u64) -> u128 {
    let clock_mhz = u128::from(stretch.clock_mhz(product));
    let cycles = |permille: u64| u128::from(permille) * clock_mhz * u128::from(milliseconds);
    let flop_per_multiprocessor =
        cycles(stretch.tensor) * product.tensor_flop_per_clock + cycles(stretch.vector) * product.vector_flop_per_clock;
    product.multiprocessors * flop_per_multiprocessor
}

impl Stretch {
    const fn clock_mhz(&self, product: &Product) -> u64 {
        product.max_clock_mhz * self.clock / 1000
    }
}

#[derive(Clone, Debug)]
struct Machine {
    driver: &'static str,
    onset: Onset,
    gpus: Vec<Gpu>,
}

/// Two scenarios have the cycle counters of newer drivers to each one that has not.
fn machine() -> impl Strategy<Value = Machine> {
    let driver = prop::sample::select(vec!["580.159.03", "595.45.04", "610.43.02"]);
    (driver, onset())
        .prop_flat_map(|(driver, onset)| vec(gpu(onset), GPUS).prop_map(move |gpus| Machine { driver, onset, gpus }))
}

#[test]
fn the_ceiling_of_random_gpus_is_never_below_what_they_did() {
    play_all(RUNS, &play);
}

#[test]
fn nor_is_it_where_a_daemon_reads_them() {
    play_all(RUNS / 2, &play_with_daemon);
}

fn play_all(runs: usize, play: &(impl Fn(&Machine) -> usize + Sync)) {
    let mut runner = TestRunner::default();
    let machines: Vec<_> = (0..runs).map(|_| machine().new_tree(&mut runner).unwrap().current()).collect();
    let bounded: usize = thread::scope(|scope| {
        let plays: Vec<_> = machines.iter().map(|machine| scope.spawn(|| play(machine))).collect();
        plays.into_iter().map(|play| play.join().unwrap()).sum()
    });
    // Were all of them missing, nothing would have been shown.
    assert!(bounded > runs * GPUS / 3, "{bounded} GPUs have a ceiling");
}

fn scenario(machine: &Machine) -> Value {
    let named = |(index, gpu): (usize, &Gpu)| joined(gpu.scripted.clone(), &json!({ "uuid": format!("GPU-{index}") }));
    let devices: Vec<Value> = machine.gpus.iter().enumerate().map(named).collect();
    json!({ "driver_version": machine.driver, "origin_file": "began", "devices": devices })
}

/// A job that tells when it began, and outlasts the work.
fn script(onset: Onset) -> String {
    let milliseconds = WORK_ENDS_MS + onset.delay + 300;
    format!("date +%s%6N > started; sleep {}.{:03}; exit 7", milliseconds / 1000, milliseconds % 1000)
}

/// The daemon has read the GPUs for somebody else before, who goes on for a while.
fn play_with_daemon(machine: &Machine) -> usize {
    const OLDER_CLIENTS_MS: u64 = 3000;
    let scenario = scenario(machine);
    let place = Place::new();
    let library = library(&place, &scenario);
    let starts = microseconds() + (OLDER_CLIENTS_MS + machine.onset.lead) * 1000;
    place.write("began", (starts + machine.onset.delay * 1000 - machine.onset.lead * 1000).to_string());
    let daemon = Daemon::start(&place, &library, &[]);
    let older = Running::start(finding(with_library(&place, &library, "--quiet", "sleep 9"), &place));
    thread::sleep(Duration::from_micros(starts.saturating_sub(microseconds())));
    let outcome =
        finish(finding(with_library(&place, library, "--quiet --summary s.json", &script(machine.onset)), &place));
    let bounded = judge(&place, &outcome, machine, &scenario);
    older.finish();
    daemon.terminate();
    bounded
}

/// How many of the GPUs have a ceiling at all; none is too low.
fn play(machine: &Machine) -> usize {
    let scenario = scenario(machine);
    let place = Place::new();
    let command = with_library(&place, library(&place, &scenario), "--quiet --summary s.json", &script(machine.onset));
    place.write("began", (microseconds() + machine.onset.delay * 1000 - machine.onset.lead * 1000).to_string());
    judge(&place, &finish(command), machine, &scenario)
}

/// Of the job's own time, which begins when it says so.
fn judge(place: &Place, outcome: &Outcome, machine: &Machine, scenario: &Value) -> usize {
    assert_eq!(outcome.code(), Some(7), "{outcome:?}\n{scenario}");
    let read = |name: &str| fs_err::read_to_string(place.path(name)).unwrap();
    let time = |name: &str| read(name).trim().parse::<u64>().unwrap();
    let started = time("started").saturating_sub(time("began")).div_ceil(1000);
    let summary: Value = serde_json::from_str(&read("s.json")).unwrap();
    let ceiling = &summary["ceiling"];
    let flop = |value: &Value| value.as_str().map(|digits| digits.parse::<u128>().unwrap());
    let mut truths = 0;

    let mut bounded = 0;
    for (index, gpu) in machine.gpus.iter().enumerate() {
        let (id, truth) = (format!("GPU-{index}"), gpu.truth(started));
        let device = ceiling["devices"].as_array().unwrap().iter().find(|device| device["device"] == id.as_str());
        // A GPU that was not seen has no ceiling, and then the job has none.
        let told = device.and_then(|device| flop(&device["flop"]));
        if told.is_none() && gpu.is_gone_by(started + LISTED_BY_MS) {
            continue;
        }
        truths += truth;
        assert!(told.is_none_or(|told| told >= truth), "{id} did {truth} from {started} ms\n{device:#?}\n{scenario}");
        assert!(told.is_some() || ceiling["flop"].is_null(), "{id} is left out\n{ceiling:#}\n{scenario}");
        let mut layers = device.into_iter().flat_map(|device| device["layers"].as_array().unwrap());
        let cycles = layers.find(|layer| layer["layer"] == "L2x").and_then(|layer| flop(&layer["flop"]));
        let holds = !gpu.counts_right() || cycles.is_none_or(|told| told >= truth);
        assert!(holds, "{id} did {truth} from {started} ms, L2x is {cycles:?}\n{device:#?}\n{scenario}");
        bounded += usize::from(told.is_some());
    }
    assert!(flop(&ceiling["flop"]).is_none_or(|told| told >= truths), "{truths} in all\n{summary:#}\n{scenario}");
    bounded
}

/// It rested until the job began, in the middle of a sample of the driver's: that rest is not the job's.
#[test]
fn the_first_busy_share_reaches_back_before_the_job() {
    let place = Place::new();
    let gpu = json!({ "uuid": "GPU-aa", "sample_period_ms": 1000, "utilization": [[0, 0], [3500, 100]] });
    let library = library(&place, &json!({ "origin_file": "began", "devices": [gpu] }));
    place.write("began", (microseconds() - 3_450_000).to_string());
    let script = "date +%s%6N > started; sleep 3";
    let outcome = finish(with_library(&place, library, "--quiet --summary s.json", script));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    let gpu = summary["ceiling"]["devices"].as_array().unwrap().iter().find(|device| device["device"] == "GPU-aa");
    assert!(job::flop(&gpu.unwrap()["flop"]) >= 294 * H200_PEAK / 100, "{gpu:#?}");
}
