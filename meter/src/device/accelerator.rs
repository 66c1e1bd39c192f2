//! Accelerators that the job opens and that we cannot read: one of them leaves the ceiling without a bound.

use std::collections::BTreeSet;

use flopsmeter_core::sample::{Device, DeviceFacts};

use super::Kernel;

/// Device nodes by folder and beginning of the name, and what they belong to.
const NODES: [(&str, &str, &str); 16] = [
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
    found: BTreeSet<String>,
}

impl Accelerators {
    /// Looks for nodes once: most machines have none, and then nothing more is ever read.
    pub fn of(kernel: &Kernel) -> Self {
        let mut nodes = Vec::new();
        // Once for all; where it cannot be listed, folders in it may be, all the same.
        let top = kernel.names("dev");
        for (folder, prefix, kind) in NODES {
            let names = if folder.is_empty() {
                top.clone()
            } else if top.is_empty() || top.iter().any(|name| name == folder) {
                kernel.names(&format!("dev/{folder}"))
            } else {
                continue;
            };
            for name in names {
                let numbered = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
                let fits = name.strip_prefix(prefix).is_some_and(numbered);
                if fits && (folder != "dri" || computes(kernel, &name)) {
                    let node = if folder.is_empty() { format!("/dev/{name}") } else { format!("/dev/{folder}/{name}") };
                    nodes.push((node, kind));
                }
            }
        }
        Self { nodes, found: BTreeSet::new() }
    }

    /// Whether this machine has any.
    pub fn exist(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Those among a process's open nodes that were not told before.
    pub fn newly_opened(&mut self, open: &[String]) -> Vec<Device> {
        let known = open.iter().filter_map(|open| self.nodes.iter().find(|(node, _)| node == open));
        let found: Vec<&(String, &str)> = known.collect();
        let mut devices = Vec::new();
        for (node, kind) in found {
            if self.found.insert(node.clone()) {
                devices.push(unreadable(node, kind));
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
        let found = accelerators.newly_opened(&open);
        assert_eq!(found.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
        assert!(accelerators.newly_opened(&open).is_empty());
        assert!(accelerators.may_have_been_opened("process 7").is_some());
        assert!(accelerators.may_have_been_opened("process 8").is_none());
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
        let nodes: Vec<String> = Accelerators::of(&kernel).nodes.into_iter().map(|(node, _)| node).collect();
        assert_eq!(
            nodes,
            ["renderD128", "renderD130", "renderD131", "renderD132"].map(|name| format!("/dev/dri/{name}"))
        );
    }
}
