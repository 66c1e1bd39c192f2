//! A driver that fails in each of the ways that it can: the job goes on, and the ceiling is never below what was scripted.

use serde_json::{Value, json};

use crate::gpu::{library, with_library};
use crate::job::flop;
use crate::place::{Outcome, Place, finish};

/// Strict peak of an H200: 132 multiprocessors x 8192 FLOP per clock x 1980 MHz.
const H200_PEAK: u128 = 132 * 8192 * 1_980_000_000;

/// Calls that no GPU, driver or user need support.
const OPTIONAL: [&str; 22] = [
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMinorNumber",
    "nvmlDeviceGetName",
    "nvmlDeviceGetNumGpuCores",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetSamples",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetUtilizationRates",
    "nvmlGpmMigSampleGet",
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleGet",
];

struct Played {
    outcome: Outcome,
    summary: Value,
}

impl Played {
    /// `sh -c SCRIPT` on a machine with these GPUs, whose scenario begins before the job does.
    fn new(devices: &Value, script: &str) -> Self {
        let place = Place::new();
        let scenario = json!({ "driver_version": "595.45.04", "origin_file": "began", "devices": devices });
        let script = format!("while [ ! -s began ]; do sleep 0.02; done; {script}");
        let outcome = finish(with_library(&place, library(&place, &scenario), "--quiet --summary s.json", &script));
        let summary = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
        Self { outcome, summary }
    }

    fn device(&self, id: &str) -> Option<&Value> {
        self.summary["ceiling"]["devices"].as_array().unwrap().iter().find(|device| device["device"] == id)
    }

    /// The text of the one finding with this code.
    fn finding(&self, code: &str) -> &str {
        let findings = self.summary["findings"].as_array().unwrap().iter();
        let found: Vec<&Value> = findings.filter(|finding| finding["code"] == code).collect();
        let [finding] = found.as_slice() else { panic!("{code}: {found:?} in {:#}", self.summary) };
        finding["text"].as_str().unwrap()
    }

    fn gaps(&self, id: &str) -> Vec<&str> {
        let gaps = self.summary["gaps"].as_array().unwrap().iter().filter(|gap| gap["device"] == id);
        gaps.filter_map(|gap| gap["reason"].as_str()).collect()
    }
}

/// Busy at the peak for two seconds.
fn busy(uuid: &str, more: &Value) -> Value {
    let pulse = |value: u64| json!([[0, value], [2000, 0]]);
    let mut gpu = json!({ "uuid": uuid, "utilization": pulse(100), "activity": { "hmma": pulse(1000) } });
    gpu.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gpu
}

#[test]
fn each_optional_call_may_be_missing_alone() {
    let without = |call: &&str| busy(call, &json!({ "not_supported": [call] }));
    let devices: Vec<Value> = OPTIONAL.iter().map(without).collect();
    let played = Played::new(&devices.into(), "sleep 2.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    for call in OPTIONAL {
        let device = played.device(call).unwrap_or_else(|| panic!("without {call}: {:#}", played.summary));
        assert!(flop(&device["flop"]) >= 2 * H200_PEAK, "without {call}: {device:#}");
        assert_eq!(played.gaps(call), Vec::<&str>::new(), "without {call}");
    }
}

#[test]
fn an_abort_inside_the_driver_is_a_gap_and_nothing_else() {
    dies_inside_the_driver("abort");
}

#[test]
fn a_segmentation_fault_inside_the_driver_is_a_gap_and_nothing_else() {
    dies_inside_the_driver("segfault");
}

