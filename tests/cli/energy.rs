//! Energy of a run, through a stand-in for the driver's library whose counters are right, missing or lie.

use serde_json::{Value, json};

use crate::gpu::{library, with_library};
use crate::place::{Outcome, Place, Running, codes, finish};

/// What the board draws, in watts.
const WATTS: f64 = 400.0;
/// The counter is renewed ten times a second, and readings are a moment late.
const SLACK_SECONDS: f64 = 0.3;

struct Metered {
    place: Place,
    outcome: Outcome,
    summary: Value,
}

/// A job of this length on a machine with these boards.
fn metered(devices: &Value, options: &str, seconds: f64) -> Metered {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": devices }));
    let options = format!("--modification demo --summary s.json {options}");
    let outcome = finish(with_library(&place, library, &options, &format!("sleep {seconds}")));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let summary = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
    Metered { place, outcome, summary }
}

/// A board that draws the same power throughout.
fn board(more: &Value) -> Value {
    let mut board = json!({ "uuid": "GPU-aa", "power_milliwatts": [[0, 400_000]] });
    board.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([board])
}

impl Metered {
    fn device(&self, id: &str) -> &Value {
        self.summary["ceiling"]["devices"].as_array().unwrap().iter().find(|device| device["device"] == id).unwrap()
    }

    fn energy_findings(&self) -> Vec<&str> {
        codes(&self.summary).into_iter().filter(|code| code.starts_with("energy-")).collect()
    }

    /// The board's energy is what it drew over the time that is said to be covered.
    fn is_right(&self, id: &str) {
        let energy = &self.device(id)["energy"];
        let (joules, covered) = (energy["joules"].as_f64().unwrap(), energy["coverage_seconds"].as_f64().unwrap());
        assert!(covered > 1.0, "{energy:#}");
        assert!((joules - WATTS * covered).abs() <= WATTS * SLACK_SECONDS, "{energy:#}");
        assert!(covered <= self.device(id)["held_seconds"].as_f64().unwrap() + 0.001, "{:#}", self.device(id));
        assert_eq!(self.device(id)["energy_joules"], energy["joules"]);
    }
}

#[test]
fn a_right_counter_is_told_and_filed_in_megawatt_hours() {
    let metered = metered(&board(&json!({})), "", 2.5);
    let energy = &metered.device("GPU-aa")["energy"];
    assert_eq!((&energy["source"], &energy["boundary"]), (&json!("counter"), &json!("gpu-board")));
    metered.is_right("GPU-aa");
    assert_eq!(metered.summary["energy_joules"], energy["joules"]);
    assert_eq!(metered.energy_findings(), Vec::<&str>::new());

    let joules = format!("{:.3} J", energy["joules"].as_f64().unwrap());
    let shown = metered.place.flopsmeter(&format!("runs show {}", metered.summary["run"].as_str().unwrap()));
    for said in [&*metered.outcome.stderr, shown.data()] {
        assert!(said.contains(&format!("energy     {joules}: GPU boards, with all processes on them\n")), "{said}");
        assert!(said.contains("not in it: the rest of the node"), "{said}");
    }

    metered.place.flopsmeter("report threshold demo --format md --out out").data();
    let memo = fs_err::read_to_string(metered.place.path("out/threshold.md")).unwrap();
    let row = memo.lines().find(|line| line.starts_with("| Energy of the GPU boards")).unwrap();
    assert!(row.contains(&format!("⁻⁷ MWh ({joules})")), "{row}");
    assert!(memo.contains("fans, network, storage"), "{memo}");
}

#[test]
fn a_missing_counter_leaves_power_times_time() {
    let metered = metered(&board(&json!({ "not_supported": ["nvmlDeviceGetTotalEnergyConsumption"] })), "", 2.5);
    let energy = &metered.device("GPU-aa")["energy"];
    assert_eq!((&energy["source"], &energy["counter_joules"]), (&json!("power-integral"), &Value::Null));
    metered.is_right("GPU-aa");
    assert_eq!(metered.energy_findings(), Vec::<&str>::new());
    assert!(metered.outcome.stderr.contains("(power × time, "), "{}", metered.outcome.stderr);
}

#[test]
fn neither_counter_nor_power_is_no_zero() {
    let calls = ["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"];
    let metered = metered(&board(&json!({ "not_supported": calls })), "", 1.5);
    assert_eq!((&metered.summary["energy_joules"], &metered.device("GPU-aa")["energy"]), (&Value::Null, &Value::Null));
    assert!(metered.outcome.stderr.contains("energy     unknown for the GPU boards"), "{}", metered.outcome.stderr);
    metered.place.flopsmeter("report threshold demo --format md --out out").data();
    let memo = fs_err::read_to_string(metered.place.path("out/threshold.md")).unwrap();
    let row = memo.lines().find(|line| line.starts_with("| Energy of the GPU boards")).unwrap();
    assert!(row.contains("| missing |"), "{row}");
}

