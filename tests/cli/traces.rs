//! Random GPUs, through the real driver interface and the whole command: the ceiling is never below what was scripted.
//!
//! Runs take as long as their scenarios, so that several play at once, with eight GPUs each. A failure prints its scenario.

use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::daemon::{Daemon, finding};
use crate::gpu::{library, with_library};
use crate::place::{Outcome, Place, finish};

const RUNS: usize = 6;
const GPUS: usize = 8;
/// Nothing is done after this time of a scenario.
const WORK_ENDS_MS: u64 = 5000;
const MULTIPROCESSORS: u128 = 132;
/// An H200's fastest format (FP8, dense), and FP32 outside tensor pipes.
const TENSOR_FLOP_PER_CLOCK: u128 = 8192;
const VECTOR_FLOP_PER_CLOCK: u128 = 256;
const MAX_CLOCK_MHZ: u64 = 1980;

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
    clock_mhz: u64,
}

prop_compose! {
    /// Tensor and vector pipes are active while kernels run, one after the other. Often the tensor pipes are active for as
    /// long as kernels run, at the highest clock: then the truth is as near to what the driver says as it can be.
    fn stretch()(
        milliseconds in prop_oneof![1_u64..900, 1000..=WORK_ENDS_MS],
        busy in prop_oneof![Just(0), Just(100), 1_u64..100, 80_u64..100],
        tensor_share in prop_oneof![2 => Just(100), 1 => 0_u64..100],
        vector_share in 0_u64..=100,
        clock_mhz in prop_oneof![2 => Just(MAX_CLOCK_MHZ), 1 => 345..MAX_CLOCK_MHZ],
    ) -> Stretch {
        let tensor = busy * tensor_share / 10;
        let vector = (busy * 10 - tensor) * vector_share / 100;
        Stretch { milliseconds, busy, tensor, vector, clock_mhz }
    }
}