fn dies_inside_the_driver(does: &str) {
    let death = json!({ "call": "nvmlDeviceGetPowerUsage", "from_ms": 500, "until_ms": 1200, "does": does });
    let devices = json!([busy("GPU-aa", &json!({ "faults": [death], "power_milliwatts": [[0, 300_000]] }))]);
    let played = Played::new(&devices, "sleep 6; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    let device = played.device("GPU-aa").unwrap();
    assert!(flop(&device["flop"]) >= 2 * H200_PEAK, "{device:#}");
    // Read on after the death: it was seen to be idle for a part of the four seconds in which it was.
    assert!(flop(&device["flop"]) < flop(&device["layers"][0]["flop"]), "{device:#}");
    assert!(!played.gaps("GPU-aa").is_empty(), "{:#}", played.summary);
    // The counter went on while nobody read it: six seconds at 300 W, less the time before the first reading.
    let joules = device["energy_joules"].as_f64().unwrap();
    assert!(joules >= 1200.0, "{joules} J");
}

#[test]
fn a_gpu_that_vanishes_is_charged_until_the_end() {
    let devices = json!([busy("GPU-aa", &json!({ "present": [0, 700] })), busy("GPU-bb", &json!({}))]);
    let played = Played::new(&devices, "sleep 2.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    for id in ["GPU-aa", "GPU-bb"] {
        assert!(flop(&played.device(id).unwrap()["flop"]) >= 2 * H200_PEAK, "{id}: {:#}", played.summary);
    }
    assert!(!played.gaps("GPU-aa").is_empty());
    assert!(played.gaps("GPU-bb").is_empty());
    let said = played.finding("gpu-vanished");
    assert!(said.contains("GPU-aa vanished from the driver's list") && said.contains("charged in full"), "{said}");
    // Nothing is known of it from 0.7 s on: all of the run's time is charged.
    let device = played.device("GPU-aa").unwrap();
    assert!(flop(&device["flop"]) >= 23 * H200_PEAK / 10, "{device:#}");
    assert_eq!(played.summary["ceiling"]["complete"], true);
}

/// In the first place of the driver's order, busy from the scenario's start on.
#[test]
fn a_gpu_that_appears_later_is_claimed_from_the_jobs_start_on() {
    let devices = json!([busy("GPU-aa", &json!({ "present": [800, 60_000] })), busy("GPU-bb", &json!({}))]);
    let played = Played::new(&devices, "sleep 3.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    for id in ["GPU-aa", "GPU-bb"] {
        let device = played.device(id).unwrap_or_else(|| panic!("no {id} in {:#}", played.summary));
        assert!(flop(&device["flop"]) >= 2 * H200_PEAK, "{device:#}");
        assert!(device["held_seconds"].as_f64().unwrap() >= 3.5, "{device:#}");
    }
    let said = played.finding("gpu-claimed-later");
    assert!(said.contains("GPU-aa") && said.contains("from the job's start on"), "{said}");
    assert_eq!(played.summary["ceiling"]["complete"], true);
}

/// One goes when the other comes, so that their number stays: both are the job's.
#[test]
fn a_gpu_in_the_place_of_another_is_claimed_at_the_jobs_end_at_the_latest() {
    let devices = json!([
        busy("GPU-aa", &json!({ "present": [0, 900] })),
        busy("GPU-bb", &json!({ "present": [900, 60_000] })),
        busy("GPU-cc", &json!({})),
    ]);
    let played = Played::new(&devices, "sleep 2.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    for id in ["GPU-aa", "GPU-bb", "GPU-cc"] {
        let device = played.device(id).unwrap_or_else(|| panic!("no {id} in {:#}", played.summary));
        assert!(flop(&device["flop"]) >= 2 * H200_PEAK, "{device:#}");
    }
    assert!(played.finding("gpu-claimed-later").contains("GPU-bb"));
    assert!(played.finding("gpu-vanished").contains("GPU-aa"));
}

#[test]
fn the_first_gpu_of_a_machine_may_come_while_the_job_runs() {
    let played = Played::new(&json!([busy("GPU-aa", &json!({ "present": [800, 60_000] }))]), "sleep 2.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    let device = played.device("GPU-aa").unwrap_or_else(|| panic!("{:#}", played.summary));
    assert!(flop(&device["flop"]) >= 2 * H200_PEAK, "{device:#}");
    assert!(played.finding("gpu-claimed-later").contains("GPU-aa"));
}

/// Off the bus when the GPUs are listed for the first time, and back later: it may have been the job's all the time.
#[test]
fn a_gpu_that_is_lost_when_they_are_listed_makes_the_ceiling_missing_and_hides_no_other() {
    let lost = busy("GPU-aa", &json!({ "lost": [0, 1200] }));
    let played = Played::new(&json!([lost, busy("GPU-bb", &json!({}))]), "sleep 2.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    assert!(flop(&played.device("GPU-bb").unwrap()["flop"]) >= 2 * H200_PEAK, "{:#}", played.summary);
    assert_eq!(played.summary["ceiling"]["flop"], Value::Null, "{:#}", played.summary);
    assert!(played.device("gpu:0").is_some(), "{:#}", played.summary);
}

/// It cannot even be identified: what it did is not bounded, and nothing may be called complete.
#[test]
fn a_gpu_that_appears_and_cannot_be_told_makes_the_ceiling_missing() {
    let nameless = json!({ "call": "nvmlDeviceGetUUID", "does": { "code": 999 } });
    let appearing = busy("GPU-aa", &json!({ "present": [800, 60_000], "faults": [nameless] }));
    let played = Played::new(&json!([busy("GPU-bb", &json!({})), appearing]), "sleep 2.5; exit 5");
    assert_eq!(played.outcome.code(), Some(5), "{:?}", played.outcome);
    let ceiling = &played.summary["ceiling"];
    assert_eq!((&ceiling["complete"], &ceiling["flop"]), (&json!(false), &Value::Null), "{:#}", played.summary);
    let unlisted = played.device("gpu:unlisted").unwrap_or_else(|| panic!("{:#}", played.summary));
    assert!(unlisted.to_string().contains("a GPU may have come"), "{unlisted:#}");
}
