//! `flopsmeter gpus` and `flopsmeter doctor`: what they print, whole, against the stand-in and without a driver.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::gpu::library;
use crate::place::{Outcome, Place, finish};

/// An H200, one that is cut, one of a kind that no table has, and one that nothing bounds.
fn machine() -> Value {
    json!({
        "driver_version": "580.159.03",
        "devices": [
            { "uuid": "GPU-11111111-2222-3333-4444-555555555555", "gpm": true },
            {
                "uuid": "GPU-22222222-2222-3333-4444-555555555555", "gpm": true,
                "mig": [{ "uuid": "MIG-33333333-2222-3333-4444-555555555555", "multiprocessors": 16 }]
            },
            {
                "uuid": "GPU-44444444-2222-3333-4444-555555555555", "name": "NVIDIA A100-SXM-64GB",
                "compute_capability": [8, 0], "cores": 7936, "max_sm_clock_mhz": 1395, "gpm": false, "pci_device_id": 0x20b3_10de,
                "not_supported": ["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetComputeRunningProcesses_v3"]
            },
            { "uuid": "GPU-66666666-2222-3333-4444-555555555555", "name": "NVIDIA X1", "compute_capability": [13, 0], "gpm": true,
              "pci_device_id": 0x3fff_10de }
        ]
    })
}

fn ask(place: &Place, scenario: Option<&Value>, environment: &[(&str, &str)], line: &str) -> Outcome {
    let missing: PathBuf = place.path("no-such-library.so");
    let library = scenario.map_or(missing, |scenario| library(place, scenario));
    let mut command = place.command(line.split_whitespace());
    command.env("FLOPSMETER_NVML_LIBRARY", library).envs(environment.iter().copied());
    finish(command)
}

