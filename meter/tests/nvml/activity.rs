//! What the arithmetic units did, as the driver's performance counters tell it.

use std::time::Duration;

use flopsmeter_core::run::DeviceCeiling;
use flopsmeter_core::unit::Flops;
use serde_json::{Value, json};

use super::scene::{Record, Scene, gpu_readings};

const LENGTH: Duration = Duration::from_millis(2500);

fn h200(driver: &str, change: &Value) -> Scene {
    h200_where(driver, change, &json!([]))
}

fn h200_where(driver: &str, change: &Value, faults: &Value) -> Scene {
    Scene::new(&machine(driver, change, &json!({ "faults": faults })))
}

/// A machine that is told of more than the GPU.
fn h200_which(driver: &str, machines: &Value) -> Scene {
    Scene::new(&machine(driver, &json!({}), machines))
}

fn machine(driver: &str, gpus: &Value, machines: &Value) -> Value {
    let mut gpu = json!({
        "uuid": "GPU-aa", "utilization": [[0, 100]], "sm_clock_mhz": [[0, 1755]],
        "activity": { "hmma": [[0, 300]], "fp32": [[0, 50]] }
    });
    gpu.as_object_mut().unwrap().extend(gpus.as_object().unwrap().clone());
    let mut machine = json!({ "driver_version": driver, "devices": [gpu] });
    machine.as_object_mut().unwrap().extend(machines.as_object().unwrap().clone());
    machine
}

fn gpu(record: &Record) -> DeviceCeiling {
    record.ceiling().devices.into_iter().find(|device| device.device == "GPU-aa").unwrap()
}

fn layer(device: &DeviceCeiling, name: &str) -> Option<Flops> {
    device.layers.iter().find(|layer| layer.layer == name).and_then(|layer| layer.flop)
}

fn note<'a>(device: &'a DeviceCeiling, name: &str) -> &'a str {
    &device.layers.iter().find(|layer| layer.layer == name).unwrap().note
}

