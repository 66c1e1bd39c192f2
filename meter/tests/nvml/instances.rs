//! Instances of a GPU that is cut (MIG), told apart by the numbers that the driver gives them, on its side and on the kernel's.

use std::time::Duration;

use serde_json::json;

use crate::scene::{Record, Scene};

/// Two instances of the second GPU; a kernel in which the job has these nodes open. The first GPU alone is its choice.
fn sampled(nodes: &[&str]) -> Record {
    let instance = |uuid: &str| json!({ "uuid": uuid, "multiprocessors": 16 });
    let cut = json!({ "uuid": "GPU-bb", "mig": [instance("MIG-1"), instance("MIG-2")] });
    let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa" }, cut] }));
    let minors = "config 1\ngpu1/gi1/access 21\ngpu1/gi1/ci0/access 22\ngpu1/gi2/access 31\ngpu1/gi2/ci0/access 32\n";
    let caps = scene.folder().join("kernel/proc/driver/nvidia-caps");
    fs_err::create_dir_all(&caps).unwrap();
    fs_err::write(caps.join("mig-minors"), minors).unwrap();
    scene.sample_job(nodes, Duration::from_millis(500), |options| {
        options.environment.visible_devices = Some("0".to_owned());
    })
}

#[test]
fn an_instance_whose_access_nodes_the_job_has_open_is_claimed() {
    let nodes = ["/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap31", "/dev/nvidia-caps/nvidia-cap32"];
    let record = sampled(&nodes);
    let ids: Vec<&str> = record.devices.iter().skip(1).map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["GPU-aa", "MIG-2"], "{:?}", record.findings);
    let [said] = record.findings_of("gpu-claimed-later")[..] else { panic!("{:?}", record.findings) };
    assert!(said.text.contains("access node of GPU instance 2 of /dev/nvidia1 open"), "{}", said.text);
}

#[test]
fn the_nodes_of_other_things_claim_no_instance() {
    let record = sampled(&["/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-caps/nvidia-cap99"]);
    assert_eq!(record.devices.len(), 2, "{:?}", record.findings);
}
