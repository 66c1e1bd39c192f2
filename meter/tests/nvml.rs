//! The sampler through the real FFI path: a shared library with NVML's symbols, loaded as a driver's is.
#![cfg(feature = "machine")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "nvml/activity.rs"]
mod activity;
#[path = "nvml/instances.rs"]
mod instances;
#[path = "nvml/layout.rs"]
mod layout;
#[path = "nvml/nodes.rs"]
mod nodes;
#[path = "nvml/scene.rs"]
mod scene;

use std::time::Duration;

use flopsmeter_core::sample::{DeviceFacts, Mig, Reading};
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::sampler::SamplerOptions;
use serde_json::json;

use scene::{H200_PEAK, LATE, Scene, gpu_readings};

/// Long enough for a loaded machine: these tests check what is read, not when.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_gpu_is_described_and_read() {
    let scene = Scene::new(&json!({
        "driver_version": "580.159.03",
        "devices": [{
            "uuid": "GPU-aa", "utilization": [[0, 40]], "sm_clock_mhz": [[0, 1755]], "power_milliwatts": [[0, 600_000]]
        }]
    }));
    let record = scene.sample(Duration::from_millis(1500), |_| {});
    let gpu = record.device("GPU-aa");
    assert_eq!(gpu.name, "NVIDIA H200");
    let DeviceFacts::Gpu(facts) = &gpu.facts else { panic!("a GPU") };
    assert_eq!(facts.compute_capability.map(|capability| capability.to_string()).as_deref(), Some("9.0"));
    assert_eq!((facts.core_count, facts.max_sm_clock_mhz), (Some(16_896), Some(1980)));
    assert_eq!(facts.pci_bus_id.as_deref(), Some("00000000:1B:00.0"));
    assert_eq!(facts.pci_device_id, Some(0x2335_10de));
    assert_eq!((facts.driver_version.as_deref(), &facts.mig), (Some("580.159.03"), &Mig::Off));

    let readings = gpu_readings(&record.samples, "GPU-aa");
    assert!(readings.iter().all(|reading| reading.sm_clock_mhz == Some(1755)));
    assert!(readings.iter().all(|reading| reading.power_milliwatts == Some(600_000)));
    let stretches = readings.iter().flat_map(|reading| reading.busy.iter().flatten());
    assert!(stretches.clone().count() > 0 && stretches.clone().all(|stretch| stretch.percent == 40));

    let ceiling = record.ceiling();
    let device = &ceiling.devices[1];
    assert_eq!(device.layer.as_deref(), Some("L1"));
    assert!(device.flop.unwrap() < device.layers[0].flop.unwrap());
    // The counter moves by 60 J every 100 ms.
    let energy = device.energy_joules.unwrap().millijoules();
    assert!(energy > 0 && energy.is_multiple_of(60_000), "{energy}");
    assert_eq!(record.findings_of("gpus-claimed").len(), 1);
}

#[test]
fn a_ceiling_covers_what_the_gpu_did() {
    // Busy, then half busy, then idle: whatever the sampler sees of it, the bound holds.
    let utilization = json!([[0, 100], [400, 50], [800, 0]]);
    let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa", "utilization": utilization }] }));
    let record = scene.sample(Duration::from_millis(1600), |_| {});
    let truth = Flops(H200_PEAK * 600 / 1000);
    let ceiling = record.ceiling();
    let gpu = &ceiling.devices[1];
    assert!(gpu.flop.unwrap() >= truth);
    assert!(gpu.flop.unwrap() < gpu.layers[0].flop.unwrap(), "idle time lowers it");
    assert!(ceiling.complete);
}

#[test]
fn a_gpu_lost_half_way_leaves_a_gap_that_is_charged() {
    let scene = Scene::new(&json!({
        "devices": [{ "uuid": "GPU-aa", "utilization": [[0, 100]], "lost": [500, 1000] }]
    }));
    let record = scene.sample(Duration::from_secs(2), |_| {});
    let missing = record.missing("GPU-aa");
    assert!(missing.iter().any(|reason| reason.contains("fell off the bus")), "{missing:?}");
    let last = record.samples.iter().rev().find(|sample| sample.device == "GPU-aa").unwrap();
    assert!(matches!(last.reading, Reading::Gpu(_)), "it is read again when it is back: {last:?}");
    let gaps = record.gaps("GPU-aa");
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap.charged.unwrap() > Flops::ZERO));
    assert!(record.ceiling().devices[1].flop.unwrap() >= Flops(2 * H200_PEAK * 99 / 100));
}

