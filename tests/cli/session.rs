//! A process that has worked for some time before it starts its meter.

use serde_json::{Value, json};

use crate::gpu::{H200_PEAK, library};
use crate::job::flop;
use crate::place::{Place, finish, until};

/// The one run of the ledger, once its session has closed it: that ends a moment after the job.
fn closed_run(place: &Place) -> Value {
    let runs = || place.flopsmeter("runs list --json").json();
    until("the session's end", || {
        runs().as_array().is_some_and(|runs| runs.iter().any(|run| run["state"] == "closed"))
    });
    place.only_run()
}

#[test]
fn devices_are_held_from_the_beginning_of_a_process_that_starts_its_meter_later() {
    let place = Place::new();
    let gpu = json!({ "uuid": "GPU-aa", "utilization": [[0, 100]] });
    let library = library(&place, &json!({ "devices": [gpu] }));
    let meter = format!("{} session --parent $$ > socket", env!("CARGO_BIN_EXE_flopsmeter"));
    let mut job = place.within("sh", ["-c", &format!("sleep 3; {meter}; sleep 2")]);
    job.env("FLOPSMETER_NVML_LIBRARY", library);
    let outcome = finish(job);
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let run = closed_run(&place);
    let devices = run["ceiling"]["devices"].as_array().unwrap();
    let gpu = devices.iter().find(|device| device["device"] == "GPU-aa").unwrap();
    assert!(gpu["held_seconds"].as_f64().unwrap() >= 5.0, "{gpu:#}");
    assert!(flop(&gpu["flop"]) >= 5 * H200_PEAK, "{gpu:#}");
    let read = devices.iter().filter_map(|device| device["energy"]["coverage_seconds"].as_f64());
    let held = gpu["held_seconds"].as_f64().unwrap();
    assert!(read.fold(0.0, f64::max) <= held - 3.0, "energy is of the time that was read: {run:#}");
    for device in devices {
        let mut gaps = run["gaps"].as_array().unwrap().iter().filter(|gap| gap["device"] == device["device"]);
        let gap = gaps.find(|gap| gap["reason"].as_str().unwrap().starts_with("the job began before its meter"));
        assert!(gap.is_some_and(|gap| gap["duration_seconds"].as_f64().unwrap() >= 3.0), "{run:#}");
    }
    let mut findings = run["findings"].as_array().unwrap().iter();
    let found = findings.find(|finding| finding["code"] == "job-began-unmetered");
    let text = found.unwrap_or_else(|| panic!("{run:#}"))["text"].as_str().unwrap();
    assert!(text.contains("the ceiling charges them in full; start it with `flopsmeter run`"), "{text}");
    assert!(outcome.stderr.contains(" runs since 2"), "it is said when the meter starts: {outcome:?}");
    assert_eq!(run["ceiling"]["complete"], true);
}
