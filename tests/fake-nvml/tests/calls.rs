//! What the stand-in answers, asked through the client that the meter uses.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "calls/gpm.rs"]
mod gpm;
#[path = "calls/stage.rs"]
mod stage;

use nvml_wrapper::enum_wrappers::device::Sampling;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper_sys::bindings::field_id;
use serde_json::json;

use stage::{Stage, first};

#[test]
fn energy_is_the_integral_of_power_until_the_counter_misbehaves() {
    let energy_at = |counter: serde_json::Value, at: u64| {
        let power = json!([[0, 100_000], [1000, 300_000]]);
        let stage = Stage::new(json!({ "devices": [{ "power_milliwatts": power, "energy_counter": counter }] }));
        let nvml = stage.open().unwrap();
        stage.at(at);
        first(&nvml).total_energy_consumption().unwrap()
    };
    // 100 W for a second and 300 W for another.
    assert_eq!(energy_at(json!({ "starts_at": 7 }), 2000), 7 + 100_000 + 300_000);
    // Steps of a tenth of a second.
    assert_eq!(energy_at(json!({ "starts_at": 0 }), 199), 10_000);
    assert_eq!(energy_at(json!({ "starts_at": 7, "restarts_ms": 1500 }), 2000), 150_000);
    assert_eq!(energy_at(json!({ "starts_at": 0, "wraps_at": 350_000 }), 2000), 50_000);
    assert_eq!(energy_at(json!({ "starts_at": 0, "falls": [[1900, 90_000]] }), 2000), 310_000);
}

#[test]
fn buffered_samples_are_averages_of_their_periods() {
    let stage = Stage::new(json!({ "devices": [{
        "utilization": [[0, 0], [250, 100]], "sm_clock_mhz": [[0, 1980], [200, 1500]], "sample_period_ms": 100
    }] }));
    let nvml = stage.open().unwrap();
    stage.at(450);
    let values = |what: Sampling| -> Vec<u32> {
        let samples = first(&nvml).samples(what, None).unwrap();
        samples.iter().map(|sample| if let SampleValue::U32(value) = sample.value { value } else { 0 }).collect()
    };
    assert_eq!(values(Sampling::GpuUtilization), [0, 0, 50, 100]);
    assert_eq!(values(Sampling::ProcessorClock), [1980, 1980, 1500, 1500]);
}

#[test]
fn fields_succeed_or_fail_one_by_one() {
    let power = json!([[0, 100_000], [500, 300_000]]);
    let stage = Stage::new(json!({ "devices": [{ "power_milliwatts": power }] }));
    let nvml = stage.open().unwrap();
    stage.at(1000);
    let ids = [field_id::NVML_FI_DEV_POWER_AVERAGE, field_id::NVML_FI_DEV_POWER_INSTANT, 1].map(FieldId);
    let values = first(&nvml).field_values_for(&ids).unwrap();
    let told: Vec<_> = values.into_iter().map(|value| value.ok().and_then(|sample| sample.value.ok())).collect();
    assert_eq!(told, [Some(SampleValue::U32(200_000)), Some(SampleValue::U32(300_000)), None]);
}

#[test]
fn processes_come_and_go_and_one_is_named_while_the_scenario_plays() {
    let stage = Stage::new(json!({ "devices": [{
        "utilization": [[0, 90]],
        "processes": [11, { "pid": 12, "from_ms": 100, "until_ms": 200, "utilization": [[0, 30]] }, { "pid_file": "job" }]
    }] }));
    let nvml = stage.open().unwrap();
    let pids = || -> Vec<u32> {
        first(&nvml).running_compute_processes().unwrap().iter().map(|process| process.pid).collect()
    };
    assert_eq!(pids(), [11]);
    stage.at(150);
    assert_eq!(pids(), [11, 12]);
    fs_err::write(stage.path("job"), "4711\n").unwrap();
    let shares = first(&nvml).process_utilization_stats(None).unwrap();
    let shares: Vec<(u32, u32)> = shares.iter().map(|share| (share.pid, share.sm_util)).collect();
    assert_eq!(shares, [(11, 90), (12, 30), (4711, 90)]);
    stage.at(200);
    assert_eq!(pids(), [11, 4711]);
}

#[test]
fn a_gpu_appears_vanishes_and_is_lost() {
    let stage = Stage::new(json!({ "devices": [
        { "uuid": "GPU-a", "present": [100, 300] }, { "uuid": "GPU-b", "lost": [200, 300] }
    ] }));
    let nvml = stage.open().unwrap();
    assert_eq!((nvml.device_count().unwrap(), first(&nvml).uuid().unwrap().as_str()), (1, "GPU-b"));
    assert!(matches!(nvml.device_by_uuid("GPU-a"), Err(NvmlError::NotFound)));
    stage.at(100);
    let a = nvml.device_by_uuid("GPU-a").unwrap();
    let b = nvml.device_by_uuid("GPU-b").unwrap();
    assert_eq!((nvml.device_count().unwrap(), a.index().unwrap(), b.index().unwrap()), (2, 0, 1));
    assert_eq!((a.minor_number().unwrap(), b.minor_number().unwrap()), (0, 1));
    stage.at(200);
    assert!(matches!(b.power_usage(), Err(NvmlError::GpuLost)));
    stage.at(300);
    assert!(b.power_usage().is_ok());
    // GPU_NOT_FOUND has no variant of its own in the client.
    assert!(matches!(a.power_usage(), Err(NvmlError::UnexpectedVariant(28))));
}

