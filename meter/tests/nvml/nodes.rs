//! Device nodes of GPUs that the job has open and that its choice leaves out.

use std::time::Duration;

use flopsmeter_meter::claim::GpuRequest;
use flopsmeter_meter::sampler::SamplerOptions;
use serde_json::{Value, json};

use crate::scene::{H200_PEAK, Record, Scene};

/// The second GPU is busy; `--gpus` names the first one alone.
fn sampled(second: &Value, nodes: &[&str]) -> Record {
    let mut gpu = json!({ "uuid": "GPU-bb", "utilization": [[0, 100]] });
    gpu.as_object_mut().unwrap().extend(second.as_object().unwrap().clone());
    let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa" }, gpu] }));
    scene.sample_job(nodes, Duration::from_secs(1), |options| options.gpus = "GPU-aa".parse().unwrap())
}

fn unlisted() -> Value {
    json!({ "not_supported": ["nvmlDeviceGetComputeRunningProcesses_v3"] })
}

#[test]
fn a_node_that_is_open_is_stronger_than_the_users_word_where_the_driver_lists_no_processes() {
    let record = sampled(&unlisted(), &["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1"]);
    assert_eq!(record.gpus(), ["GPU-aa", "GPU-bb"], "{:?}", record.findings);
    let ceiling = record.ceiling();
    assert!(ceiling.complete && ceiling.flop.unwrap().0 >= H200_PEAK, "{ceiling:?}");
    let [said] = record.findings_of("gpu-claimed-later")[..] else { panic!("{:?}", record.findings) };
    assert!(said.text.contains("has /dev/nvidia1 open") && said.text.contains("--gpus GPU-aa"), "{}", said.text);
}

/// CUDA opens the nodes of all GPUs that it may see, and the driver's own.
#[test]
fn the_users_word_holds_where_nothing_speaks_against_it() {
    let all = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1"];
    for record in [sampled(&json!({}), &all), sampled(&unlisted(), &all[..3])] {
        assert_eq!(record.gpus(), ["GPU-aa"], "{:?}", record.findings);
        assert!(record.ceiling().complete);
    }
}

/// All GPUs that the driver lists are claimed, and the job has another one.
#[test]
fn the_users_word_is_not_taken_for_a_gpu_that_the_driver_does_not_list() {
    let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let opened = scene.opens_later("/dev/nvidia1", Duration::from_millis(600));
    let length = Duration::from_secs(3);
    let record = scene.sample_job(&["/dev/nvidia0"], length, |options| options.gpus = "GPU-aa".parse().unwrap());
    opened.join().unwrap();
    assert_eq!(record.gpus(), ["GPU-aa", "node:/dev/nvidia1"], "{:?}", record.findings);
    assert!(!record.ceiling().complete);
}

/// A job that was to use no GPU opens the node of the second one.
fn woken(scenario: &Value, adjust: impl FnOnce(&mut SamplerOptions)) -> Record {
    Scene::new(scenario).sample_job(&["/dev/nvidia1"], Duration::from_secs(1), |options| {
        options.environment.visible_devices = Some(String::new());
        adjust(options);
    })
}

/// Nobody had asked the driver for its GPUs when the node was seen.
#[test]
fn a_node_is_not_called_unlisted_before_the_driver_is_asked() {
    let of = |second: &Value| json!({ "devices": [{ "uuid": "GPU-aa" }, second] });
    let busy = json!({
        "uuid": "GPU-bb", "utilization": [[0, 100]], "not_supported": ["nvmlDeviceGetComputeRunningProcesses_v3"]
    });
    let record = woken(&of(&busy), |_| {});
    assert_eq!(record.gpus(), ["GPU-bb"], "{:?}", record.devices);
    let ceiling = record.ceiling();
    assert!(ceiling.complete && ceiling.flop.unwrap().0 >= H200_PEAK / 2, "{ceiling:?}");
    let others = woken(&of(&json!({ "uuid": "GPU-bb" })), |options| options.gpus = GpuRequest::None);
    assert_eq!(others.gpus(), Vec::<&str>::new(), "the driver lists no process of the job");
    assert!(others.ceiling().complete);
}

#[test]
fn a_node_leaves_the_ceiling_missing_where_the_driver_never_lists_its_gpu() {
    let broken = json!({ "init": 999, "devices": [] });
    let alone = json!({ "devices": [{ "uuid": "GPU-aa" }] });
    let record = [woken(&broken, |_| {}), woken(&alone, |_| {})];
    for record in &record {
        assert_eq!(record.gpus(), ["node:/dev/nvidia1"], "{:?}", record.findings);
    }
    let hangs = json!([{ "call": "nvmlDeviceGetName", "from_ms": 0, "until_ms": 60_000 }]);
    let silent = woken(&json!({ "devices": [{ "uuid": "GPU-aa", "hangs": hangs }] }), |options| {
        options.driver_patience = Duration::from_millis(200);
        options.listing_patience = Duration::from_mins(1);
    });
    assert!(silent.gpus().contains(&"gpu:unknown"), "{:?}", silent.devices);
    for record in record.iter().chain([&silent]) {
        assert!(!record.ceiling().complete && record.ceiling().flop.is_none());
    }
}
