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
    let mut gpu = json!({
        "uuid": "GPU-aa", "utilization": [[0, 100]], "sm_clock_mhz": [[0, 1755]],
        "activity": { "hmma": [[0, 300]], "fp32": [[0, 50]] }
    });
    gpu.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Scene::new(&json!({ "driver_version": driver, "devices": [gpu], "faults": faults }))
}

fn gpu(record: &Record) -> DeviceCeiling {
    record.ceiling().devices.into_iter().find(|device| device.device == "GPU-aa").unwrap()
}

fn layer(device: &DeviceCeiling, name: &str) -> Option<Flops> {
    device.layers.iter().find(|layer| layer.layer == name).and_then(|layer| layer.flop)
}

/// Seconds that a layer's note says it charges in full.
fn charged_in_full(device: &DeviceCeiling, name: &str) -> f64 {
    let note = &device.layers.iter().find(|layer| layer.layer == name).unwrap().note;
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
