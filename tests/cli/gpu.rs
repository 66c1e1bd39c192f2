//! GPUs that fail, through a stand-in for the driver's library that a file scripts.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::job::flop;
use crate::place::{Place, Running, codes, finish, until};

/// Strict peak of an H200: 132 multiprocessors x 8192 FLOP per clock x 1980 MHz.
pub(crate) const H200_PEAK: u128 = 132 * 8192 * 1_980_000_000;

/// A copy of the stand-in, which plays `scenario`. Cargo builds it beside this test, as a dependency of it.
pub(crate) fn library(place: &Place, scenario: &Value) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().join("libnvidia_ml.so");
    let copy = place.path("libnvidia-ml.so");
    fs_err::copy(&built, &copy).unwrap();
    place.write_json("libnvidia-ml.so.json", scenario);
    copy
}

/// `flopsmeter run OPTIONS -- sh -c SCRIPT` on a machine with this driver library.
pub(crate) fn with_library(place: &Place, library: impl Into<PathBuf>, options: &str, script: &str) -> Command {
    let words = std::iter::once("run").chain(options.split_whitespace());
    let mut command = place.command(words.chain(["--", "sh", "-c", script]));
    command.env("FLOPSMETER_NVML_LIBRARY", library.into());
    command
}

#[test]
fn a_gpu_that_is_lost_half_way_is_charged_and_named_in_the_report() {
    let place = Place::new();
    // Busy all the time, and off the bus for a second and a half of it.
    let gpu = json!({ "uuid": "GPU-aa", "utilization": [[0, 100]], "lost": [1200, 2700] });
    let library = library(&place, &json!({ "devices": [gpu] }));
    let outcome = finish(with_library(&place, library, "--modification demo --summary s.json", "sleep 4; exit 4"));
    assert_eq!(outcome.code(), Some(4), "{outcome:?}");

    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    let gap = &summary["gaps"][0];
    assert_eq!(gap["device"], "GPU-aa", "{summary:#}");
    assert!(gap["reason"].as_str().unwrap().contains("fell off the bus"), "{gap}");
    assert!(flop(&gap["charged"]) > 0);
    let device = summary["ceiling"]["devices"].as_array().unwrap().iter().find(|device| device["device"] == "GPU-aa");
    // Four seconds at the peak are what it did at most and what it did: nothing less may be told.
    assert!(flop(&device.unwrap()["flop"]) >= 4 * H200_PEAK, "{device:?}");
    assert!(flop(&summary["ceiling"]["flop"]) >= 4 * H200_PEAK);
    assert!(outcome.stderr.contains("\n  gaps       "), "{}", outcome.stderr);

    place.flopsmeter("report threshold demo --format json,md --out out").data();
    let memo = fs_err::read_to_string(place.path("out/threshold.md")).unwrap();
    assert!(memo.contains("GPU-aa") && memo.contains("fell off the bus"), "{memo}");
    let document = fs_err::read_to_string(place.path("out/threshold.json")).unwrap();
    assert!(document.contains("fell off the bus"));
}

/// Nobody looked at the devices meanwhile, which the record has to say; what is charged for it stays as it would have been.
#[test]
fn a_wrapper_that_was_stopped_says_that_its_readings_came_late() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "utilization": [[0, 100]] }] }));
    let script = "echo ready > ready; while [ ! -e ended ]; do sleep 0.05; done; exit 4";
    let running = Running::start(with_library(&place, library, "--summary s.json", script));
    until("the job's start", || place.exists("ready"));
    kill(running.pid(), Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_millis(4500));
    kill(running.pid(), Signal::SIGCONT).unwrap();
    place.write("ended", "");
    let outcome = running.finish();
    assert_eq!(outcome.code(), Some(4), "{outcome:?}");

    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    let is_late = |gap: &&Value| gap["reason"].as_str().unwrap().starts_with("readings came late");
    let late: Vec<&Value> = summary["gaps"].as_array().unwrap().iter().filter(is_late).collect();
    let of_processors = late.iter().find(|gap| gap["device"].as_str().unwrap().starts_with("cpu:"));
    assert!(of_processors.is_some_and(|gap| gap["duration_seconds"].as_f64().unwrap() >= 4.0), "{summary:#}");
    let device = summary["ceiling"]["devices"].as_array().unwrap().iter().find(|device| device["device"] == "GPU-aa");
    assert!(flop(&device.unwrap()["flop"]) >= 4 * H200_PEAK, "{device:?}");
    assert!(outcome.stderr.contains("charged as fully busy where nothing tells of them"), "{}", outcome.stderr);
}

