//! Accelerators that the job opens and that we cannot read: one of them leaves the ceiling without a bound.

use std::collections::BTreeSet;

use flopsmeter_core::sample::{Device, DeviceFacts};

use super::Kernel;
use super::node_names::majors;

/// Device nodes by folder and beginning of the name, and what they belong to.
const NODES: [(&str, &str, &str); 17] = [
    ("", "kfd", "AMD GPU"),
    ("", "accel", "accelerator"),
    ("accel", "accel", "accelerator"),
    ("", "hl", "Intel Gaudi"),
    ("habanalabs", "hl", "Intel Gaudi"),
    ("", "neuron", "AWS Neuron device"),
    ("", "davinci", "Ascend NPU"),
    ("", "qaic", "Qualcomm Cloud AI"),
    ("", "ipu", "Graphcore IPU"),
    ("tenstorrent", "", "Tenstorrent device"),
    ("", "cambricon_dev", "Cambricon MLU"),
    ("", "mtgpu.", "Moore Threads GPU"),
    ("", "gcu", "Enflame GCU"),
    ("", "xpu", "Kunlun XPU"),
    ("vfio", "", "device behind VFIO, as a TPU"),
    ("vfio/devices", "vfio", "device behind VFIO, as a TPU"),
    ("dri", "renderD", "GPU"),
];

/// Drivers behind `/dev/dri` nodes that do not compute, or whose device NVML reads. Those of virtual machines' displays and
/// `nouveau` do compute, and nobody reads them.
const KNOWN_RENDER_DRIVERS: [&str; 7] =
    ["nvidia", "nvidia-drm", "ast", "mgag200", "bochs-drm", "simple-framebuffer", "vgem"];

/// The nodes of this machine that are worth looking for.
#[derive(Clone, Debug, Default)]
pub struct Accelerators {
    nodes: Vec<(String, &'static str)>,
    /// The kernel has such devices: their nodes may lie anywhere.
    has_driver: bool,
    found: BTreeSet<String>,
}

impl Accelerators {
    /// Looks for nodes and drivers: most machines have none, and then the job's files need not be looked at.
    pub fn of(kernel: &Kernel) -> Self {
        let mut accelerators = Self::default();
        accelerators.renew(kernel);
        accelerators
    }

    /// Looks again: drivers are loaded and devices are added while a job runs.
    pub fn renew(&mut self, kernel: &Kernel) {
        self.nodes = nodes(kernel);
        self.has_driver = has_driver(kernel);
    }

    /// Whether this machine has any.
    pub fn exist(&self) -> bool {
        self.has_driver || !self.nodes.is_empty()
    }

    /// Those among a process's open nodes that were not told before.
    pub fn newly_opened(&mut self, kernel: &Kernel, open: &[String]) -> Vec<Device> {
        let mut devices = Vec::new();
        for node in open {
            if !self.found.contains(node)
                && let Some(kind) = kind(kernel, node)
            {
                devices.push(unreadable(node, kind));
                self.found.insert(node.clone());
            }
        }
        devices
    }

    /// One that a process may have open whose files cannot be read, if the machine has any that only compute.
    pub fn may_have_been_opened(&mut self, process: &str) -> Option<Device> {
        let (node, kind) = self.nodes.iter().find(|(node, _)| !node.starts_with("/dev/dri/"))?;
        if !self.found.insert("hidden".to_owned()) {
            return None;
        }
        let reason = format!(
            "what {process} of the job has open cannot be read, and {node} ({kind}) may be among it: what was computed there is not bounded"
        );
        Some(Device {
            id: "node:hidden".to_owned(),
            name: (*kind).to_owned(),
            facts: DeviceFacts::Unreadable { reason },
        })
    }
}

fn unreadable(node: &str, kind: &str) -> Device {
    let reason = format!(
        "a process of the job has {node} ({kind}) open, which cannot be read: what was computed there is not bounded"
    );
    Device { id: format!("node:{node}"), name: kind.to_owned(), facts: DeviceFacts::Unreadable { reason } }
}

fn nodes(kernel: &Kernel) -> Vec<(String, &'static str)> {
    // Once for all; where it cannot be listed, folders in it may be, all the same.
    let top = kernel.names("dev");
    let folders: BTreeSet<&str> =
        NODES.iter().map(|(folder, ..)| *folder).filter(|folder| !folder.is_empty()).collect();
    let mut paths: Vec<String> = top.iter().filter(|name| !folders.contains(name.as_str())).cloned().collect();
    for folder in folders {
        let first = folder.split('/').next().unwrap_or(folder);
        if top.is_empty() || top.iter().any(|name| name == first) {
            paths.extend(kernel.names(&format!("dev/{folder}")).into_iter().map(|name| format!("{folder}/{name}")));
        }
    }
    let nodes = paths.into_iter().map(|path| format!("/dev/{path}"));
    nodes.filter_map(|node| kind(kernel, &node).map(|kind| (node, kind))).collect()
}

/// Whether the kernel has such a device or a driver of such, whose node may lie anywhere. Every driver of a display brings those
/// of `accel` and `drm`, which say nothing before they have devices.
fn has_driver(kernel: &Kernel) -> bool {
    let names = |driver: &str| NODES.iter().any(|(folder, prefix, _)| driver == *folder || driver == *prefix);
    majors(kernel).iter().any(|(_, driver)| driver != "accel" && names(driver))
        || !kernel.names("sys/class/accel").is_empty()
        || kernel.names("sys/class/drm").iter().any(|name| kind(kernel, &format!("/dev/dri/{name}")).is_some())
}

/// What a node under `/dev` belongs to, if it is one of an accelerator that we cannot read.
fn kind(kernel: &Kernel, node: &str) -> Option<&'static str> {
    let path = node.strip_prefix("/dev/")?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let numbered = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |prefix: &str| name.strip_prefix(prefix).is_some_and(numbered);
    let (.., kind) = NODES.iter().find(|(known, prefix, _)| *known == folder && fits(prefix))?;
    (folder != "dri" || computes(kernel, name)).then_some(*kind)
}