/// What the driver says of it, or fails to say.
fn fault() -> impl Strategy<Value = Value> {
    let time = 0..WORK_ENDS_MS;
    let stretch = (time.clone(), 1_u64..2000).prop_map(|(from, length)| (from, from + length));
    let repeated = || prop::sample::select(REPEATED.to_vec());
    prop_oneof![
        3 => Just(json!({})),
        1 => stretch.clone().prop_map(|lost| json!({ "lost": lost })),
        1 => (1000..WORK_ENDS_MS).prop_map(|until| json!({ "present": [0, until] })),
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
    scripted: Value,
    truth: u128,
}

fn gpu() -> impl Strategy<Value = Gpu> {
    (vec(stretch(), 1..12), fault()).prop_map(|(stretches, fault)| {
        let mut at = 0;
        let mut truth = 0;
        let mut script = json!({ "utilization": [], "sm_clock_mhz": [], "hmma": [], "fp32": [] });
        for stretch in &stretches {
            let length = stretch.milliseconds.min(WORK_ENDS_MS - at);
            if length == 0 {
                break;
            }
            let steps = [("utilization", stretch.busy), ("sm_clock_mhz", stretch.clock_mhz)];
            for (name, value) in steps.into_iter().chain([("hmma", stretch.tensor), ("fp32", stretch.vector)]) {
                script[name].as_array_mut().unwrap().push(json!([at, value]));
            }
            truth += work(stretch, length);
            at += length;
        }
        Gpu { scripted: scripted(&script, at, &fault), truth }
    })
}

/// Idle from the end of the list on.
fn scripted(script: &Value, end: u64, fault: &Value) -> Value {
    let closed = |name: &str, value: u64| {
        let mut steps = script[name].as_array().unwrap().clone();
        steps.push(json!([end, value]));
        steps
    };
    let gpu = json!({
        "max_sm_clock_mhz": MAX_CLOCK_MHZ, "sm_clock_mhz": closed("sm_clock_mhz", 345), "power_milliwatts": [[0, 400_000]],
        "utilization": closed("utilization", 0), "activity": { "hmma": closed("hmma", 0), "fp32": closed("fp32", 0) },
    });
    joined(gpu, fault)
}

/// Operations of a stretch. Per mille of megahertz times milliseconds are cycles.
fn work(stretch: &Stretch, milliseconds: u64) -> u128 {
    let cycles = |permille: u64| u128::from(permille) * u128::from(stretch.clock_mhz) * u128::from(milliseconds);
    MULTIPROCESSORS * (cycles(stretch.tensor) * TENSOR_FLOP_PER_CLOCK + cycles(stretch.vector) * VECTOR_FLOP_PER_CLOCK)
}

/// Two scenarios have the cycle counters of newer drivers to each one that has not.
fn machine() -> impl Strategy<Value = (&'static str, Vec<Gpu>)> {
    (prop::sample::select(vec!["580.159.03", "595.45.04", "610.43.02"]), vec(gpu(), GPUS))
}

#[test]
fn the_ceiling_of_random_gpus_is_never_below_what_they_did() {
    play_all(RUNS, &play);
}

#[test]
fn nor_is_it_where_a_daemon_reads_them() {
    play_all(RUNS / 2, &play_with_daemon);
}

fn play_all(runs: usize, play: &(impl Fn(&str, &[Gpu]) -> usize + Sync)) {
    let mut runner = TestRunner::default();
    let machines: Vec<_> = (0..runs).map(|_| machine().new_tree(&mut runner).unwrap().current()).collect();
    let bounded: usize = thread::scope(|scope| {
        let plays: Vec<_> = machines.iter().map(|(driver, gpus)| scope.spawn(|| play(driver, gpus))).collect();
        plays.into_iter().map(|play| play.join().unwrap()).sum()
    });
    // Were all of them missing, nothing would have been shown.
    assert!(bounded > runs * GPUS / 2, "{bounded} GPUs have a ceiling");
}

fn scenario(driver: &str, gpus: &[Gpu]) -> Value {
    let named = |(index, gpu): (usize, &Gpu)| joined(gpu.scripted.clone(), &json!({ "uuid": format!("GPU-{index}") }));
    let devices: Vec<Value> = gpus.iter().enumerate().map(named).collect();
    json!({ "driver_version": driver, "origin_file": "began", "devices": devices })
}

/// The daemon has loaded the driver long before, and the scenario begins with the job.
fn play_with_daemon(driver: &str, gpus: &[Gpu]) -> usize {
    let scenario = scenario(driver, gpus);
    let place = Place::new();
    let library = library(&place, &scenario);
    place.write("began", "9000000000000000");
    let daemon = Daemon::start(&place, &library, &[]);
    let script = "date +%s%6N > now; mv now began; sleep 5.3; exit 7";
    let outcome = finish(finding(with_library(&place, library, "--quiet --summary s.json", script), &place));
    let bounded = judge(&place, &outcome, gpus, &scenario);
    daemon.terminate();
    bounded
}

/// How many of the GPUs have a ceiling at all; none is too low.
fn play(driver: &str, gpus: &[Gpu]) -> usize {
    let scenario = scenario(driver, gpus);
    let place = Place::new();
    // The job outlasts the work, however late the driver was loaded.
    let script = "while [ ! -s began ]; do sleep 0.02; done; sleep 5.3; exit 7";
    let outcome = finish(with_library(&place, library(&place, &scenario), "--quiet --summary s.json", script));
    judge(&place, &outcome, gpus, &scenario)
}

fn judge(place: &Place, outcome: &Outcome, gpus: &[Gpu], scenario: &Value) -> usize {
    assert_eq!(outcome.code(), Some(7), "{outcome:?}\n{scenario}");
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    let ceiling = &summary["ceiling"];
    let flop = |value: &Value| value.as_str().map(|digits| digits.parse::<u128>().unwrap());
    let truth: u128 = gpus.iter().map(|gpu| gpu.truth).sum();
    assert!(flop(&ceiling["flop"]).is_none_or(|told| told >= truth), "{truth} in all\n{ceiling:#}\n{scenario}");

    let mut bounded = 0;
    for (index, gpu) in gpus.iter().enumerate() {
        let id = format!("GPU-{index}");
        let device = ceiling["devices"].as_array().unwrap().iter().find(|device| device["device"] == id.as_str());
        // A GPU that was not seen has no ceiling, and then the job has none.
        let told = device.and_then(|device| flop(&device["flop"]));
        assert!(told.is_none_or(|told| told >= gpu.truth), "{id} did {}\n{device:#?}\n{scenario}", gpu.truth);
        assert!(told.is_some() || ceiling["flop"].is_null(), "{id} is left out\n{ceiling:#}\n{scenario}");
        bounded += usize::from(told.is_some());
    }
    bounded
}