/// The ledger keeps dates in microseconds: a summary by finer ones would differ from every later reading of it.
#[test]
fn what_is_told_at_the_end_is_what_the_record_says_later() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "utilization": [[0, 50]] }] }));
    let outcome = finish(with_library(&place, library, "--quiet --summary s.json", "sleep 2"));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let told: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    let read = place.only_run();
    for part in ["started", "ended", "ceiling", "energy_joules", "gaps", "findings"] {
        assert_eq!(told[part], read[part], "{part}");
    }
}

#[test]
fn a_driver_that_hangs_does_not_hold_the_jobs_end_up() {
    let place = Place::new();
    let hang = json!({ "call": "nvmlDeviceGetPowerUsage", "from_ms": 300, "until_ms": 600_000 });
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "hangs": [hang] }] }));
    let script = "sleep 1.5; date +%s.%N > ended; exit 8";
    let outcome = finish(with_library(&place, library, "--summary s.json", script));
    let after = seconds_since(&place, "ended");
    assert_eq!(outcome.code(), Some(8));
    assert!(after < Duration::from_secs(8), "{after:?} between the job's end and the command's");
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    // The GPU was idle, but that was not to be seen: more than a second of it is charged.
    assert!(flop(&summary["ceiling"]["flop"]) >= H200_PEAK, "{summary:#}");
    assert_eq!(summary["gaps"][0]["device"], "GPU-aa");
}

#[test]
fn a_driver_that_hangs_while_it_is_asked_for_gpus_leaves_the_ceiling_missing() {
    let place = Place::new();
    let hang = json!({ "call": "nvmlDeviceGetName", "from_ms": 0, "until_ms": 600_000 });
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "hangs": [hang] }] }));
    let outcome = finish(with_library(&place, library, "--summary s.json", "date +%s.%N > ended; exit 8"));
    let after = seconds_since(&place, "ended");
    assert_eq!(outcome.code(), Some(8));
    assert!(after < Duration::from_secs(8), "{after:?} between the job's end and the command's");
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    assert_eq!((&summary["ceiling"]["flop"], codes(&summary)), (&Value::Null, vec!["gpus-unreadable"]));
}

/// Since the time that a job wrote into a file.
#[expect(clippy::disallowed_methods, reason = "compared with the job's own clock")]
fn seconds_since(place: &Place, name: &str) -> Duration {
    let at: f64 = fs_err::read_to_string(place.path(name)).unwrap().trim().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.saturating_sub(Duration::from_secs_f64(at))
}

/// The library is loaded in a process of its own: what ends that one is a gap, and nothing else.
#[test]
fn the_end_of_the_process_that_asks_the_driver_is_a_gap_and_nothing_else() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "utilization": [[0, 100]] }] }));
    let script = "sleep 1.5; for p in /proc/[0-9]*; do \
        if [ \"$(tr '\\0' ' ' < $p/cmdline)\" = '/proc/self/exe nvml-reader ' ] && grep -q \"^PPid:.$PPID$\" $p/status; then \
        echo ${p#/proc/} >> readers; kill -KILL ${p#/proc/}; fi; done 2> /dev/null; sleep 3.5; exit 3";
    let outcome = finish(with_library(&place, library, "--summary s.json", script));
    assert_eq!(outcome.code(), Some(3), "{outcome:?}");
    assert_eq!(fs_err::read_to_string(place.path("readers")).unwrap().lines().count(), 1);
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    let reasons: Vec<&str> =
        summary["gaps"].as_array().unwrap().iter().filter_map(|gap| gap["reason"].as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("process that asks the NVIDIA driver ended")), "{summary:#}");
    let gpu = &summary["ceiling"]["devices"].as_array().unwrap()[1];
    assert!(flop(&gpu["flop"]) >= 5 * H200_PEAK, "{gpu:#}");
    // Another one was started and read on: not all of the time after the crash is missing.
    let missing: f64 =
        summary["gaps"].as_array().unwrap().iter().filter_map(|gap| gap["duration_seconds"].as_f64()).sum();
    assert!(missing < 4.0, "{summary:#}");
    assert_eq!(summary["ceiling"]["complete"], true);
}

/// The process that asks the driver is a child of the wrapper as the job is, and must not be taken for a part of it.
#[test]
fn the_process_that_asks_the_driver_is_no_part_of_the_job() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let outcome = finish(with_library(&place, library, "--summary s.json", "sleep 1.2"));
    assert_eq!(outcome.code(), Some(0));
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    // Nothing of the job is left running, so that the ceiling covers all of it.
    assert_eq!(summary["ceiling"]["complete"], true, "{summary:#}");
}
