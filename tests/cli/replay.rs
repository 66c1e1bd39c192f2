//! Traces: what a driver said, recorded in one run and played in another.

use serde_json::{Value, json};

use crate::gpu::{library, with_library};
use crate::job::flop;
use crate::place::{Outcome, Place, codes, finish, repository};

fn summary(place: &Place, file: &str) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path(file)).unwrap()).unwrap()
}

fn gpu(summary: &Value) -> Value {
    let devices = summary["ceiling"]["devices"].as_array().unwrap();
    devices.iter().find(|device| device["device"] == "GPU-aa").unwrap_or_else(|| panic!("{summary:#}")).clone()
}

fn replay(place: &Place, file: &str, script: &str) -> Outcome {
    let device = format!("replay:{file}");
    finish(place.command(["run", "--device", &device, "--summary", "replayed.json", "--", "sh", "-c", script]))
}

#[test]
fn a_recorded_driver_is_played_without_one() {
    let place = Place::new();
    let device = json!({ "uuid": "GPU-aa", "utilization": [[0, 40]], "activity": { "hmma": [[0, 100]] } });
    let library = library(&place, &json!({ "devices": [device] }));
    let recorded = finish(with_library(&place, library, "--device record:t.jsonl --summary s.json", "sleep 3.2"));
    assert_eq!(recorded.code(), Some(0), "{recorded:?}");
    let head: Value =
        serde_json::from_str(fs_err::read_to_string(place.path("t.jsonl")).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!((&head["schema"], &head["origin"]), (&json!("flopsmeter.trace/1"), &json!("synthetic")));

    let played = replay(&place, "t.jsonl", "sleep 2.5");
    assert_eq!(played.code(), Some(0), "{played:?}");
    let played = summary(&place, "replayed.json");
    let device = gpu(&played);
    assert_eq!(device["layer"], gpu(&summary(&place, "s.json"))["layer"], "{played:#}");
    assert!(flop(&device["flop"]) < flop(&device["layers"][0]["flop"]), "what was recorded lowers the ceiling");
    assert!(codes(&played).contains(&"devices-replayed"), "{played:#}");
    assert_eq!(played["ceiling"]["complete"], false, "somebody else's readings are no proof");
}

#[test]
fn a_job_that_outlasts_its_trace_has_a_gap() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    finish(with_library(&place, library, "--device record:t.jsonl", "sleep 1.1"));
    assert_eq!(replay(&place, "t.jsonl", "sleep 4").code(), Some(0));
    let played = summary(&place, "replayed.json");
    assert!(played["gaps"][0]["reason"].as_str().unwrap().contains("ends before the job does"), "{played:#}");
}

#[test]
fn a_trace_that_cannot_be_played_costs_the_ceiling_and_not_the_job() {
    let place = Place::new();
    place.write_json("junk.jsonl", &json!({ "schema": "something else" }));
    for (file, said) in [("junk.jsonl", "line 1 of the trace is no head of a trace"), ("none.jsonl", "none.jsonl")] {
        assert_eq!(replay(&place, file, "exit 6").code(), Some(6));
        let played = summary(&place, "replayed.json");
        assert_eq!(played["ceiling"]["flop"], Value::Null, "{played:#}");
        assert!(played["findings"].to_string().contains(said), "{played:#}");
        let device = format!("replay:{file}");
        let strict = place.command(["run", "--require-meter", "--device", &device, "--", "true"]);
        assert_eq!(finish(strict).code(), Some(125));
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_told_and_costs_nothing() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let outcome = finish(with_library(&place, library, "--device record:no/such/t.jsonl --summary s.json", "exit 4"));
    assert_eq!(outcome.code(), Some(4));
    let recorded = summary(&place, "s.json");
    assert!(codes(&recorded).contains(&"trace-not-recorded"), "{recorded:#}");
    assert_eq!(gpu(&recorded)["device"], "GPU-aa");
}

#[test]
fn a_driver_that_dies_loses_nothing_of_its_trace_and_another_run_keeps_it() {
    let place = Place::new();
    let death = json!({ "call": "nvmlDeviceGetPowerUsage", "from_ms": 1500, "until_ms": 2200, "does": "abort" });
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "faults": [death] }] }));
    finish(with_library(&place, library.clone(), "--device record:t.jsonl --summary s.json", "sleep 6"));
    let text = fs_err::read_to_string(place.path("t.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at: Vec<u64> = lines.iter().filter_map(|line| line["at_milliseconds"].as_u64()).collect();
    assert_eq!(lines.iter().filter(|line| line["schema"].is_string()).count(), 1, "{text}");
    assert!(at.iter().any(|at| *at < 1400) && at.iter().any(|at| *at > 3000) && at.is_sorted(), "{at:?}");

    finish(with_library(&place, library, "--device record:t.jsonl --summary s.json", "sleep 0.2"));
    assert_eq!(fs_err::read_to_string(place.path("t.jsonl")).unwrap(), text);
    let again = summary(&place, "s.json");
    assert!(codes(&again).contains(&"trace-not-recorded"), "{again:#}");
    assert_eq!(gpu(&again)["device"], "GPU-aa");
}

/// Traces that come with the project say where their numbers are from, and play.
#[test]
fn the_projects_traces_play() {
    let folder = repository("tests/fixtures/traces");
    let mut played = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let head: Value = serde_json::from_str(fs_err::read_to_string(&path).unwrap().lines().next().unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(name.ends_with("-synthetic"), head["origin"] == "synthetic", "{name}");
        let place = Place::new();
        assert_eq!(replay(&place, path.to_str().unwrap(), "sleep 1.3").code(), Some(0));
        let summary = summary(&place, "replayed.json");
        let devices = summary["ceiling"]["devices"].as_array().unwrap();
        assert!(devices.len() > 1 && devices.iter().all(|device| flop(&device["flop"]) > 0), "{name}: {summary:#}");
        played += 1;
    }
    assert!(played >= 2, "{} has no traces", folder.display());
}
