//! Instances of a GPU that is cut (MIG), told apart by the numbers that the driver gives them, on its side and on the kernel's.

use std::path::Path;
use std::time::Duration;

use flopsmeter_meter::device::Kernel;
use flopsmeter_meter::device::process_tree::JobProcess;
use serde_json::json;

use crate::scene::{Record, Scene};

const JOB: u32 = 7;

/// Two instances of the second GPU; a kernel in which the job has these nodes open. The first GPU alone is its choice.
fn sampled(nodes: &[&str]) -> Record {
    let instance = |uuid: &str| json!({ "uuid": uuid, "multiprocessors": 16 });
    let cut = json!({ "uuid": "GPU-bb", "mig": [instance("MIG-1"), instance("MIG-2")] });
    let scene = Scene::new(&json!({ "devices": [{ "uuid": "GPU-aa" }, cut] }));
    let root = scene.folder().join("kernel");
    write_kernel(&root, nodes);
    scene.sample(Duration::from_millis(500), |options| {
        options.environment.visible_devices = Some("0".to_owned());
        options.kernel = Kernel::under(&root);
        let job = JobProcess::default();
        job.set(JOB);
        options.job = job;
    })
}

fn write_kernel(root: &Path, nodes: &[&str]) {
    let process = root.join(format!("proc/{JOB}"));
    fs_err::create_dir_all(process.join("fd")).unwrap();
    fs_err::write(process.join("stat"), format!("{JOB} (x) S 1 1 1 0 -1 0 0 0 0 0 1 0 0 0 20 0 1 0 9 0 0\n")).unwrap();
    for (place, node) in nodes.iter().enumerate() {
        fs_err::os::unix::fs::symlink(node, process.join(format!("fd/{place}"))).unwrap();
    }
    // Outside of a container: the driver's lists, in which the job is not, show that it is not there.
    let namespaces = root.join("proc/self/ns");
    fs_err::create_dir_all(&namespaces).unwrap();
    fs_err::os::unix::fs::symlink("pid:[4026531836]", namespaces.join("pid")).unwrap();
    let caps = root.join("proc/driver/nvidia-caps");
    fs_err::create_dir_all(&caps).unwrap();
    let minors = "config 1\ngpu1/gi1/access 21\ngpu1/gi1/ci0/access 22\ngpu1/gi2/access 31\ngpu1/gi2/ci0/access 32\n";
    fs_err::write(caps.join("mig-minors"), minors).unwrap();
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