/// Seconds that a layer's note says it charges in full.
fn charged_in_full(device: &DeviceCeiling, name: &str) -> f64 {
    let note = note(device, name);
    let (seconds, _) = note.split_once(" s outside").unwrap();
    seconds.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn flop(flop: Flops) -> f64 {
    flop.to_string().parse().unwrap()
}

/// What the scripted GPU did in so many milliseconds at least.
fn truth(milliseconds: u128) -> Flops {
    Flops(132 * 1_755_000 * milliseconds * (8192 * 300 + 256 * 50) / 1000)
}

#[test]
fn activity_is_read_in_windows_that_leave_no_hole() {
    let record = h200("580.159.03", &json!({})).sample(LENGTH, |_| {});
    let readings = gpu_readings(&record.samples, "GPU-aa");
    let stretches: Vec<_> = readings.iter().flat_map(|reading| reading.pipes.iter().flatten()).collect();
    assert!(!stretches.is_empty());
    for stretch in &stretches {
        // Charged for a tenth of a second more than the window is long, of which none is shorter than 150 ms.
        assert!((3000..=5002).contains(&stretch.tensor), "{stretch:?}");
        assert!((500..=836).contains(&stretch.fp32), "{stretch:?}");
        assert!(stretch.fp64 <= 2 && stretch.fp16 <= 2, "{stretch:?}");
    }
    let covered: u64 = stretches.iter().map(|stretch| stretch.microseconds).sum();
    let device = gpu(&record);
    let uncovered = device.held_seconds * 1e6 - f64::from(u32::try_from(covered).unwrap());
    assert!(uncovered < 1_500_000.0, "{uncovered} of {} s", device.held_seconds);
    assert!(readings.iter().all(|reading| reading.cycles.is_none()), "driver 580 has no cycle counters");
    assert_eq!(device.layer.as_deref(), Some("L3"));
    assert!(device.flop.unwrap() >= truth(2500));
    assert!(layer(&device, "L2").unwrap() < layer(&device, "L1").unwrap(), "{device:#?}");
}

#[test]
fn a_driver_with_cycle_counters_needs_no_sampling() {
    let still = json!({ "activity": { "sm": [[0, 500]], "hmma": [[0, 300]] } });
    for scale in [1, 132] {
        let mut change = still.clone();
        change["cycle_counter_scale"] = json!(scale);
        let device = gpu(&h200("595.45.04", &change).sample(LENGTH, |_| {}));
        let cycles = layer(&device, "L2x").unwrap();
        assert!(cycles >= truth(2500), "{device:#?}");
        let outside = charged_in_full(&device, "L2x");
        assert!(outside < device.held_seconds, "{device:#?}");
        // Half of the multiprocessors' cycles had no warp. How long a reading takes is the machine's affair.
        let rate = flop(device.strict_peak.unwrap());
        let counted = flop(cycles) - outside * rate;
        assert!(counted <= (device.held_seconds + 0.02) * rate / 2.0, "{device:#?}");
    }
}

#[test]
fn without_the_counters_the_busy_share_is_what_bounds() {
    for change in [json!({ "gpm": false }), json!({ "not_supported": ["nvmlGpmQueryDeviceSupport"] })] {
        let record = h200("580.159.03", &change).sample(Duration::from_secs(1), |_| {});
        let device = gpu(&record);
        assert_eq!(layer(&device, "L3"), None);
        assert_eq!(device.layer.as_deref(), Some("L1"));
        assert!(record.faults("GPU-aa").is_empty());
    }
}

/// Drivers before 595 do not know the cycle counters' metrics, and may refuse a request that names them.
#[test]
fn a_driver_that_refuses_the_cycle_counters_is_asked_for_the_shares_alone() {
    let scene = h200_which("580.159.03", &json!({ "gpm_rejects": [248, 249] }));
    let record = scene.sample(LENGTH, |_| {});
    let device = gpu(&record);
    assert_eq!(device.layer.as_deref(), Some("L3"), "{device:#?}");
    assert!(device.flop.unwrap() >= truth(2500));
    assert!(layer(&device, "L3").unwrap() < layer(&device, "L1").unwrap(), "{device:#?}");
    assert!(note(&device, "L2x").contains("they need driver 595"), "{device:#?}");
    assert!(gpu_readings(&record.samples, "GPU-aa").iter().all(|reading| reading.gpm_problem.is_none()));
}

#[test]
fn a_call_that_always_fails_is_named_with_its_error() {
    for (call, does, error) in [
        ("nvmlGpmMetricsGet", 999, "an internal driver error occurred"),
        ("nvmlGpmSampleAlloc", 20, "insufficient memory"),
    ] {
        let faults = json!([{ "call": call, "does": { "code": does } }]);
        let device = gpu(&h200_which("595.45.04", &json!({ "faults": faults })).sample(Duration::from_secs(1), |_| {}));
        assert_eq!(device.layer.as_deref(), Some("L1"));
        for layer in ["L2x", "L3"] {
            let note = note(&device, layer);
            assert!(note.contains(call) && note.contains(error), "{note}");
        }
    }
    let refused = json!([{ "call": "nvmlGpmQueryDeviceSupport", "does": { "code": 4 } }]);
    let device = gpu(&h200("595.45.04", &json!({ "faults": refused })).sample(Duration::from_secs(1), |_| {}));
    let note = note(&device, "L3");
    assert!(note.contains("nvmlGpmQueryDeviceSupport failed (the current user does not have permission"), "{note}");
}

#[test]
fn a_snapshot_that_fails_leaves_its_time_charged() {
    // Of the calls, one is about a GPU and two are not.
    let not_supported = 3;
    for call in ["nvmlGpmSampleGet", "nvmlGpmMetricsGet", "nvmlGpmSampleAlloc"] {
        let faults = json!([{ "call": call, "does": { "code": not_supported } }]);
        let change = json!({ "not_supported": [call] });
        let device = gpu(&h200_where("580.159.03", &change, &faults).sample(Duration::from_secs(1), |_| {}));
        assert!(layer(&device, "L3").is_none_or(|bound| bound >= layer(&device, "L0").unwrap()), "{call} {device:#?}");
        assert_eq!(device.layer.as_deref(), Some("L1"));
    }
}