#[test]
fn a_call_that_hangs_stops_nothing() {
    let scene = Scene::new(&json!({
        "devices": [{
            "uuid": "GPU-aa", "utilization": [[0, 0]],
            "hangs": [{ "call": "nvmlDeviceGetPowerUsage", "from_ms": 300, "until_ms": 60_000 }]
        }]
    }));
    let record = scene.sample(Duration::from_millis(1500), |options| {
        options.driver_patience = Duration::from_millis(200);
    });
    assert!(record.stopping < Duration::from_secs(10), "stopping took {:?}", record.stopping);
    assert!(record.missing("GPU-aa").iter().all(|reason| *reason == LATE));
    assert!(!record.missing("GPU-aa").is_empty());
    let processors = record.samples.iter().filter(|sample| sample.device.starts_with("cpu:"));
    assert!(processors.count() > 2, "the processors are read on");
    // A second of silence is charged in full although the GPU was idle.
    assert!(record.ceiling().devices[1].flop.unwrap() >= Flops(H200_PEAK));
}

#[test]
fn a_driver_that_hangs_while_listing_leaves_the_ceiling_missing() {
    let scene = Scene::new(&json!({
        "devices": [{ "uuid": "GPU-aa", "hangs": [{ "call": "nvmlDeviceGetName", "from_ms": 0, "until_ms": 60_000 }] }]
    }));
    let record = scene.sample(Duration::from_millis(300), |options| {
        options.driver_patience = Duration::from_millis(200);
        options.listing_patience = Duration::from_millis(100);
    });
    assert_eq!((record.ceiling().flop, record.ceiling().complete), (None, false));
    assert_eq!(record.findings_of("gpus-unreadable").len(), 1);
}

#[test]
fn each_optional_counter_is_lost_alone() {
    for (call, figure) in [
        ("nvmlDeviceGetClockInfo", "clock"),
        ("nvmlDeviceGetTotalEnergyConsumption", "energy"),
        ("nvmlDeviceGetPowerUsage", "power"),
    ] {
        let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa", "not_supported": [call] }] }));
        let record = scene.sample(Duration::from_millis(500), |_| {});
        let readings = gpu_readings(&record.samples, "GPU-aa");
        assert!(!readings.is_empty(), "{call}");
        for reading in readings {
            assert_eq!(reading.sm_clock_mhz.is_none(), figure == "clock");
            assert_eq!(reading.energy_millijoules.is_none(), figure == "energy");
            assert_eq!(reading.power_milliwatts.is_none(), figure == "power");
            assert!(reading.busy.is_some());
        }
        assert!(record.faults("GPU-aa").is_empty(), "{call}");
    }
}

#[test]
fn without_a_buffer_the_present_share_proves_one_period() {
    let scene = Scene::new(&json!({
        "devices": [{ "uuid": "GPU-aa", "utilization": [[0, 0]], "not_supported": ["nvmlDeviceGetSamples"] }]
    }));
    let record = scene.sample(Duration::from_millis(3200), |_| {});
    let ceiling = record.ceiling();
    let gpu = &ceiling.devices[1];
    assert_eq!(gpu.layer.as_deref(), Some("L1"));
    // Most of the time is not covered, and is charged.
    assert!(gpu.flop.unwrap() >= Flops(2 * H200_PEAK));
}

#[test]
fn a_board_that_supports_nothing_is_charged_for_the_time_held() {
    let unsupported = [
        "nvmlDeviceGetSamples",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetMaxClockInfo",
        "nvmlDeviceGetNumGpuCores",
        "nvmlDeviceGetCudaComputeCapability",
        "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetPowerUsage",
    ];
    let record = |name: &str| {
        let board = json!({ "uuid": "GPU-xx", "name": name, "not_supported": unsupported });
        Scene::new(&json!({ "devices": [board] })).sample(Duration::from_millis(400), |_| {})
    };
    let device = &record("NVIDIA H200").ceiling().devices[1];
    assert_eq!((device.layer.as_deref(), device.energy_joules), (Some("L0"), None));
    // Of these nobody knows how fast they clock.
    for name in ["Orin (nvgpu)", "NVIDIA Unheard Of"] {
        assert_eq!(record(name).ceiling().flop, None, "{name}");
    }
}