#[test]
fn gpus_tells_of_each_what_bounds_it_and_what_can_be_measured() {
    let place = Place::new();
    let outcome = ask(&place, Some(&machine()), &[("CUDA_VISIBLE_DEVICES", "GPU-1111,MIG-3333")], "gpus");
    let expected = "\
GPUs            4, NVIDIA driver 580.159.03
job             2 devices, by this rule: CUDA_VISIBLE_DEVICES=GPU-1111,MIG-3333

GPU 0  NVIDIA H200  GPU-11111111-2222-3333-4444-555555555555
  job           claimed
  node          /dev/nvidia0, PCI 00000000:1B:00.0 (10de:2335)
  table         H200 SXM (by name and PCI id), compute capability 9.0
  strict peak   2.14e15 FLOP/s = 132 multiprocessors × 8192 FLOP per clock ×
                1980 MHz, dense
  nominal peak  9.89e14 FLOP/s, the data sheet's dense bf16 or fp16
  MIG           off
  measured      busy buffer, clock buffer, energy, power, pipe activity (GPM),
                processes
  not measured  cycle counters: only drivers from 595 on have them

GPU 1  NVIDIA H200  GPU-22222222-2222-3333-4444-555555555555
  job           not claimed
  node          /dev/nvidia1, PCI 00000000:1C:00.0 (10de:2335)
  table         H200 SXM (by name and PCI id), compute capability 9.0
  strict peak   2.14e15 FLOP/s = 132 multiprocessors × 8192 FLOP per clock ×
                1980 MHz, dense
  nominal peak  9.89e14 FLOP/s, the data sheet's dense bf16 or fp16
  MIG           on
                MIG-33333333-2222-3333-4444-555555555555: 16 multiprocessors,
                2.60e14 FLOP/s, claimed
                measured: energy of the whole GPU, power of the whole GPU,
                processes
                not measured: busy buffer: not supported on an instance; clock
                buffer: not supported on an instance; pipe activity (GPM): the
                driver counts for the whole GPU instance, of which this may be a
                part only; cycle counters: the driver counts for the whole GPU
                instance, of which this may be a part only
  measured      of the whole GPU: energy, power, pipe activity (GPM), processes
  not measured  busy buffer: not supported on this GPU
                clock buffer: not supported on this GPU
                cycle counters: only drivers from 595 on have them

GPU 2  NVIDIA A100-SXM-64GB  GPU-44444444-2222-3333-4444-555555555555
  job           not claimed
  node          /dev/nvidia2, PCI 00000000:1D:00.0 (10de:20b3)
  table         no row, so bounded by what the driver says of it; compute
                capability 8.0
  strict peak   3.54e14 FLOP/s = 124 multiprocessors × 2048 FLOP per clock ×
                1395 MHz, dense
  MIG           off
  measured      busy buffer, clock buffer, power
  not measured  energy: not supported on this GPU
                pipe activity (GPM): not supported on this GPU
                cycle counters: not supported on this GPU
                processes: not supported on this GPU

GPU 3  NVIDIA X1  GPU-66666666-2222-3333-4444-555555555555
  job           not claimed
  node          /dev/nvidia3, PCI 00000000:1E:00.0 (10de:3fff)
  table         no row, so bounded by what the driver says of it; compute
                capability 13.0
  strict peak   none: `NVIDIA X1` has compute capability 13.0, which no row of
                the GPU table has; add a row for it
  MIG           off
  measured      busy buffer, clock buffer, energy, power, pipe activity (GPM),
                processes
  not measured  cycle counters: only drivers from 595 on have them
";
    assert_eq!(outcome.data(), expected);
    assert!(outcome.data().lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn gpus_as_json_has_the_same_figures() {
    let place = Place::new();
    let told = ask(&place, Some(&machine()), &[], "gpus --json --gpus 0,9").json();
    assert_eq!(told["schema"], "flopsmeter.gpus/1");
    assert_eq!(told["job"]["rule"], "--gpus 0,9");
    assert_eq!(told["job"]["devices"], json!(["GPU-11111111-2222-3333-4444-555555555555", "gpu:9"]));
    assert_eq!(told["job"]["findings"][0]["code"], "gpu-unknown");
    let gpus = told["gpus"].as_array().unwrap();
    assert_eq!(gpus[0]["strict_peak"], (132_u128 * 8192 * 1_980_000_000).to_string());
    assert_eq!((&gpus[0]["table_row"], &gpus[0]["is_claimed"]), (&json!("H200 SXM"), &json!(true)));
    assert_eq!((&gpus[1]["is_cut"], &gpus[1]["instances"][0]["multiprocessors"]), (&json!(true), &json!(16)));
    assert_eq!((&gpus[2]["table_row"], &gpus[2]["nominal_peak"]), (&Value::Null, &Value::Null));
    assert_eq!(gpus[3]["strict_peak"], Value::Null);
    assert!(gpus[3]["unbounded_because"].as_str().unwrap().contains("13.0"));
    let energy = gpus[2]["measurable"].as_array().unwrap().iter().find(|it| it["what"] == "energy").unwrap();
    assert_eq!(energy["why_not"], "not supported on this GPU");
    let of_instance = gpus[1]["instances"][0]["measurable"].as_array().unwrap();
    let gpm = of_instance.iter().find(|it| it["what"] == "pipe activity (GPM)").unwrap();
    assert!(gpm["why_not"].as_str().unwrap().contains("the whole GPU instance"), "{gpm:#}");
}

/// Support and a first snapshot are no counters: these are asked for as in a run.
#[test]
fn counters_that_the_driver_does_not_tell_are_not_measured() {
    let place = Place::new();
    let silent = json!({ "call": "nvmlGpmMetricsGet", "does": { "code": 999 } });
    for (version, faults, expected) in [
        ("595.10", json!([]), [Value::Null, Value::Null]),
        ("580.10", json!([]), [Value::Null, json!("only drivers from 595 on have them")]),
        (
            "595.10",
            json!([silent]),
            [json!("the driver told nothing within 1 s"), json!("the driver told none, or has counted nothing yet")],
        ),
    ] {
        let busy = json!({ "sm": [[0, 1]] });
        let device = json!({ "uuid": "GPU-aa", "gpm": true, "activity": busy });
        let scenario = json!({ "driver_version": version, "devices": [device], "faults": faults });
        let told = ask(&place, Some(&scenario), &[], "gpus --json").json();
        let why_not = |what: &str| {
            let measurable = told["gpus"][0]["measurable"].as_array().unwrap();
            measurable.iter().find(|it| it["what"] == what).unwrap()["why_not"].clone()
        };
        assert_eq!([why_not("pipe activity (GPM)"), why_not("cycle counters")], expected, "{version}");
    }
}

/// Told as an H20 by its name and as an H200 by its PCI id: whichever is true, the bound holds.
#[test]
fn a_name_that_its_pci_id_contradicts_is_told_and_bounded_by_the_higher() {
    let place = Place::new();
    let h20 = json!({ "name": "NVIDIA H20", "cores": 9984, "uuid": "GPU-aa", "pci_device_id": 0x2335_10de });
    let strange = json!({ "uuid": "GPU-bb", "pci_device_id": 0x3fff_10de });
    let scenario = json!({ "devices": [h20, strange] });
    let told = ask(&place, Some(&scenario), &[], "gpus --json").json();
    let [h20, strange] = &told["gpus"].as_array().unwrap()[..] else { panic!("{told:#}") };
    assert_eq!(h20["strict_peak"], (132_u128 * 8192 * 1_980_000_000).to_string());
    assert_eq!((&h20["table_row"], &h20["pci_device_id"]), (&json!("H20"), &json!("10de:2335")));
    assert_eq!(h20["table_match"], "by name; PCI id 10de:2335 is of `H200 SXM`");
    assert!(h20["assumptions"][0].as_str().unwrap().contains("the higher bound is taken"), "{h20:#}");
    assert_eq!(strange["table_match"], "by name; PCI id 10de:3fff is of no row");
    let words = ask(&place, Some(&scenario), &[], "gpus");
    assert!(words.data().contains("  table         H20 (by name; PCI id 10de:2335 is of `H200 SXM`),"), "{words:?}");
    let (state, text) = state_of(&ask(&place, Some(&scenario), &[], "doctor --json --python no-such-python"), "GPU");
    assert_eq!(state, "warning");
    assert!(text.contains("`NVIDIA H20` is taken for row `H20`") && text.contains("10de:2335"), "{text}");
}

#[test]
fn a_driver_that_crashes_while_it_is_tried_leaves_the_list() {
    let place = Place::new();
    let crash = json!({ "call": "nvmlDeviceGetPowerUsage", "does": "segfault" });
    let scenario = json!({ "devices": [{ "uuid": "GPU-aa", "faults": [crash] }] });
    let told = ask(&place, Some(&scenario), &[], "gpus --json").json();
    assert_eq!(told["gpus"][0]["uuid"], "GPU-aa");
    assert!(told["gpus"][0]["probe_problem"].as_str().unwrap().contains("ended"), "{told:#}");
}

#[test]
fn without_a_driver_gpus_says_so() {
    let place = Place::new();
    let outcome = ask(&place, None, &[], "gpus");
    assert!(outcome.data().starts_with("GPUs            none can be read on this machine:"), "{outcome:?}");
    assert!(outcome.data().ends_with("next            `flopsmeter doctor` tells whether that is as it should be\n"));
    let told = ask(&place, None, &[], "gpus --json").json();
    assert_eq!(told["gpus"], json!([]));
    assert!(told["driver_problem"].as_str().unwrap().contains("no-such-library.so"));
}

fn checks(outcome: &Outcome) -> Vec<(String, String, String)> {
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = told["checks"].as_array().unwrap().iter();
    checks.map(|check| (text(check, "what"), text(check, "state"), text(check, "text"))).collect()
}

fn state_of(outcome: &Outcome, what: &str) -> (String, String) {
    let found = checks(outcome).into_iter().find(|check| check.0 == what);
    let (_, state, text) = found.unwrap_or_else(|| panic!("no check of {what} in {outcome:?}"));
    (state, text)
}

#[test]
fn a_doctor_finds_a_sound_machine_sound() {
    let place = Place::new();
    let scenario = json!({ "driver_version": "595.10", "devices": [{ "uuid": "GPU-aa" }] });
    let outcome = ask(&place, Some(&scenario), &[], "doctor --python no-such-python");
    let text = outcome.data();
    assert!(text.starts_with("ok       driver      NVIDIA driver 595.10 lists 1 GPU, through\n"), "{text}");
    assert!(text.contains("\nok       ledger      "), "{text}");
    assert!(text.contains("\nwarning  Python      no-such-python cannot be started"), "{text}");
    assert!(text.ends_with("\n\njobs can be metered, with 1 warning\n"), "{text}");
    assert!(!place.ledger().exists(), "nothing is made by looking");
    assert_eq!(fs_err::read_dir(place.path("state")).unwrap().count(), 0);
    assert_eq!(fs_err::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_doctor_names_what_is_broken_and_what_to_do() {
    let place = Place::new();
    let outcome = ask(&place, Some(&machine()), &[], "doctor --json --ledger /proc/no/ledger.sqlite");
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(1), ""));
    assert_eq!(state_of(&outcome, "ledger").0, "broken");
    let gpus: Vec<String> =
        checks(&outcome).into_iter().filter(|it| it.0 == "GPU").map(|it| it.1 + ": " + &it.2).collect();
    assert_eq!(
        gpus,
        [
            "warning: GPU 1 lacks: busy buffer (not supported on this GPU)",
            "warning: GPU 2: `NVIDIA A100-SXM-64GB` is not in the GPU table: its ceiling is higher than it need be",
            "warning: GPU 2 lacks: energy (not supported on this GPU), processes (not supported on this GPU)",
            "broken: GPU 3: `NVIDIA X1` has compute capability 13.0, which no row of the GPU table has; add a row for it",
        ]
    );
    let missing = ask(&place, None, &[], "doctor --json");
    assert_eq!(missing.code(), Some(1));
    assert_eq!(state_of(&missing, "driver").0, "broken", "a library is named and cannot be loaded");
}
