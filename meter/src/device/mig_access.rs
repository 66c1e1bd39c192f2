//! Who may use which instance of a GPU that is cut (MIG): each GPU instance and each compute instance in it has an access node
//! `/dev/nvidia-caps/nvidia-capN`, which a process has to open that computes there. A process with `CAP_SYS_ADMIN` needs none
//! (NVIDIA's MIG user guide, "Device Nodes and Capabilities"), so that an open node is evidence and a closed one is none.

use std::collections::BTreeMap;

use super::Kernel;
use super::node_names::majors;

/// Which node is whose, as the driver tells.
const MINORS: &str = "proc/driver/nvidia-caps/mig-minors";

/// What an access node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MigAccess {
    /// Number of the GPU's own node: 3 for `/dev/nvidia3`.
    pub gpu: u32,
    /// GPU instance.
    pub gpu_instance: u32,
    /// Compute instance in it; `None` for the GPU instance as such.
    pub compute_instance: Option<u32>,
}

/// The access nodes of a machine, by their minor numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigNodes {
    nodes: BTreeMap<u32, MigAccess>,
}

impl MigNodes {
    /// As they are now; none where the driver does not tell.
    pub fn read(kernel: &Kernel) -> Self {
        let text = kernel.text(MINORS).unwrap_or_default();
        Self { nodes: text.lines().filter_map(line).collect() }
    }

    /// What the node of this minor number stands for. The nodes by which instances are made and watched stand for none.
    pub fn access(&self, minor: u32) -> Option<MigAccess> {
        self.nodes.get(&minor).copied()
    }

    /// The node of an access.
    pub fn minor(&self, access: MigAccess) -> Option<u32> {
        self.nodes.iter().find_map(|(&minor, &known)| (known == access).then_some(minor))
    }
}

/// `gpu0/gi11/ci0/access 103`, `gpu0/gi11/access 102`, or one of `config 1` and `monitor 2`.
fn line(text: &str) -> Option<(u32, MigAccess)> {
    let (path, minor) = text.split_once(' ')?;
    let parts: Vec<&str> = path.strip_suffix("/access")?.split('/').collect();
    let number = |part: &str, prefix: &str| part.strip_prefix(prefix)?.parse::<u32>().ok();
    let (gpu, gpu_instance, compute_instance) = match parts.as_slice() {
        [gpu, instance] => (gpu, instance, None),
        [gpu, instance, part] => (gpu, instance, Some(number(part, "ci")?)),
        _ => return None,
    };
    let (gpu, gpu_instance) = (number(gpu, "gpu")?, number(gpu_instance, "gi")?);
    Some((minor.trim().parse().ok()?, MigAccess { gpu, gpu_instance, compute_instance }))
}

/// Major number of the access nodes: the kernel gives it out anew at each start.
pub fn access_major(kernel: &Kernel) -> Option<u32> {
    majors(kernel).into_iter().find_map(|(major, name)| (name == "nvidia-caps").then_some(major))
}

/// Minor number of an access node, by the name it was opened by.
pub fn access_node(path: &str) -> Option<u32> {
    path.strip_prefix("/dev/nvidia-caps/nvidia-cap")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(gpu: u32, gpu_instance: u32, compute_instance: Option<u32>) -> MigAccess {
        MigAccess { gpu, gpu_instance, compute_instance }
    }

    #[test]
    fn nodes_are_told_as_the_driver_tells_them() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        assert_eq!(MigNodes::read(&kernel), MigNodes::default());
        assert_eq!(access_major(&kernel), None);
        fs_err::create_dir_all(folder.path().join("proc/driver/nvidia-caps")).unwrap();
        let minors = "config 1\nmonitor 2\ngpu0/gi11/access 102\ngpu0/gi11/ci0/access 103\ngpu3/gi1/ci2/access 7\n";
        let nonsense =
            "gpu0/gi1/ci0/x/access 8\ngpu0/access 9\ngpux/gi1/access 10\ngpu0/gi1/access x\ngpu0/gi1/ce0/access 11\n";
        fs_err::write(folder.path().join(MINORS), format!("{minors}{nonsense}")).unwrap();
        let nodes = MigNodes::read(&kernel);
        assert_eq!(nodes.access(102), Some(access(0, 11, None)));
        assert_eq!(nodes.access(103), Some(access(0, 11, Some(0))));
        assert_eq!(nodes.minor(access(3, 1, Some(2))), Some(7));
        for minor in [1, 2, 8, 9, 10, 11] {
            assert_eq!(nodes.access(minor), None, "{minor}");
        }
        let devices =
            "Character devices:\n195 nvidia\n507 nvidia-caps-imex-channels\n508 nvidia-caps\n\nBlock devices:\n";
        fs_err::write(folder.path().join("proc/devices"), devices).unwrap();
        assert_eq!(access_major(&kernel), Some(508));
        assert_eq!(access_node("/dev/nvidia-caps/nvidia-cap103"), Some(103));
        assert_eq!(access_node("/dev/nvidia103"), None);
    }
}