fn computes(kernel: &Kernel, node: &str) -> bool {
    let driver = fs_err::read_link(kernel.path(&format!("sys/class/drm/{node}/device/driver")));
    let name = driver.ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.is_none_or(|name| !KNOWN_RENDER_DRIVERS.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_node_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        for path in ["dev/accel", "dev/hlx"] {
            fs_err::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs_err::write(folder.path().join("dev/kfd"), "").unwrap();
        fs_err::write(folder.path().join("dev/accel/accel0"), "").unwrap();
        let mut accelerators = Accelerators::of(&kernel);
        let open = ["/dev/kfd".to_owned(), "/dev/null".to_owned()];
        let found = accelerators.newly_opened(&kernel, &open);
        assert_eq!(found.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
        assert!(accelerators.newly_opened(&kernel, &open).is_empty());
        assert!(accelerators.may_have_been_opened("process 7").is_some());
        assert!(accelerators.may_have_been_opened("process 8").is_none());
    }

    #[test]
    fn a_node_or_a_driver_that_comes_later_is_seen_when_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        for path in ["dev/accel", "proc"] {
            fs_err::create_dir_all(folder.path().join(path)).unwrap();
        }
        let mut accelerators = Accelerators::of(&kernel);
        assert!(!accelerators.exist());
        fs_err::write(folder.path().join("proc/devices"), "Character devices:\n  1 mem\n226 drm\n261 accel\n").unwrap();
        accelerators.renew(&kernel);
        assert!(!accelerators.exist(), "displays have that driver");
        fs_err::write(folder.path().join("proc/devices"), "Character devices:\n  1 mem\n235 kfd\n").unwrap();
        accelerators.renew(&kernel);
        assert!(accelerators.exist());
        assert!(accelerators.may_have_been_opened("process 7").is_none(), "there is no node that could be open");
        fs_err::write(folder.path().join("dev/accel/accel0"), "").unwrap();
        accelerators.renew(&kernel);
        assert!(accelerators.may_have_been_opened("process 7").is_some());
    }

    #[test]
    fn render_nodes_count_unless_their_driver_is_known_not_to_compute() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        fs_err::create_dir_all(folder.path().join("dev/dri")).unwrap();
        for (node, driver) in [
            ("renderD128", "xe"),
            ("renderD129", "nvidia"),
            ("renderD130", "nouveau"),
            ("renderD131", "virtio_gpu"),
            ("renderD132", "virtio-pci"),
            ("renderD133", "ast"),
        ] {
            fs_err::write(folder.path().join("dev/dri").join(node), "").unwrap();
            let device = folder.path().join(format!("sys/class/drm/{node}/device"));
            fs_err::create_dir_all(&device).unwrap();
            fs_err::os::unix::fs::symlink(format!("../drivers/{driver}"), device.join("driver")).unwrap();
        }
        let mut accelerators = Accelerators::of(&kernel);
        let open: Vec<String> = (128..=133).map(|number| format!("/dev/dri/renderD{number}")).collect();
        let opened = accelerators.newly_opened(&kernel, &open);
        let nodes: Vec<&str> = accelerators.nodes.iter().map(|(node, _)| node.as_str()).collect();
        assert_eq!(
            nodes,
            ["renderD128", "renderD130", "renderD131", "renderD132"].map(|name| format!("/dev/dri/{name}"))
        );
        assert!(opened.iter().map(|device| device.id.as_str()).eq(nodes.iter().map(|node| format!("node:{node}"))));
    }
}
