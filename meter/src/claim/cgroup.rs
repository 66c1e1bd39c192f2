//! Which GPUs the kernel lets a process open: the device lists of control groups (version 1).
//!
//! Version 2 keeps such limits in programs that cannot be read. There, and for the meter's own group, the driver shows them: it
//! lists no GPU whose node may not be opened.

use crate::device::Kernel;
use crate::device::nvml::ListedGpu;

/// Major number of `/dev/nvidia0` and its like.
const NVIDIA_MAJOR: &str = "195";

/// The lines of `devices.list` that concern NVIDIA's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenableNodes {
    /// `None` for all.
    minors: Option<Vec<u32>>,
}

impl OpenableNodes {
    /// Of a process; `None` where the kernel does not tell.
    pub fn of(kernel: &Kernel, process: u32) -> Option<Self> {
        let groups = kernel.text(&format!("proc/{process}/cgroup"))?;
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|controller| controller == "devices").then_some(path)
        })?;
        // In a container without a namespace of its own for groups the path is the host's, and the mount begins at its end.
        let at = |path: &str| kernel.text(&format!("sys/fs/cgroup/devices{path}/devices.list"));
        Some(Self::parse(&at(path.trim_end_matches('/')).or_else(|| at(""))?))
    }

    /// The GPUs that this process may open.
    pub fn narrow(kernel: &Kernel, mut gpus: Vec<ListedGpu>) -> Vec<ListedGpu> {
        if let Some(nodes) = Self::of(kernel, std::process::id()) {
            gpus.retain(|gpu| nodes.allow(gpu.minor_number));
        }
        gpus
    }

    /// Lines as `c 195:0 rwm` and `a *:* rwm`; what is not listed may not be opened.
    fn parse(list: &str) -> Self {
        let mut minors = Vec::new();
        for line in list.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(kind @ ("a" | "c")), Some(numbers), Some(access)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Some((major, minor)) = numbers.split_once(':') else { continue };
            let concerns = kind == "a" || major == "*" || major == NVIDIA_MAJOR;
            if !concerns || !access.contains('r') {
                continue;
            }
            match minor.parse() {
                Ok(minor) if kind == "c" => minors.push(minor),
                _ => return Self { minors: None },
            }
        }
        Self { minors: Some(minors) }
    }

    /// Whether the node of this minor number may be opened. One whose number is unknown may.
    pub fn allow(&self, minor: Option<u32>) -> bool {
        match (&self.minors, minor) {
            (Some(minors), Some(minor)) => minors.contains(&minor),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(groups: &str, path: &str, list: &str) -> (tempfile::TempDir, Kernel) {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join(format!("sys/fs/cgroup/devices{path}"));
        fs_err::create_dir_all(&group).unwrap();
        fs_err::create_dir_all(folder.path().join("proc/7")).unwrap();
        fs_err::write(folder.path().join("proc/7/cgroup"), groups).unwrap();
        fs_err::write(group.join("devices.list"), list).unwrap();
        let kernel = Kernel::under(folder.path());
        (folder, kernel)
    }

    #[test]
    fn a_slurm_job_may_open_the_nodes_that_its_group_lists() {
        let list = "c 1:3 rwm\nc 195:2 rw\nc 195:255 rw\nb 195:1 rwm\nc 195:3 m\n";
        let (_folder, kernel) = kernel("9:devices:/slurm/job_1\n1:name=x:/\n", "/slurm/job_1", list);
        let nodes = OpenableNodes::of(&kernel, 7).unwrap();
        let allowed: Vec<u32> = (0..5).filter(|&minor| nodes.allow(Some(minor))).collect();
        assert_eq!(allowed, [2]);
        assert!(nodes.allow(None), "an unknown node may be openable");
    }

    #[test]
    fn wild_cards_allow_all_and_version_two_tells_nothing() {
        for list in ["a *:* rwm\n", "c 195:* rwm\n", "c *:* rwm\n"] {
            let (_folder, kernel) = kernel("3:cpu,devices:/\n", "", list);
            assert!(OpenableNodes::of(&kernel, 7).unwrap().allow(Some(4)), "{list}");
        }
        let (_folder, kernel) = kernel("0::/user.slice\n", "", "");
        assert_eq!(OpenableNodes::of(&kernel, 7), None);
        assert_eq!(OpenableNodes::of(&kernel, 8), None);
    }

    #[test]
    fn in_a_container_the_mount_begins_at_its_group() {
        let (_folder, kernel) = kernel("3:devices:/docker/77\n", "", "c 195:1 rwm\n");
        let nodes = OpenableNodes::of(&kernel, 7).unwrap();
        assert!(nodes.allow(Some(1)) && !nodes.allow(Some(0)));
    }
}
