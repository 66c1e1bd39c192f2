//! Accelerators that the job opens and that we cannot read: one of them leaves the ceiling without a bound.

use std::collections::BTreeSet;

use flopsmeter_core::sample::{Device, DeviceFacts};

use super::Kernel;

/// Device nodes by folder and beginning of the name, and what they belong to.
const NODES: [(&str, &str, &str); 9] = [
    ("", "kfd", "AMD GPU"),
    ("", "accel", "accelerator"),
    ("accel", "accel", "accelerator"),
    ("", "hl", "Intel Gaudi"),
    ("habanalabs", "hl", "Intel Gaudi"),
    ("", "neuron", "AWS Neuron device"),
    ("", "davinci", "Ascend NPU"),
    ("vfio", "", "device behind VFIO, as a TPU"),
    ("dri", "renderD", "GPU"),
];

/// Drivers behind `/dev/dri` nodes that do not compute, or whose device NVML reads.
const KNOWN_RENDER_DRIVERS: [&str; 7] = ["nvidia", "nvidia-drm", "nouveau", "virtio-pci", "virtio_gpu", "ast", "vgem"];

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
        for (folder, prefix, kind) in NODES {
            for name in kernel.names(&format!("dev/{folder}")) {
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

    /// Those that one of these processes has open and that were not told before.
    pub fn newly_opened(&mut self, kernel: &Kernel, processes: impl Iterator<Item = u32>) -> Vec<Device> {
        if !self.exist() {
            return Vec::new();
        }
        let mut devices = Vec::new();
        for process in processes {
            for descriptor in kernel.names(&format!("proc/{process}/fd")) {
                let link = fs_err::read_link(kernel.path(&format!("proc/{process}/fd/{descriptor}")));
                let Some(open) = link.ok().and_then(|target| target.into_os_string().into_string().ok()) else {
                    continue;
                };
                let Some((node, kind)) = self.nodes.iter().find(|(node, _)| *node == open) else { continue };
                if self.found.insert(node.clone()) {
                    devices.push(unreadable(node, kind));
                }
            }
        }
        devices
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
        for path in ["dev/accel", "dev/hlx", "proc/7/fd", "proc/8/fd"] {
            fs_err::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs_err::write(folder.path().join("dev/kfd"), "").unwrap();
        fs_err::write(folder.path().join("dev/accel/accel0"), "").unwrap();
        fs_err::os::unix::fs::symlink("/dev/kfd", folder.path().join("proc/7/fd/3")).unwrap();
        fs_err::os::unix::fs::symlink("/dev/kfd", folder.path().join("proc/8/fd/3")).unwrap();
        let mut accelerators = Accelerators::of(&kernel);
        let found = accelerators.newly_opened(&kernel, [7, 8, 9].into_iter());
        assert_eq!(found.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
        assert!(accelerators.newly_opened(&kernel, [7, 8].into_iter()).is_empty());
    }

    #[test]
    fn render_nodes_count_unless_their_driver_is_known_not_to_compute() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        fs_err::create_dir_all(folder.path().join("dev/dri")).unwrap();
        for (node, driver) in [("renderD128", "xe"), ("renderD129", "nvidia")] {
            fs_err::write(folder.path().join("dev/dri").join(node), "").unwrap();
            let device = folder.path().join(format!("sys/class/drm/{node}/device"));
            fs_err::create_dir_all(&device).unwrap();
            fs_err::os::unix::fs::symlink(format!("../drivers/{driver}"), device.join("driver")).unwrap();
        }
        let nodes: Vec<String> = Accelerators::of(&kernel).nodes.into_iter().map(|(node, _)| node).collect();
        assert_eq!(nodes, ["/dev/dri/renderD128"]);
    }
}