#[test]
fn a_counter_that_stands_still_is_named_and_not_told() {
    // Modulo one it is always zero.
    let metered = metered(&board(&json!({ "energy_counter": { "wraps_at": 1 } })), "", 4.5);
    let energy = &metered.device("GPU-aa")["energy"];
    assert_eq!((&energy["source"], energy["counter_joules"].as_f64()), (&json!("power-integral"), Some(0.0)));
    metered.is_right("GPU-aa");
    assert_eq!(metered.energy_findings(), ["energy-counter-still"]);
    assert!(metered.outcome.stderr.contains("NVIDIA H200 (GPU-aa): the energy counter stood still for"));
}

#[test]
fn a_counter_that_falls_is_named() {
    // It starts again in the middle: what it counted between two readings is lost, much of so short a run.
    let restarts = board(&json!({ "energy_counter": { "starts_at": 1_000_000_000, "restarts_ms": 2200 } }));
    let metered = metered(&restarts, "", 4.5);
    assert_eq!(metered.device("GPU-aa")["energy"]["source"], "power-integral");
    metered.is_right("GPU-aa");
    assert_eq!(metered.energy_findings(), ["energy-counter-fell"]);
}

#[test]
fn two_slices_of_one_board_are_its_energy_once() {
    let instances = json!([{ "uuid": "MIG-1", "multiprocessors": 60 }, { "uuid": "MIG-2", "multiprocessors": 60 }]);
    let metered = metered(&board(&json!({ "mig": instances })), "--gpus MIG-1,MIG-2", 2.5);
    for slice in ["MIG-1", "MIG-2"] {
        let energy = &metered.device(slice)["energy"];
        assert_eq!((&energy["boundary"], &energy["board"]), (&json!("parent-board"), &json!("GPU-aa")), "{energy:#}");
        metered.is_right(slice);
    }
    let sum = metered.summary["energy_joules"].as_f64().unwrap();
    let one = ["MIG-1", "MIG-2"].map(|slice| metered.device(slice)["energy_joules"].as_f64().unwrap());
    assert!(one.contains(&sum), "{sum} of {one:?}");
    assert_eq!(metered.outcome.stderr.matches("the whole board GPU-aa").count(), 1, "{}", metered.outcome.stderr);
}

#[test]
fn a_run_that_goes_on_tells_the_energy_of_each_of_its_segments() {
    let instances = json!([{ "uuid": "MIG-1", "multiprocessors": 60 }]);
    let Metered { place, summary, .. } = metered(&board(&json!({ "mig": instances })), "--gpus MIG-1", 1.5);
    let options = format!("--resume {} --gpus MIG-1", summary["run"].as_str().unwrap());
    let outcome = finish(with_library(&place, place.path("libnvidia-ml.so"), &options, "sleep 1.5"));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");

    let run = place.only_run();
    let devices = run["ceiling"]["devices"].as_array().unwrap();
    let of_slice = devices.iter().filter(|device| device["device"] == "MIG-1");
    let parts: Vec<f64> = of_slice.map(|device| device["energy_joules"].as_f64().unwrap()).collect();
    assert_eq!((parts.len(), run["energy_joules"].as_f64()), (2, Some(parts[0] + parts[1])));
    place.flopsmeter("report threshold demo --format md --out out").data();
    let memo = fs_err::read_to_string(place.path("out/threshold.md")).unwrap();
    for joules in parts {
        assert!(outcome.stderr.contains(&format!("the whole board GPU-aa: {joules:.3} J (")), "{}", outcome.stderr);
        let is_row = |line: &str| line.contains("`GPU-aa`") && line.contains(&format!("({joules:.3} J)"));
        assert!(memo.lines().any(is_row), "{memo}");
    }
}

#[test]
fn runs_at_the_same_time_on_one_board_are_no_measured_sum() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": board(&json!({})) }));
    let runs = ["1", "2"].map(|number| {
        let options = format!("--modification demo --quiet --summary {number}.json");
        Running::start(with_library(&place, &library, &options, "sleep 2.5"))
    });
    assert_eq!(runs.map(|run| run.finish().code()), [Some(0), Some(0)]);
    let joules = ["1.json", "2.json"].map(|summary| {
        let summary: Value = serde_json::from_slice(&fs_err::read(place.path(summary)).unwrap()).unwrap();
        summary["energy_joules"].as_f64().unwrap()
    });
    place.flopsmeter("report threshold demo --format md --out out").data();
    let memo = fs_err::read_to_string(place.path("out/threshold.md")).unwrap();
    let row = memo.lines().find(|line| line.starts_with("| Energy of the GPU boards")).unwrap();
    let (least, most) = (joules[0].max(joules[1]), joules[0] + joules[1]);
    assert!(row.contains("| computed |") && row.contains(&format!("({least:.3} J – {most:.3} J)")), "{row}");
    assert!(memo.contains("**The sum is known only within bounds:**"), "{memo}");
}