#[test]
fn a_counter_that_starts_again_is_summed_and_said() {
    let scene = Scene::new(&json!({
        "devices": [{ "uuid": "GPU-aa", "power_milliwatts": [[0, 500_000]], "energy_restarts_ms": 600 }]
    }));
    let record = scene.sample(Duration::from_millis(1400), |_| {});
    let device = &record.ceiling().devices[1];
    let energy = device.energy_joules.unwrap().millijoules();
    assert!(energy > 0 && energy < 1_000_000_000, "{energy}");
    assert!(device.assumptions.iter().any(|said| said.contains("counter fell")), "{:?}", device.assumptions);
}

#[test]
fn without_a_driver_the_processors_are_metered() {
    let scene = Scene::new(&json!({}));
    let record = scene.sample(Duration::from_millis(200), |options| {
        options.nvml_library = Some("/nonexistent/libnvidia-ml.so.1".into());
    });
    assert_eq!(record.devices.len(), 1);
    assert_eq!(record.findings_of("nvml-unavailable").len(), 1);
    assert!(record.ceiling().complete);
}

#[test]
fn a_driver_that_refuses_is_as_good_as_none_unless_gpus_are_named() {
    // DRIVER_NOT_LOADED, NO_PERMISSION, LIB_RM_VERSION_MISMATCH, and a code without a name.
    for code in [9, 4, 18, 28] {
        let scene = Scene::new(&json!({ "init": code }));
        let record = scene.sample(Duration::from_millis(150), |_| {});
        assert_eq!(record.findings_of("nvml-unavailable").len(), 1, "{code}");
        let named = |options: &mut SamplerOptions| options.gpus = "0".parse().unwrap();
        let record = scene.sample(Duration::from_millis(150), named);
        assert_eq!(record.ceiling().flop, None, "{code}");
    }
}

#[test]
fn device_nodes_without_a_driver_leave_the_ceiling_missing() {
    let scene = Scene::new(&json!({ "init": 18 }));
    let node = scene.folder().join("kernel/dev/nvidia0");
    let record = scene.sample(Duration::from_millis(150), |options| {
        fs_err::create_dir_all(node.parent().unwrap()).unwrap();
        fs_err::write(&node, "").unwrap();
        options.kernel = flopsmeter_meter::device::Kernel::under(&scene.folder().join("kernel"));
    });
    assert_eq!(record.ceiling().flop, None);
    assert_eq!(record.findings_of("gpus-unreadable").len(), 1);
}

#[test]
fn only_claimed_gpus_are_read() {
    let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa" }, { "uuid": "GPU-bb" }, { "uuid": "GPU-cc" }] }));
    let record = scene.sample(Duration::from_millis(400), |options| {
        options.environment.visible_devices = Some("GPU-c,1".to_owned());
    });
    let ids: Vec<&str> = record.devices.iter().skip(1).map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["GPU-cc", "GPU-bb"]);
    assert!(!record.samples.iter().any(|sample| sample.device == "GPU-aa"));
    let record = scene.sample(Duration::from_millis(150), |options| {
        options.environment.visible_devices = Some(String::new());
    });
    assert_eq!(record.devices.len(), 1);
}

#[test]
fn an_instance_is_charged_its_share() {
    let scene = Scene::new(&json!({
        "devices": [{ "uuid": "GPU-aa", "mig": [{ "uuid": "MIG-1", "multiprocessors": 16 }] }]
    }));
    let record = scene.sample(Duration::from_millis(400), |options| {
        options.environment.visible_devices = Some("MIG-1".to_owned());
    });
    let device = &record.ceiling().devices[1];
    assert_eq!((device.layer.as_deref(), device.strict_peak), (Some("L0"), Some(Flops(16 * 8192 * 1_980_000_000))));
    assert!(record.faults("MIG-1").is_empty(), "{:?}", record.faults("MIG-1"));
    let record = scene.sample(Duration::from_millis(400), |_| {});
    assert_eq!(record.ceiling().devices[1].strict_peak, Some(Flops(H200_PEAK)));
}

#[test]
fn eight_gpus_are_read_together() {
    let devices: Vec<_> = (0..8).map(|index| json!({ "uuid": format!("GPU-{index}") })).collect();
    let record = Scene::new(&json!({ "devices": devices })).sample(Duration::from_millis(600), |_| {});
    assert_eq!(record.devices.len(), 9);
    for index in 0..8 {
        assert!(!gpu_readings(&record.samples, &format!("GPU-{index}")).is_empty());
    }
    assert!(record.ceiling().complete);
    assert!(record.stopping < PATIENCE);
}