#[test]
fn each_call_can_fail_in_its_own_way() {
    let stage = Stage::new(json!({
        "faults": [{ "call": "nvmlDeviceGetCount_v2", "from_ms": 100, "until_ms": 200, "does": { "code": 4 } }],
        "devices": [{
            "not_supported": ["nvmlDeviceGetEnforcedPowerLimit"],
            "faults": [{ "call": "nvmlDeviceGetName", "does": { "code": 77 } }, { "call": "*", "from_ms": 300, "does": { "code": 999 } }],
            "hangs": [{ "call": "nvmlDeviceGetUUID", "from_ms": 200, "until_ms": 250 }]
        }]
    }));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    assert!(matches!(gpu.name(), Err(NvmlError::UnexpectedVariant(77))));
    assert!(matches!(gpu.enforced_power_limit(), Err(NvmlError::NotSupported)));
    stage.at(100);
    assert!(matches!(nvml.device_count(), Err(NvmlError::NoPermission)));
    stage.at(200);
    assert_eq!(nvml.device_count().unwrap(), 1);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| gpu.uuid().unwrap());
        // Time stands still, and so does the call.
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!asked.is_finished());
        stage.at(250);
        asked.join().unwrap();
    });
    stage.at(300);
    assert!(matches!(gpu.power_usage(), Err(NvmlError::Unknown)));
}

#[test]
fn a_library_of_another_version_than_the_driver_does_not_start() {
    let problem = Stage::new(json!({ "init": 18 })).open().unwrap_err();
    assert!(matches!(problem, NvmlError::LibRmVersionMismatch));
    let fault = json!({ "call": "nvmlInit_v2", "until_ms": 100, "does": { "code": 9 } });
    let stage = Stage::new(json!({ "faults": [fault] }));
    assert!(matches!(stage.open(), Err(NvmlError::DriverNotLoaded)));
    stage.at(100);
    assert!(stage.open().is_ok());
}

#[test]
fn seven_instances_have_their_own_identities() {
    let slices: Vec<_> =
        (0..7).map(|number| json!({ "uuid": format!("MIG-{number}"), "multiprocessors": 16 + number })).collect();
    let stage = Stage::new(json!({ "devices": [{
        "mig": slices, "processes": [{ "pid": 5, "instance": 6 }, { "pid": 6, "instance": 0 }]
    }] }));
    let nvml = stage.open().unwrap();
    let gpu = first(&nvml);
    assert_eq!((gpu.mig_mode().unwrap().current, gpu.mig_device_count().unwrap()), (1, 7));
    let last = gpu.mig_device_by_index(6).unwrap();
    assert_eq!((last.uuid().unwrap().as_str(), last.attributes().unwrap().multiprocessor_count), ("MIG-6", 22));
    assert_eq!(nvml.device_by_uuid("MIG-6").unwrap().mig_parent_device().unwrap().uuid().unwrap(), gpu.uuid().unwrap());
    let process = &last.running_compute_processes().unwrap()[0];
    assert_eq!((process.pid, process.gpu_instance_id), (5, Some(7)));
    assert!(matches!(gpu.mig_device_by_index(7), Err(NvmlError::NotFound)));
}

#[test]
fn processes_that_load_the_library_share_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let built = std::env::current_exe().unwrap().with_file_name("libnvidia_ml.so");
    let scenario = json!({ "origin_file": "began", "devices": [{ "power_milliwatts": [[0, 1], [60_000, 2]] }] });
    // An hour ago: were each copy's time its own, it would be at the first step.
    let copies = ["one", "two"].map(|name| {
        let library = folder.path().join(name);
        fs_err::copy(&built, &library).unwrap();
        fs_err::write(folder.path().join(format!("{name}.json")), scenario.to_string()).unwrap();
        library
    });
    let one = stage::open(&copies[0]).unwrap();
    assert_eq!(first(&one).power_usage().unwrap(), 1);
    let began: u64 = fs_err::read_to_string(folder.path().join("began")).unwrap().parse().unwrap();
    fs_err::write(folder.path().join("began"), (began - 3_600_000_000).to_string()).unwrap();
    let two = stage::open(&copies[1]).unwrap();
    assert_eq!(first(&two).power_usage().unwrap(), 2);
}
